#!/usr/bin/env python3
"""hang.py PROGRAM: runs that get stuck, several at once: stopped, in front of a pipe that nobody empties, in a loop.

The watchdog has to speak after 10 s and two steps, as it says itself how long these are, name step, phase and line, and end the run
with exit code 76.  A run that goes on in time is left alone."""
import os
import random
import re
import signal
import subprocess
import sys
import time

PROGRAM = sys.argv[1]
LATE = 3  # seconds: a look of the watchdog, which forgives one that comes later
PATIENCE = 300  # seconds, in which all happens on any machine
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
        code = self.p.wait(timeout=PATIENCE)
        self.said.seek(0)
        text = self.said.read()
        expect(code == 76, f"{self.name}: exit code {code}: {text}")
        found = re.search(r"watchdog: step (\d+): (.*) for (\d+) s, a step takes ([^ ,]+) s", text)
        expect(found and re.fullmatch(self.phase, found.group(2)), f"{self.name}: {text}")
        expect(10 <= int(found.group(3)) <= 10 + 2 * float(found.group(4)) + LATE, f"{self.name}: {text}")
        return text


def trains(metrics):
    """Some steps are over: what is stopped while it starts has a minute, and one step says not how long they are."""
    end = time.monotonic() + PATIENCE
    while not (os.path.exists(metrics) and os.path.getsize(metrics) > 2000):
        expect(time.monotonic() < end, f"no steps in {PATIENCE} s")
        time.sleep(0.01)


def pause():
    """A run that was stopped for less than that, and goes on; the seconds for which it stood, if the machine stood too."""
    if os.path.exists("patient.jsonl"):
        os.remove("patient.jsonl")
    p = subprocess.Popen([PROGRAM, "--data", "good.txt", "--threads", "1", "--quiet", "--hang-timeout", "11s", "--metrics",
                          "patient.jsonl", "--log-every", "100"], stderr=subprocess.PIPE, text=True)
    trains("patient.jsonl")
    began = time.monotonic()
    p.send_signal(signal.SIGSTOP)
    time.sleep(4)
    p.send_signal(signal.SIGCONT)
    return p, time.monotonic() - began


def goes_on(p):
    p.send_signal(signal.SIGTERM)
    said = p.communicate(timeout=PATIENCE)[1]
    expect(p.returncode == 75 and "watchdog" not in said, f"a run that goes on was called stuck: {said}")


os.mkfifo("pipe")
reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
loop = Trial("loop", data="bad.txt", phase="running the step")
pipe = Trial("pipe", "--metrics", "pipe", "--log-every", "1", phase="writing metrics")
stopped = [Trial(f"stopped{i}", "--metrics", f"{i}.jsonl", "--log-every", "100", phase=".*") for i in range(4)]
random.seed(1)
for i, t in enumerate(stopped):
    trains(f"{i}.jsonl")
    time.sleep(random.random() * 0.1)
    t.p.send_signal(signal.SIGSTOP)
patient, stood = pause()
text = loop.wait()
lines = open(os.path.join(os.path.dirname(__file__), "hang.tt")).read().split("\n")
at = [i + 1 for i, line in enumerate(lines) if "HERE" in line][0]
line = int(re.search(r"hang\.tt:(\d+)", text).group(1))
expect(at - 2 <= line <= at + 1, f"the loop is in line {at}, not {line}")
expect("step 5: running the step" in text, text)
pipe.wait()
for t in stopped:
    expect("the process was stopped by a signal" in t.wait(), t.name)
while stood > 7:  # too long to be left alone: once more
    patient.kill()
    patient, stood = pause()
goes_on(patient)
