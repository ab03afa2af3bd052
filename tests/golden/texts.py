#!/usr/bin/env python3
"""texts.py GENERATE.json CASE PROGRAM WEIGHTS: greedy texts are those of the reference library, token by token."""
import json
import subprocess
import sys

golden = json.load(open(sys.argv[1]))
texts = golden["texts"][sys.argv[2]]
prompts = [x for t in texts for x in ("--prompt", t["prompt"])]
done = subprocess.run(
    [sys.argv[3], "--generate", "--init-from", sys.argv[4], "--temperature", "0", "--max-tokens", str(golden["new"]),
     "--json", "--quiet", *prompts], capture_output=True, text=True)
if done.returncode:
    sys.exit(done.stderr)
made = [json.loads(line)["tokens"] for line in done.stdout.splitlines()]
for want, have in zip(texts, made, strict=True):
    if want["tokens"] != have:
        sys.exit(f"{sys.argv[2]}: behind {want['prompt']!r} {have}, transformers makes {want['tokens']}")
print(f"{sys.argv[2]}: {len(made)} texts")
