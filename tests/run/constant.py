#!/usr/bin/env python3
"""constant.py PROGRAM STEPS: memory and descriptors of a run do not grow, with all that is written beside it.

Its rows go through a pipe of one page, so the run stands where we want to look at it: behind a tenth of the steps, when everything
has been done once, and before the last.  A checkpoint that is being written has descriptors and memory of its own, for a while."""
import fcntl
import json
import os
import subprocess
import sys
import time

PROGRAM, STEPS = sys.argv[1], int(sys.argv[2])
EVERY = STEPS // 20
PATIENCE = 300  # seconds until a checkpoint is written, on whatever machine
os.mkfifo("rows")
p = subprocess.Popen([PROGRAM, "--data", __file__, "--steps", str(STEPS), "--quiet", "--log-every", "1", "--metrics", "rows",
                      "--tensorboard", "tb", "--checkpoint", "ck", "--save-every", str(EVERY), "--keep", "2", "--threads", "2",
                      "--hang-timeout", "0"])
rows = open("rows", "rb", 1024)
fcntl.fcntl(rows, fcntl.F_SETPIPE_SZ, 4096)


def looked():
    """KiB, to the page, and descriptors."""
    with open(f"/proc/{p.pid}/smaps_rollup") as f:
        kib = next(int(line.split()[1]) for line in f if line.startswith("Rss"))
    return kib, len(os.listdir(f"/proc/{p.pid}/fd"))


def stand_at(step):
    """The run has come to this step, and a few further, and waits for us."""
    for line in rows:
        if json.loads(line)["step"] == step:
            return
    sys.exit(f"constant.py: no step {step}")


def rest(fits):
    """What it has when nothing is written any more, or what does not fit for too long."""
    end = time.monotonic() + PATIENCE
    while True:
        writes = any(name.endswith(".partial") for name in os.listdir("ck"))
        kib, files = looked()
        if (not writes and fits(kib, files)) or time.monotonic() > end:
            return kib, files
        time.sleep(0.05)


# Half-way between two checkpoints: none begins while it stands.
stand_at(2 * EVERY + EVERY // 2)
early = rest(lambda kib, files: True)
stand_at(STEPS - EVERY // 2)
late = rest(lambda kib, files: kib - early[0] <= 1024 and files <= early[1])
rows.read()
if p.wait():
    sys.exit(f"constant.py: exit code {p.returncode}")
growth, files = late[0] - early[0], late[1] - early[1]
print(f"{growth} KiB and {files} descriptors in {STEPS - 3 * EVERY} steps, of {late[0]} KiB and {late[1]}")
if growth > 1024 or files > 0:
    sys.exit("constant.py: it grows")
