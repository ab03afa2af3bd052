#!/usr/bin/env python3
"""resume.py FILES.tar.xz: for each kind of data and order, the rows of a run
that was stopped and resumed are those of one that was not."""
import gzip
import json
import os
import shutil
import sys
import tarfile

import rows

STEPS, STOP = 24, 9
FIELDS = ("tokens", "labels", "documents", "positions")

with tarfile.open(sys.argv[1]) as tar:
    tar.extractall("golden")
text = "".join(f"line {i} of some text\n" for i in range(40))
lines = "".join(json.dumps({"text": f"{i}: " + "ab " * (i % 7)}) + "\n"
                for i in range(30))
with open("text.txt", "w") as out:
    out.write(text)
with open("lines.jsonl", "w") as out:
    out.write(lines)
with gzip.open("lines.jsonl.gz", "wt") as out:
    out.write(lines)

KINDS = ["text.txt", "lines.jsonl", "lines.jsonl.gz", "golden/mds-zstd",
         "golden/mds-typed", "golden/megatron", "golden/llmc.bin",
         "golden/nanogpt.bin"]
ORDERS = [[], ["--shuffle=5", "--seed", "3"], ["--pack", "chunks"],
          ["--pack", "documents", "--shuffle", "--document-end", "10"]]
MIXTURE = ["--data", "0.6:lines.jsonl.gz", "--data", "0.3:golden/megatron/*.bin",
           "--data", "0.1:text.txt"]


def fields(logged):
    return [[row[f] for f in FIELDS] for row in logged]


def resume(options):
    shutil.rmtree("saved", ignore_errors=True)
    straight, _ = rows.run(*options, "--steps", str(STEPS))
    save = [*options, "--checkpoint", "saved", "--save-every", "0"]
    rows.run(*save, "--steps", str(STOP))
    resumed, _ = rows.run(*save, "--steps", str(STEPS), "--resume", "auto")
    have, want = fields(resumed), fields(straight)
    assert len(want) == STEPS and have == want, options
    os.remove("rows.jsonl")


count = 0
for order in ORDERS:
    for data in [["--data", kind] for kind in KINDS] + [MIXTURE]:
        resume(data + order)
        count += 1
print(f"{count} runs resumed, all rows equal")
