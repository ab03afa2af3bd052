#!/usr/bin/env python3
"""pieces.py TOKENIZER.json.gz...: a long text is read in pieces of a mebibyte;
its rows have the tokens that it has as one document of JSONL."""
import gzip
import json
import random
import sys

import rows

random.seed(1)
words = ["alpha", "Beta", "gamma's", "42", "naïve", "  spaced", "(x)", "\t",
         "日本", "end.", "\n\n"]
text = "".join(" ".join(random.choices(words, k=random.randint(0, 30))) + "\n"
               for _ in range(15000))
with open("long.txt", "w") as out:
    out.write(text)
with open("long.jsonl", "w") as out:
    json.dump({"text": text}, out)
for path in sys.argv[1:]:
    with gzip.open(path) as packed, open("tokenizer.json", "wb") as out:
        out.write(packed.read())
    options = ["--epochs", "1", "--tokenizer", "tokenizer.json"]
    whole, _ = rows.run("--data", "long.jsonl", *options)
    pieces, _ = rows.run("--data", "long.txt", *options)
    want = rows.tokens_of(whole)
    assert len(text) > 1 << 20 and rows.tokens_of(pieces) == want, path
    print(f"{path}: {len(want)} tokens, equal")
