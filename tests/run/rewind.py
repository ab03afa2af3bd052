#!/usr/bin/env python3
"""rewind.py PROGRAM: --rewind N --skip-batches M against a run whose data never had those rows, and the ledger of it all."""
import json
import os
import random
import shutil
import subprocess
import sys
import time

PROGRAM = sys.argv[1]
random.seed(5)
chunks = [bytes([65]) + bytes(random.choice(b"abcdef") for _ in range(15)) for _ in range(60)]
chunks[24] = bytes([65, 255]) + chunks[24][2:]  # nan, in step 25


def expect(ok, what):
    if not ok:
        sys.exit(f"rewind.py: {what}")


def run(folder, data, *options, code=0):
    open(folder + ".txt", "wb").write(b"".join(data))
    began = time.monotonic()
    done = subprocess.run([PROGRAM, "--data", folder + ".txt", "--checkpoint", folder, "--save-every", "5", "--quiet", "--metrics",
                           folder + ".jsonl", "--log-every", "1", "--threads", "1", *options], capture_output=True, text=True)
    expect(done.returncode == code, f"exit code {done.returncode}: {done.stderr}")
    return time.monotonic() - began, done.stderr


def ledger(path):
    return [json.loads(line) for line in open(path)]


def weights(folder):
    step = folder + "/step-40"
    return {f: open(f"{step}/{f}", "rb").read() for f in sorted(os.listdir(step)) if f.endswith(".safetensors")}


for name in ("one", "other"):
    shutil.rmtree(name, ignore_errors=True)
wall, said = run("one", chunks, "--steps", "40")
expect("step 25 skipped: loss is nan" in said, said)
rows = ledger("one/ledger.jsonl")
expect([(r["step"], r["event"]) for r in rows if r["event"] != "saved"] == [(0, "begins"), (25, "skipped"), (40, "ended")], rows)
expect({r["step"] for r in rows if r["event"] == "saved"} == set(range(5, 41, 5)), rows)
skipped, ended = next(r for r in rows if r["event"] == "skipped"), rows[-1]
expect(skipped["why"] == "loss is nan" and skipped["loss"] is None and skipped["data"], skipped)
parts = [v for k, v in ended.items() if k.endswith("_seconds")]
expect(ended["code"] == 0 and abs(sum(parts) - ended["seconds"]) < 1e-6 * ended["seconds"], ended)
steps = sum(json.loads(line)["seconds"] for line in open("one.jsonl"))
expect(0 < steps <= ended["seconds"] <= wall, f"{ended['seconds']} s of {wall} s, {steps} s of them steps")

# The newest checkpoint that is 20 steps older is that of step 20; the rows of steps 21 to 30 never come again.
run("one", chunks, "--steps", "40", "--rewind", "20", "--skip-batches", "10")
run("other", chunks[:20] + chunks[30:50], "--steps", "40")
expect(weights("one") == weights("other"), "weights of other rows")
a, b = ([json.loads(line) for line in open(f + ".jsonl")] for f in ("one", "other"))
expect([r["step"] for r in a] == list(range(1, 41)) and [r["loss"] for r in a] == [r["loss"] for r in b], "rows of metrics")
expect(os.path.isdir("one/step-35.aside"), os.listdir("one"))
rows = ledger("one/ledger.jsonl")
again = rows[rows.index(ended) + 1:]
expect([r["event"] for r in again[:2]] == ["goes on", "left out"] and again[1]["batches"] == 10 and again[1]["step"] == 20, again)
expect(again[1]["data"] == again[0]["data"], "the rows that were left out are not said")

_, said = run("one", chunks, "--steps", "60", "--rewind", "50", code=64)
expect('--rewind 50 goes back too far: "one" has steps' in said, said)
_, said = run("one", chunks, "--resume", "20", "--rewind", "5", code=64)
expect("--rewind and --resume 20 exclude each other" in said, said)
_, said = run("third", chunks, "--steps", "3", "--ledger", "own.jsonl", "--load-only")
expect([r["event"] for r in ledger("own.jsonl")] == ["begins", "ended"], "a ledger of its own name")
