#!/usr/bin/env python3
"""spike.py PROGRAM: spikes and values that are no number among 80 steps, against the run that never saw those steps.

The second spike comes right behind a nan: a detector that the nan had poisoned would let it through, as one whose sums take
everything does."""
import json
import math
import random
import subprocess
import sys

SPIKE, NAN = 255, 254
random.seed(3)
good = [bytes([65]) + bytes(random.choice(b"abcd") for _ in range(15)) for _ in range(76)]
bad = {41: SPIKE, 50: NAN, 51: SPIKE, 60: SPIKE}


def run(name, chunks, *options):
    open(name + ".txt", "wb").write(b"".join(chunks))
    done = subprocess.run([sys.argv[1], "--data", name + ".txt", "--steps", str(len(chunks)), "--quiet", "--log-every", "1", "--metrics",
                           name + ".jsonl", "--export", name, *options], capture_output=True, text=True)
    return done, [json.loads(line) for line in open(name + ".jsonl")], open(name + "/model.safetensors", "rb").read()


def expect(ok, what):
    if not ok:
        sys.exit(f"spike.py: {what}")


def spoilt(byte):
    return bytes([65, 97, 98, byte]) + good[0][4:]


# A row of the step before predicts the first byte of this one, which is always the same.
rest = iter(good)
mixed = [spoilt(bad[step]) if step in bad else next(rest) for step in range(1, 81)]
done, steps, weights = run("with", mixed)
expect(done.returncode == 0, done.stderr)
why = {s["step"]: s.get("skipped") for s in steps}
expect({k: v for k, v in why.items() if v} == {41: "the loss is a spike", 50: "loss is nan", 51: "the loss is a spike",
                                               60: "the loss is a spike"}, why)
expect("step 51 skipped: the loss is a spike" in done.stderr, done.stderr)
_, without, same = run("without", good)
expect(weights == same, "a skipped step left something in the weights")
expect(steps[-1]["spike"] == without[-1]["spike"] and math.isfinite(steps[-1]["spike"]), "it left something in the score")

# The rule by hand, from the losses that are logged.
seen, mean, variance = 0, 0.0, 0.0
for s in steps:
    if s["loss"] is None:
        continue
    away = s["loss"] - mean
    score = 0 if seen * 4 < 32 else away / (max(math.sqrt(variance), abs(mean) / 1000) + 1e-12)
    expect(abs(s["spike"] - score) < 0.02 * max(1, abs(score)), f"step {s['step']}: {s['spike']} is logged, {score} expected")
    if "skipped" not in s:
        part = max(4 / (seen + 4), 1 / 32)
        mean, variance, seen = mean + part * away, (1 - part) * (variance + part * away * away), min(seen + 1, 128)

done, steps, _ = run("row", good[:40] + [spoilt(SPIKE)] * 5, "--max-skips", "3")
expect(done.returncode == 79 and "3 steps in a row were skipped, 41 to 43: the loss is a spike" in done.stderr, done.stderr)
