#!/usr/bin/env python3
"""logits.py LOGITS.json CASE METRICS.jsonl: logits that a program has recorded are those of the reference library, each of them."""
import json
import sys

golden = json.load(open(sys.argv[1]))
want = golden["logits"][sys.argv[2]]
have = json.loads(open(sys.argv[3]).readline())["logits"]
n, most = len(want[0]), max(abs(x) for row in want for x in row)
worst = max(abs(have[p * n + i] - x) for p, row in zip(golden["positions"], want, strict=True) for i, x in enumerate(row))
print(f"{sys.argv[2]}: {len(want)} x {n} logits up to {most:.3f}, {worst:.2e} apart at most")
if not worst < 1e-5 * most:
    sys.exit("too far")
