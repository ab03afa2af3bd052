#!/usr/bin/env python3
"""resume.py PROGRAM DATA: 10 steps and a resumed run to 20 are 20 steps at once.

Bits of every tensor, every logged number of every step; with background and with waiting saves."""
import json
import os
import shutil
import subprocess
import sys

PROGRAM, DATA = sys.argv[1], sys.argv[2]
HALF = int(sys.argv[3]) if len(sys.argv) > 3 else 10
CLOCK = {"tokens_per_second", "tflops", "mfu", "seconds", "data_seconds", "data_percent"}


def run(folder, steps, *options):
    subprocess.run([PROGRAM, "--data", DATA, "--steps", str(steps), "--checkpoint", folder, "--metrics",
                    folder + ".jsonl", "--log-every", "1", "--quiet", "--threads", "2", *options], check=True)


def rows(folder):
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in open(folder + ".jsonl")]


def files(folder):
    step = f"{folder}/step-{2 * HALF}"
    return {f: open(f"{step}/{f}", "rb").read() for f in sorted(os.listdir(step)) if f != "MANIFEST.json"}


def equal(a, b):
    keys = [k for k in a if a[k] != b.get(k)] + [k for k in b if k not in a]
    if keys:
        sys.exit(f"resume.py: step {a.get('step')}: {keys[0]} is {a.get(keys[0])}, resumed {b.get(keys[0])}")


for name in ("straight", "background", "waiting"):
    shutil.rmtree(name, ignore_errors=True)
run("straight", 2 * HALF)
for name, options in (("background", ["--save-every", "3"]), ("waiting", ["--save-every", "4", "--sync-save"])):
    run(name, HALF, *options)
    run(name, 2 * HALF, "--resume", "auto", *options)
    if len(rows(name)) != 2 * HALF:
        sys.exit(f"resume.py: {len(rows(name))} rows, not {2 * HALF}")
    for a, b in zip(rows("straight"), rows(name)):
        equal(a, b)
    for f, data in files("straight").items():
        if files(name).get(f) != data:
            sys.exit(f"resume.py: {f} of the resumed run ({name}) differs")
