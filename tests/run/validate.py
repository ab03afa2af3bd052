#!/usr/bin/env python3
"""validate.py TITANC GPT2.TT: --valid-data: the mean over all labels, whatever the batches, at step 1 and each N-th, and nothing of the run changes."""
import json
import math
import subprocess
import sys

TITANC, MODEL = sys.argv[1:3]
SIZES = ("seq=16 embed=16 head=2 hd=8 ff=32 layer=1 warmup=1 steps=5 lr=1e-2").split()


def expect(ok, what):
    if not ok:
        sys.exit(f"validate.py: {what}")


def compile(name, **sizes):
    defines = [x for d in SIZES + [f"{k}={v}" for k, v in sizes.items()] for x in ("-D", d)]
    subprocess.run([TITANC, MODEL, "--config", "debug", "--dtype", "f32", *defines, "-o", name + ".program"], check=True)


def run(program, name, *options, code=0):
    done = subprocess.run([f"./{program}.program", "--data", "train.txt", "--metrics", name + ".jsonl", "--export", name,
                           "--quiet", *options], capture_output=True, text=True)
    expect(done.returncode == code, f"{name}: exit code {done.returncode}: {done.stderr}")
    if code:
        return done.stderr
    return {row["step"]: row for row in map(json.loads, open(name + ".jsonl"))}


def valid(rows):
    return {step: row["valid_loss"] for step, row in rows.items() if "valid_loss" in row}


def near(x, y):
    return math.isclose(x, y, rel_tol=2e-6)


text = bytes((i * i * 7 + i) % 251 for i in range(500))
open("train.txt", "wb").write(text)
open("some.txt", "wb").write(text[:4 * 16 + 1])
open("more.txt", "wb").write(text[100:100 + 5 * 16 + 4])
compile("four", batch=4)
compile("three", batch=3)
compile("still", batch=4, **{"lr": 0})

# At rest the loss of the rows that a step trains with is the step's own.
rows = run("still", "still", "--valid-data", "some.txt", "--valid-every", "2", "--log-every", "100")
expect(sorted(valid(rows)) == [1, 2, 4], f"validated behind {sorted(valid(rows))}")
expect(all(near(x, rows[1]["loss"]) for x in valid(rows).values()), f"{valid(rows)} is not {rows[1]['loss']}")

# Batches of four and of three rows, the last ones not whole, the last row neither: one mean over the same labels.
still = valid(run("still", "a", "--valid-data", "more.txt", "--steps", "1"))[1]
parts = [valid(run("still", "b", "--valid-data", f, "--steps", "1"))[1] for f in ("head.txt", "tail.txt")
         if open("head.txt", "wb").write(text[100:100 + 4 * 16 + 1]) and open("tail.txt", "wb").write(
             text[100 + 4 * 16:100 + 5 * 16 + 4])]
expect(near(still, (64 * parts[0] + 19 * parts[1]) / 83), f"{still} is no mean of {parts}")
first = valid(run("still", "c", "--valid-data", "more.txt", "--valid-steps", "1", "--steps", "1"))[1]
expect(near(first, parts[0]), f"the first batch alone has {first}, not {parts[0]}")
compile("still3", batch=3, **{"lr": 0})
three = valid(run("still3", "d", "--valid-data", "more.txt", "--steps", "1"))[1]
expect(near(three, still), f"batches of three give {three}, of four {still}")

# Training is what it is without: weights and losses to the last bit.
plain = run("four", "plain", "--log-every", "1")
checked = run("four", "checked", "--log-every", "1", "--valid-data", "more.txt", "--valid-every", "1")
expect(open("plain/model.safetensors", "rb").read() == open("checked/model.safetensors", "rb").read(),
       "validation changes weights")
expect([r["loss"] for r in plain.values()] == [r["loss"] for r in checked.values()], "validation changes losses")
losses = list(valid(checked).values())
expect(len(losses) == 5 and losses[-1] < losses[0], f"validation losses {losses}")

expect("--valid-data" in run("four", "e", "--valid-every", "2", code=64), "data is not asked for")
expect("could not" in run("four", "e", "--valid-data", "none.txt", code=74), "a missing file is not found")
