#!/usr/bin/env python3
"""masked.py TITANC MODEL: the loss is the mean over all labels of the step that
count, however the step is cut into passes; the mean of means is another."""
import json
import subprocess
import sys

TITANC, MODEL = sys.argv[1:]

with open("data.jsonl", "w") as out:
    for i in range(60):
        out.write(json.dumps({"text": "some words " * (i * 7 % 5)}) + "\n")


def losses(rows, passes):
    subprocess.run([TITANC, MODEL, "--dtype", "f32", "-D", f"rows={rows}",
                    "-D", f"accumulate={passes}", "-D", f"batch={4 // passes}",
                    "-o", "train"], check=True)
    subprocess.run(["./train", "--data", "data.jsonl", "--pack", "documents",
                    "--log-every", "1", "--quiet", "--metrics", "m.jsonl"],
                   check=True)
    with open("m.jsonl") as lines:
        logged = [json.loads(line) for line in lines]
    ignored = {r["labels"][i:i + 16].count(-100)
               for r in logged for i in range(0, 64, 16)}
    assert len(ignored) > 1, "rows must differ in what counts"
    return [r["loss"] for r in logged]


def close(a, b):
    return all(abs(x - y) < 1e-5 for x, y in zip(a, b))


whole, means = losses(0, 1), losses(1, 1)
assert not close(whole, means)
for passes in (2, 4):
    assert close(losses(0, passes), whole), passes
    assert close(losses(1, passes), means), passes
