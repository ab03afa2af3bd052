#!/usr/bin/env python3
"""terminal.py PROGRAM DATA: on a terminal a line below the others shows the time left, and leaves nothing behind."""
import os
import pty
import re
import sys

said = b""


def read(fd):
    global said
    data = os.read(fd, 4096)
    said += data
    return data


stdout = os.dup(1)
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
code = pty.spawn([sys.argv[1], "--data", sys.argv[2], "--steps", "60", "--log-every", "20", "--threads", "1"], read)
os.dup2(stdout, 1)
if code:
    sys.exit(f"terminal.py: exit code {code}: {said.decode()}")
bars = re.findall(rb"\r *(\d+)% \[([#.]{24})\] (\d+)/60  left \d+:\d\d\x1b\[K", said)
if not bars or bars[-1] != (b"100", b"#" * 24, b"60"):
    sys.exit(f"terminal.py: {said.decode()}")
# What a terminal shows: of each line what stands behind the last return, and nothing that was taken away.
shown = [re.sub(r".*\r", "", line.rstrip("\r")) for line in said.decode().split("\n")]
lines = [line for line in shown if "step:" in line]
if [re.match(r"(?:\x1b\[K)?step: +(\d+)  loss: ", line).group(1) for line in lines] != ["1", "20", "40", "60"]:
    sys.exit(f"terminal.py: {lines}")
if any("left" in line for line in shown):
    sys.exit(f"terminal.py: a bar is left: {shown}")
