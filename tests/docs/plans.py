#!/usr/bin/env python3
"""plans.py TITANC MODEL FILE.md: each plan in the blocks marked `tt plans` of a document is one that the model takes."""
import re
import subprocess
import sys

titanc, model, page = sys.argv[1:]
blocks = re.findall(r"^```tt plans\n(.*?)^```", open(page).read(), re.M | re.S)
text = "".join(blocks)
names = re.findall(r"^plan (\w+)", text, re.M)
with open("plans.tt", "w") as f:
    f.write(text)
small = [f"-D{v}" for v in "batch=8 seq=64 embed=64 kv=4 rep=2 hd=16 ff=64 vocab=256 layer=6".split()]
bad = [n for n in names if subprocess.run([titanc, model, "plans.tt", "--plan", n, *small, "--check"]).returncode]
if bad or len(names) < 10:
    sys.exit(f"plans.py: {len(names)} plans, of which the model does not take {bad}")
