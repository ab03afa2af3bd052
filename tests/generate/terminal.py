#!/usr/bin/env python3
"""terminal.py PROGRAM: on a terminal each line that is typed is a prompt, and its text comes as it is made."""
import os
import pty
import subprocess
import sys

ours, theirs = pty.openpty()
program = subprocess.Popen([sys.argv[1], "--generate", "--quiet", "--max-tokens", "3"], stdin=theirs, stdout=theirs,
                           stderr=theirs, start_new_session=True)
os.close(theirs)
seen = b""


def read_until(text):
    global seen
    while text not in seen:
        try:
            seen += os.read(ours, 4096)
        except OSError:
            sys.exit(f"terminal.py: the program ended behind {seen!r}, before {text!r}")
    seen = seen.split(text, 1)[1]


for line, answer in (b"a\n", b"bcd\r\n"), (b"\n", b"\r\n"), (b"wx\n", b"yz{\r\n"):
    read_until(b"> ")
    os.write(ours, line)
    read_until(answer)
read_until(b"> ")
os.write(ours, b"\x04")
if program.wait(timeout=300):
    sys.exit(f"terminal.py: exit code {program.returncode}")
