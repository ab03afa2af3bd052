#!/usr/bin/env python3
"""golden.py FILES.tar.xz: all tokens of data sets that other packages wrote."""
import json
import sys
import tarfile

import rows

SEQ = 8

with tarfile.open(sys.argv[1]) as tar:
    tar.extractall("golden")
with open("golden/expected.json") as text:
    cases = json.load(text)
print("written by", *cases.pop("made by"))
for name, want in cases.items():
    had, said = rows.run("--data", f"golden/{name}", "--epochs", "1")
    steps = (len(want) - 1) // SEQ
    have = rows.tokens_of(had)
    assert have == want[:steps * SEQ], (name, have, want)
    assert f"the data ends behind step {steps}" in said, (name, said)
    print(f"{name}: {len(have)} of {len(want)} tokens in whole rows, equal")
