#!/usr/bin/env python3
"""sample.py PROGRAM: draws of Inputs/sample.tt have the probabilities that their options say, by counting."""
import json
import subprocess
import sys
import tempfile

ROWS, TOKENS = 500, 20
# 99.9 % points of chi-square: a right sampler exceeds one for one seed in a thousand, and the seeds are fixed.
POINT = {0: 0.0, 1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32}


def draws(*options):
    with tempfile.NamedTemporaryFile("w") as prompts:
        prompts.write("\x01\n" * ROWS)
        prompts.flush()
        done = subprocess.run(
            [sys.argv[1], "--generate", "--json", "--quiet", "--prompt-lines", prompts.name, "--max-tokens",
             str(TOKENS), *options], capture_output=True, text=True, check=True)
    return [json.loads(line)["tokens"] for line in done.stdout.splitlines()]


def exact(temperature=1.0, top_k=0, top_p=1.0):
    p = [(i + 1) ** (1 / temperature) for i in range(8)]
    order = sorted(range(8), key=lambda i: -p[i])
    kept = order[:top_k] if top_k else order
    total, so_far, some = sum(p[i] for i in kept), 0.0, []
    for i in kept:
        if so_far < top_p * total:
            some.append(i)
        so_far += p[i]
    total = sum(p[i] for i in some)
    return {i: p[i] / total for i in some}


def check(seed, **said):
    options = [x for k, v in said.items() for x in ("--" + k.replace("_", "-"), str(v))]
    texts = draws("--seed", str(seed), *options)
    tokens = [t for text in texts for t in text]
    want = exact(**said)
    n = len(tokens)
    extra = set(tokens) - set(want)
    square = sum((tokens.count(i) - n * p) ** 2 / (n * p) for i, p in want.items())
    print(said, f"chi-square {square:.2f} of {POINT[len(want) - 1]} over {len(want)} tokens")
    if n != ROWS * TOKENS or extra or square > POINT[len(want) - 1]:
        sys.exit(f"sample.py: {said}: {n} draws, tokens that cannot be {extra}, chi-square {square}")
    return texts


plain = check(1)
check(2, temperature=0.5)
check(3, temperature=2)
check(4, top_k=3)
check(5, top_p=0.7)
check(6, top_p=0.01)
check(7, temperature=0.7, top_k=5, top_p=0.6)
check(8, temperature=1.5, top_p=0.95)
# One seed draws the same, another one other tokens; neither rows nor steps repeat each other.
if draws("--seed", "1") != plain or draws("--seed", "2") == plain:
    sys.exit("sample.py: draws do not follow the seed")
if len({tuple(text) for text in plain}) < ROWS or len(set(zip(*plain))) < TOKENS:
    sys.exit("sample.py: rows or steps draw alike")
# The likeliest alone is the greedy choice, whatever the seed.
if draws("--top-k", "1") != draws("--temperature", "0", "--seed", "9") or {7} != {t for x in draws("--top-k", "1") for t in x}:
    sys.exit("sample.py: the likeliest token is not chosen")
