#!/usr/bin/env python3
"""hang.py PROGRAM: runs that get stuck, several at once: stopped, in front of a pipe that nobody empties, in a loop.

The watchdog has to speak within 10 s and two steps (and what a loaded machine takes), name step, phase and line, and end the run
with exit code 76.  A run that goes on in time is left alone."""
import os
import random
import re
import signal
import subprocess
import sys
import time

PROGRAM = sys.argv[1]
SLACK = 6
open("good.txt", "wb").write(b"abcdefgh" * 40)
open("bad.txt", "wb").write(b"a" * 16 * 4 + b"\0" * 16)


def expect(ok, what):
    if not ok:
        sys.exit(f"hang.py: {what}")


class Trial:
    def __init__(self, name, *options, phase, data="good.txt"):
        self.name, self.phase, self.said = name, phase, open(name + ".err", "w+")
        self.p = subprocess.Popen([PROGRAM, "--data", data, "--threads", "1", "--quiet", "--hang-timeout", "11s", *options],
                                  stderr=self.said)

    def wait(self):
        code = self.p.wait(timeout=60)
        self.took = time.monotonic() - self.stuck
        self.said.seek(0)
        text = self.said.read()
        expect(code == 76, f"{self.name}: exit code {code}: {text}")
        found = re.search(r"watchdog: step (\d+): (.*) for (\d+) s", text)
        expect(found and re.fullmatch(self.phase, found.group(2)), f"{self.name}: {text}")
        expect(10 <= int(found.group(3)) <= 10 + SLACK, f"{self.name}: {text}")
        expect(self.took < 11 + SLACK, f"{self.name}: ended after {self.took:.1f} s")
        return text


os.mkfifo("pipe")
reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
loop = Trial("loop", data="bad.txt", phase="running the step")
pipe = Trial("pipe", "--metrics", "pipe", "--log-every", "1", phase="writing metrics")
# A run that is stopped for less than that, and goes on.
patient = subprocess.Popen([PROGRAM, "--data", "good.txt", "--threads", "1", "--quiet", "--hang-timeout", "11s", "--log-every", "100000"],
                           stderr=subprocess.PIPE, text=True)
stopped = [Trial(f"stopped{i}", "--metrics", f"{i}.jsonl", "--log-every", "1000", phase=".*") for i in range(4)]
loop.stuck = pipe.stuck = time.monotonic()
for i in range(4):  # at its steps: what is stopped while it starts has a minute
    while not (os.path.exists(f"{i}.jsonl") and os.path.getsize(f"{i}.jsonl")):
        expect(time.monotonic() < loop.stuck + 20, "no step in 20 s")
        time.sleep(0.01)
patient.send_signal(signal.SIGSTOP)
for t in stopped:
    time.sleep(random.random() * 0.1)
    t.stuck = time.monotonic()
    t.p.send_signal(signal.SIGSTOP)
time.sleep(5)
patient.send_signal(signal.SIGCONT)
text = loop.wait()
lines = open(os.path.join(os.path.dirname(__file__), "hang.tt")).read().split("\n")
at = [i + 1 for i, line in enumerate(lines) if "HERE" in line][0]
line = int(re.search(r"hang\.tt:(\d+)", text).group(1))
expect(at - 2 <= line <= at + 1, f"the loop is in line {at}, not {line}")
expect("step 5: running the step" in text, text)
pipe.wait()
for t in stopped:
    expect("the process was stopped by a signal" in t.wait(), t.name)
patient.send_signal(signal.SIGTERM)
said = patient.communicate(timeout=20)[1]
expect(patient.returncode == 75 and "watchdog" not in said, f"a run that goes on was called stuck: {said}")
