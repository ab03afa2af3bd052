#!/usr/bin/env python3
"""constant.py PROGRAM STEPS: memory and descriptors of a run do not grow, with all that is written beside it.

Looked at between a tenth of the steps, when everything has been done once, and the end: the most memory, and the fewest
descriptors, for a checkpoint that is being written has some of its own."""
import json
import os
import subprocess
import sys
import time

PROGRAM, STEPS = sys.argv[1], int(sys.argv[2])
p = subprocess.Popen([PROGRAM, "--data", __file__, "--steps", str(STEPS), "--quiet", "--log-every", "1", "--metrics", "m.jsonl",
                      "--tensorboard", "tb", "--checkpoint", "ck", "--save-every", str(STEPS // 20), "--keep", "2", "--threads", "2"])


def looked():
    """Step, KiB, descriptors."""
    with open(f"/proc/{p.pid}/status") as f:
        kib = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    files = len(os.listdir(f"/proc/{p.pid}/fd"))
    with open("m.jsonl", "rb") as f:
        f.seek(max(0, os.path.getsize("m.jsonl") - 2000))
        rows = f.read().split(b"\n")
    return json.loads(rows[-2])["step"], kib, files


seen = []
while p.poll() is None:
    try:
        seen.append(looked())
    except (OSError, IndexError, StopIteration, ValueError):
        pass
    time.sleep(0.02)
if p.returncode:
    sys.exit(f"constant.py: exit code {p.returncode}")
early = [s for s in seen if STEPS // 10 < s[0] < STEPS * 3 // 10]
late = [s for s in seen if s[0] > STEPS * 8 // 10]
if not early or not late:
    sys.exit(f"constant.py: looked {len(seen)} times, {len(early)} early, {len(late)} late")
growth = max(s[1] for s in late) - max(s[1] for s in early)
files = min(s[2] for s in late) - min(s[2] for s in early)
print(f"{growth} KiB and {files} descriptors in {late[-1][0] - early[0][0]} steps, of {late[-1][1]} KiB and {late[-1][2]}")
if growth > 1024 or files > 0:
    sys.exit("constant.py: it grows")
