#!/usr/bin/env python3
"""learns.py METRICS.jsonl RATIO: the last loss is below RATIO x the first."""
import json
import sys

losses = [json.loads(line)["loss"] for line in open(sys.argv[1])]
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {len(losses)} steps")
sys.exit(0 if losses[-1] < float(sys.argv[2]) * losses[0] else 1)
