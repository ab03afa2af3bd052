#!/usr/bin/env python3
"""inject.py PROGRAM: nan, and here and there inf, in each float tensor of the second of three steps.

What is spoilt before the update either keeps the step from being applied or reaches nothing.  Of the update's own tensors some
are made from finite gradients and others together with the predicate: there, what is skipped has to be skipped whole."""
import os
import re
import shutil
import subprocess
import sys

PROGRAM = sys.argv[1]


def chunk(seed):
    return bytes([65] + [(seed * 7 + i * i * 3) % 200 for i in range(1, 16)])


def run(chunks, *options):
    open("data.txt", "wb").write(b"".join(chunks))
    shutil.rmtree("ck", ignore_errors=True)
    done = subprocess.run([PROGRAM, "--data", "data.txt", "--steps", str(len(chunks)), "--threads", "2", "--checkpoint", "ck", "--quiet",
                           *options], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"inject.py: {options}: exit code {done.returncode}: {done.stderr}")
    step = f"ck/step-{len(chunks)}"
    return done.stderr, {f: open(f"{step}/{f}", "rb").read() for f in os.listdir(step) if f.endswith(".safetensors")}


def place(pattern, text):
    found = re.search(pattern + r"(.*)", text)
    return found and found.group(1)


steps = [chunk(i) for i in range(3)]
said, whole = run(steps, "--diagnose")
count = int(re.search(r"all (\d+) float tensors up to the update are finite", said).group(1))
_, without = run([steps[0], steps[2]])
skipped = 0
for n in range(1, count + 1):
    for value in ("nan", "inf") if n % 4 == 0 else ("nan",):
        said, weights = run(steps, "--inject", f"2:{n}:{value}")
        target = place(f"put into result {n} in the (?:forward pass|backward pass|update): ", said)
        late = f"put into result {n} in the update: " in said
        if "step 2 skipped: " in said:
            skipped += 1
            first = place(r"first in the (?:forward pass|backward pass|update): ", said)
            if target != first or f"it has 1 {value} among" not in said:
                sys.exit(f"inject.py: {n}: {first} was named, {target} was spoilt:\n{said}")
            if weights != without:
                sys.exit(f"inject.py: {n}: the skipped step changed something:\n{said}")
        elif value == "nan" and weights != whole and not late:
            sys.exit(f"inject.py: {n}: nan reached the weights:\n{said}")
print(f"{count} tensors, {skipped} skipped steps")
if skipped < count // 2:
    sys.exit("inject.py: too few of them were skipped")
