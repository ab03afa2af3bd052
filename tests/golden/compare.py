#!/usr/bin/env python3
"""Compares a run with a golden run.

    compare.py GOLDEN.json METRICS.jsonl TOLERANCE [EXPORT-DIR]

Loss and gradient norm of every step against the float64 run, relative.  With
EXPORT-DIR: names, shapes and dtypes of the exported tensors as well.
"""
import json
import math
import os
import struct
import sys


def worst_of(golden, steps):
    worst = (0.0, "", 0)
    for key in ("loss", "grad_norm"):
        want = golden["f64"][key]
        if len(steps) != len(want):
            sys.exit(f"{len(steps)} steps in the metrics, {len(want)} golden")
        for i, (a, step) in enumerate(zip(want, steps)):
            off = abs(step[key] - a) / abs(a)
            off = math.inf if math.isnan(off) else off
            worst = max(worst, (off, key, i + 1))
    return worst


def check_export(golden, folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
    header.pop("__metadata__", None)
    want = dict(golden["state_dict"])
    if "lm_head.weight" not in header:
        want.pop("lm_head.weight", None)  # tied: kept once
    have = {k: v["shape"] for k, v in header.items()}
    if have != want:
        sys.exit(f"exported tensors differ: {set(have) ^ set(want)} "
                 f"{[k for k in have if have[k] != want.get(k)]}")
    if {v["dtype"] for v in header.values()} != {"F32"}:
        sys.exit("exported tensors are not all F32")


def main():
    golden = json.load(open(sys.argv[1]))
    steps = [json.loads(line) for line in open(sys.argv[2])]
    worst, key, step = worst_of(golden, steps)
    print(f"worst: {worst:.2e} ({key}, step {step})")
    if not worst <= float(sys.argv[3]):
        sys.exit(f"above {sys.argv[3]}")
    if len(sys.argv) > 4:
        check_export(golden, sys.argv[4])


if __name__ == "__main__":
    main()
