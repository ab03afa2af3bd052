#!/usr/bin/env python3
"""docs.py FILE.md: runs the lines of its `sh` blocks, one by one."""
import gzip
import json
import os
import re
import subprocess
import sys

os.mkdir("shards")
with open("corpus.txt", "w") as out:
    out.write("some text to train on, and more of it\n" * 200)
for name in ("tokens.u16", "more.u16"):
    with open(name, "wb") as out:
        out.write(bytes(i % 100 if i % 2 == 0 else 0 for i in range(9000)))
for i in range(3):
    with gzip.open(f"shards/{i}.jsonl.gz", "wt") as out:
        for k in range(100):
            out.write(json.dumps({"text": f"document {k} " * 9}) + "\n")
with open(sys.argv[1]) as text:
    blocks = re.findall(r"^```sh\n(.*?)^```", text.read(), re.M | re.S)
lines = [line for block in blocks for line in block.splitlines()]
assert lines, "no commands"
for line in lines:
    print("$", line, flush=True)
    subprocess.run(["bash", "-c", line], check=True)
