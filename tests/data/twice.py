"""twice.py: the rows of a run that was stopped and resumed twice are those of one that was not.  With the defect planted, a second
resume that begins where the first one did, the same comparison fails."""
import rows

SAVE = ["--data", "text.txt", "--checkpoint", "saved", "--save-every", "0", "--keep", "0"]
FIELDS = ("tokens", "labels", "positions")


def fields(logged):
    return [[row[f] for f in FIELDS] for row in logged]


with open("text.txt", "w") as out:
    out.write("".join(f"line {i} of some text, {i * i}\n" for i in range(400)))
want = fields(rows.run("--data", "text.txt", "--steps", "12")[0])
rows.run(*SAVE, "--steps", "4")
rows.run(*SAVE, "--steps", "8", "--resume", "auto")
planted = fields(rows.run(*SAVE, "--steps", "8", "--resume", "4", "--load-only")[0])[-4:]
have = fields(rows.run(*SAVE, "--steps", "12", "--resume", "auto")[0])
assert have == want
print("a second resume goes on")
assert have[:8] + planted != want
print("one that begins where the first did is noticed")
