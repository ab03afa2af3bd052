"""Reads what --stats=commands says of the model of commands.test: its classes are its commands, and these are the step."""
import re
import sys

text = open(sys.argv[1]).read()
head, classes, commands = re.split(r"\nclass .*\n|\ncommand .*\n", text)
said = float(re.search(r"predicted step +([\d.]+) ms", head).group(1))
of_class = {m[1]: (int(m[2]), float(m[3])) for m in re.finditer(r"^(\w[\w ]*?) +(\d+) +([\d.]+) +[\d.]+$", classes, re.M)}
rows = [(line[:44].strip(), line[45:67].strip(), *map(float, line[85:].split())) for line in commands.splitlines()]
for name, (n, ms) in of_class.items():
    mine = [row for row in rows if row[1] == name]
    assert n == sum(row[2] for row in mine) and abs(ms - sum(row[3] for row in mine)) < 0.001 * (len(mine) + 1), name
assert sorted({row[1] for row in rows}) == sorted(of_class)
times = [row[3] for row in rows]
assert times == sorted(times, reverse=True) and abs(sum(times) - said) < 0.01 * said, (sum(times), said)
gather = next(row for row in rows if row[0] == "k0_train_loop")  # 16,384 of 128,256 rows of 2,048 in bf16
assert abs(gather[5] - (2 * 16384 * 2048 * 2 + 4 * 16384) / 1e6) < 0.1, gather
scatter = next(row for row in rows if row[0].endswith("_train_scatter"))  # each id is compared with all, and each update added once
assert 16384 ** 2 < 1e9 * scatter[6] < 10 * 16384 ** 2, scatter
