"""resume.py: a run goes on on 1, 2, 4 and 2 ranks, with other plans, as if nothing had happened; what one mesh has saved the others
load bit for bit."""
import subprocess

from small import apart, build, command, rows

for plan in ("one", "fsdp", "tp", "fsdp_tp"):
    build(plan)
subprocess.run(command("one", "--metrics", "one.jsonl"), check=True)
save = ["--checkpoint", "ck", "--resume", "auto", "--sync-save", "--metrics", "all.jsonl"]
for plan, to, how in (("one", 2, []), ("fsdp", 4, []), ("fsdp_tp", 7, ["--nproc", "4"]), ("tp", 10, ["--nproc", "2"])):
    subprocess.run(command(plan, "--steps", str(to), *save, *how), check=True)
off = apart(rows("all.jsonl"), rows("one.jsonl"))
assert off < 1e-5, off
print("went on on 1, 2, 4 and 2 ranks")

# the saved weights, read and written again by each
for plan in ("one", "fsdp", "fsdp_tp"):
    subprocess.run(command(plan, "--load-only", "--checkpoint", "ck", "--resume", "10", "--steps", "10", "--export", plan + ".w"),
                   check=True)
weights = [open(f"{plan}.w/model.safetensors", "rb").read() for plan in ("one", "fsdp", "fsdp_tp")]
assert weights[0] == weights[1] == weights[2]
print("loaded the same weights")
