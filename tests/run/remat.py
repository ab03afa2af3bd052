#!/usr/bin/env python3
"""remat.py TITANC DATA PLAN,PLAN... TITANC-ARGUMENTS...

Trains a model three steps under each plan and demands that weights and losses
are those of the first plan, bit by bit."""
import pathlib
import subprocess
import sys

titanc, data, plans = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
first = None
for plan in plans:
    subprocess.run([titanc, *sys.argv[4:], "--plan", plan, "-o", "program"],
                   check=True)
    subprocess.run(["./program", "--data", data, "--quiet", "--steps", "3",
                    "--log-every", "1", "--metrics", "m.jsonl", "--export",
                    "weights"], check=True)
    weights = pathlib.Path("weights/model.safetensors").read_bytes()
    lines = pathlib.Path("m.jsonl").read_text().splitlines()
    losses = [line.split('"loss":')[1].split(",")[0] for line in lines
              if '"loss":' in line]
    if not losses:
        sys.exit(f"{plan}: no loss was logged")
    if first is None:
        first = weights, losses
    if weights != first[0] or losses != first[1]:
        sys.exit(f"{plan}: weights or losses differ from those of {plans[0]}")
    for path in ("m.jsonl", "weights/model.safetensors"):
        pathlib.Path(path).unlink()
print("the same bits in", len(plans), "plans")
