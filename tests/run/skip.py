#!/usr/bin/env python3
"""skip.py PROGRAM: what skip.tt's program does with steps that are not finite.

A step reads 16 bytes, of which the first is always the same, so that a step's labels do not tell which step follows."""
import json
import subprocess
import sys

LOSS, GRADIENT = 255, 254


def chunk(seed, bad=None):
    data = bytearray((seed * 7 + i * i * 3) % 200 for i in range(16))
    data[0] = 65
    if bad:
        data[5] = bad
    return bytes(data)


def run(name, chunks, *options, every="100"):
    open(name + ".txt", "wb").write(b"".join(chunks))
    done = subprocess.run(
        [sys.argv[1], "--data", name + ".txt", "--steps", str(len(chunks)), "--metrics", name + ".jsonl",
         "--export", name, "--quiet", "--log-every", every, *options], capture_output=True, text=True)
    steps = [json.loads(line) for line in open(name + ".jsonl")]
    return done, steps


def weights(name):
    return open(name + "/model.safetensors", "rb").read()


def expect(ok, what):
    if not ok:
        sys.exit(f"skip.py: {what}")


good = [chunk(i) for i in range(4)]
mixed = [good[0], good[1], chunk(8, LOSS), good[2], chunk(9, GRADIENT), good[3]]
done, steps = run("with", mixed)
expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr}")
expect("step 3 skipped: loss is nan" in done.stderr, done.stderr)
expect("step 5 skipped: the norm of the gradients is" in done.stderr, done.stderr)
# Skipped steps are logged although 100 is not their number.
expect([s["step"] for s in steps] == [1, 3, 5], str(steps))
expect([s["applied"] for s in steps] == [1, 0, 0], str(steps))
expect([s["updates"] for s in steps] == [1, 2, 3], str(steps))
expect([s.get("skipped") for s in steps[:2]] == [None, "loss is nan"], str(steps))
expect("the norm of the gradients is" in steps[2]["skipped"], str(steps))
expect(steps[1]["loss"] is None and steps[2]["loss"] is not None, str(steps))
expect(steps[2]["grad_norm"] is None, str(steps))
expect(steps[2]["tokens_seen"] == sum(b"".join(good[:3])), str(steps))

# The run that never saw those steps has the same bits: nothing of them is left anywhere.
done, whole = run("without", good, every="1")
expect(done.returncode == 0 and "skipped" not in done.stderr, done.stderr)
expect(weights("with") == weights("without"), "a skipped step left something behind")
_, steps = run("with", mixed, every="1")
for key in set(whole[-1]) - {"step", "tokens_per_second", "tflops", "mfu", "seconds", "data_seconds", "data_percent"}:
    expect(steps[-1][key] == whole[-1][key], f"{key} is {steps[-1][key]}, not {whole[-1][key]}")

# A finite step between ends the row.
bad = [chunk(i, LOSS) for i in range(2)]
done, _ = run("row", bad + good[:1] + bad, "--max-skips", "3")
expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr}")
done, steps = run("stop", good[:1] + bad + bad + good[:1], "--max-skips", "3")
expect(done.returncode == 79, f"exit code {done.returncode}, 79 expected")
expect("3 steps in a row were skipped, 2 to 4: loss is nan" in done.stderr, done.stderr)
expect("while running step 4" in done.stderr, done.stderr)
expect([s["step"] for s in steps] == [1, 2, 3, 4], str(steps))
# The weights are whole, and exported.
run("one", good[:1])
expect(weights("stop") == weights("one"), "the weights of a stopped run are not those before its last steps")
done, _ = run("never", bad + bad, "--max-skips", "0")
expect(done.returncode == 0, f"exit code {done.returncode}: {done.stderr}")
