#!/usr/bin/env python3
"""damage.py PROGRAM DATA [--trials N] [--seed N]: damaged checkpoints are found before they are used.

One random damage to the newest of three checkpoints a trial: a bit, a page of zeros, a cut, bytes behind the end, a file of an
earlier checkpoint, a missing file.  Each time the run must go on from the one before, and say which file is damaged and where."""
import argparse
import os
import random
import re
import subprocess
import sys

NEWEST, BEFORE = "ck/step-6", "ck/step-4"
FILES = ("model.safetensors", "state.safetensors", "MANIFEST.json")


def flip(rng, data, _):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:], at


def zero(rng, data, _):
    at = rng.randrange(0, len(data), 4096)
    n = len(data[at:at + 4096])
    first = next((at + i for i in range(n) if data[at + i]), None)
    return data[:at] + bytes(n) + data[at + n:], first


def cut(rng, data, _):
    at = rng.randrange(len(data))
    return data[:at], None


def longer(rng, data, _):
    return data + rng.randbytes(rng.randrange(1, 9)), None


def swap(rng, _, name):
    return open(f"{BEFORE}/{name}", "rb").read(), None


def remove(*_):
    return None, None


def check(program, data, name, at, what):
    done = subprocess.run([program, "--data", data, "--steps", "4", "--checkpoint", "ck", "--load-only", "--resume", "auto",
                           "--threads", "1"],
                          capture_output=True, text=True)
    where = f"{what} of {name} at {at}"
    if done.returncode != 0 or 'going on behind step 4 of "ck/step-4"' not in done.stdout:
        sys.exit(f"damage.py: {where}: code {done.returncode}\n{done.stdout}{done.stderr}")
    if f"step 6 is passed over" not in done.stderr or name not in done.stderr:
        sys.exit(f"damage.py: {where}: not named\n{done.stderr}")
    span = re.search(r"bytes (\d+) to (\d+) .*(tensor|header)", done.stderr)
    if at is not None and name != "MANIFEST.json" and not (span and int(span[1]) <= at <= int(span[2])):
        sys.exit(f"damage.py: {where}: not the place\n{done.stderr}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("data")
    p.add_argument("--trials", type=int, default=500)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    rng = random.Random(o.seed)
    subprocess.run([o.program, "--data", o.data, "--steps", "6", "--checkpoint", "ck", "--save-every", "2", "--quiet"], check=True)
    whole = {f: open(f"{NEWEST}/{f}", "rb").read() for f in FILES}
    counts, trial = {}, 0
    while trial < o.trials:
        name, how = rng.choice(FILES), rng.choice((flip, flip, zero, cut, longer, swap, remove))
        bad, at = how(rng, whole[name], name)
        if bad == whole[name]:
            continue
        trial += 1
        counts[how.__name__] = counts.get(how.__name__, 0) + 1
        if bad is None:
            os.remove(f"{NEWEST}/{name}")
        else:
            open(f"{NEWEST}/{name}", "wb").write(bad)
        check(o.program, o.data, name, at, how.__name__)
        open(f"{NEWEST}/{name}", "wb").write(whole[name])
    print(f"{trial} damages, all found: " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))


if __name__ == "__main__":
    main()
