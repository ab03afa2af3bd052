#!/usr/bin/env python3
"""remat.py TITANC DATA PLAN,PLAN... TITANC-ARGUMENTS...

Trains a model three steps under each plan and demands that weights, losses and
norms of gradients are those of the first plan, bit by bit, and that a run holds
the bytes that were planned."""
import json
import pathlib
import subprocess
import sys

titanc, data, plans = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
first = None
for plan in plans:
    said = subprocess.run([titanc, *sys.argv[4:], "--plan", plan, "--stats=json",
                           "-o", "program"], check=True, capture_output=True)
    planned = json.loads(said.stdout)["peak_bytes"]
    subprocess.run(["./program", "--data", data, "--quiet", "--steps", "3",
                    "--log-every", "1", "--metrics", "m.jsonl", "--export",
                    "weights"], check=True)
    weights = pathlib.Path("weights/model.safetensors").read_bytes()
    steps = [json.loads(line)
             for line in pathlib.Path("m.jsonl").read_text().splitlines()]
    losses = [(s["loss"], s["grad_norm"]) for s in steps]
    if not losses:
        sys.exit(f"{plan}: no loss was logged")
    if any(s["peak_bytes"] != planned for s in steps):
        sys.exit(f"{plan}: {planned} bytes are planned, the run holds others")
    if first is None:
        first = weights, losses
    if weights != first[0] or losses != first[1]:
        sys.exit(f"{plan}: weights, losses or norms differ from those of {plans[0]}")
    for path in ("m.jsonl", "weights/model.safetensors"):
        pathlib.Path(path).unlink()
print("the same bits in", len(plans), "plans")
