#!/usr/bin/env python3
"""stop.py PROGRAM [TRIALS [SEED]]: runs that are asked to end, at random moments.

Each ends behind the step it is in with exit code 75, has a whole row for every step, and what it exports are the weights of a run
that was to end there.  A second signal ends it at once, as that signal does by default."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

PROGRAM = sys.argv[1]
TRIALS = int(sys.argv[2]) if len(sys.argv) > 2 else 50
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
DATA = __file__
PATIENCE = 300  # seconds, in which all happens on any machine


def expect(ok, what):
    if not ok:
        sys.exit(f"stop.py: seed {SEED}: {what}")


def start(*options):
    if os.path.exists("m.jsonl"):
        os.remove("m.jsonl")
    p = subprocess.Popen([PROGRAM, "--data", DATA, "--threads", "1", "--quiet", "--metrics", "m.jsonl", "--log-every", "1", *options],
                         stderr=subprocess.PIPE, text=True)
    return p


def under_way():
    end = time.monotonic() + PATIENCE
    while not (os.path.exists("m.jsonl") and os.path.getsize("m.jsonl")):
        expect(time.monotonic() < end, f"no step in {PATIENCE} s")
        time.sleep(0.001)


def ended(p, by):
    said = p.communicate(timeout=PATIENCE)[1]
    expect(p.returncode == 75, f"{by}: exit code {p.returncode}: {said}")
    found = re.search(r"stopped behind step (\d+) by (.*); ", said)
    expect(found and found.group(2) == by, f"{by}: {said}")
    steps = [json.loads(line)["step"] for line in open("m.jsonl")]
    expect(steps == list(range(1, int(found.group(1)) + 1)), f"{by}: rows of steps {steps}")
    return len(steps)


def weights():
    return open("out/model.safetensors", "rb").read()


def straight(steps, *options):
    done = subprocess.run([PROGRAM, "--data", DATA, "--threads", "1", "--quiet", "--steps", str(steps), "--export", "out", *options])
    expect(done.returncode == 0, f"exit code {done.returncode}")
    return weights()


def trial(i):
    """By a signal, by the file, or by a signal to a process that was stopped and goes on (as schedulers do)."""
    shutil.rmtree("ck", ignore_errors=True)
    p = start("--export", "out", "--stop-file", "stop", *(["--checkpoint", "ck"] if i % 5 == 0 else []))
    under_way()
    time.sleep(random.random() * 0.1)
    kind = i % 7
    if kind < 5:
        p.send_signal(SIGNALS[kind])
        by = SIGNALS[kind].name
    elif kind == 5:
        for s in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
            p.send_signal(s)
        by = "SIGTERM"
    else:
        open("stop", "w").close()
        by = 'the file "stop"'
    last = ended(p, by)
    if kind == 6:
        again = subprocess.run([PROGRAM, "--data", DATA, "--stop-file", "stop", "--quiet"], capture_output=True, text=True)
        expect(again.returncode == 75 and "behind step 0" in again.stderr, again.stderr)
        os.remove("stop")
    if i % 5 == 0:
        cut = weights()
        expect(straight(last) == cut, f"the weights behind step {last} are others")
        expect(straight(last + 2, "--checkpoint", "ck", "--resume", "auto") == straight(last + 2), f"step {last} was not gone on from")


def second_signal():
    """Both are there before the process can take a step: it is stopped while they come."""
    p = start()
    under_way()
    for s in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        p.send_signal(s)
    p.communicate(timeout=PATIENCE)
    expect(p.returncode in (-signal.SIGTERM, -signal.SIGINT), f"two signals: exit code {p.returncode}")


def left_alone():
    """Under nohup, and with nobody who reads what it says."""
    p = subprocess.Popen([PROGRAM, "--data", DATA, "--threads", "1", "--log-every", "1", "--steps", "300", "--metrics", "n.jsonl"],
                         stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    p.stdout.readline()
    p.stdout.readline()
    p.stdout.close()
    p.send_signal(signal.SIGHUP)
    expect(p.wait(timeout=PATIENCE) == 0 and len(open("n.jsonl").readlines()) == 300, f"nohup: exit code {p.returncode}")


def time_limit():
    """Of 4 s at least 3 are kept for a save: no step begins when one is over, so the one before the last did not."""
    p = start("--time-limit", "4s")
    ended(p, "the time limit")
    seconds = [json.loads(line)["seconds"] for line in open("m.jsonl")]
    expect(sum(seconds[:-2]) <= 1, f"a limit of 4 s lets steps begin until {sum(seconds[:-2]):.2f} s")


random.seed(SEED)
began = time.monotonic()
for i in range(TRIALS):
    trial(i)
for i in range(5):
    second_signal()
left_alone()
time_limit()
print(f"{TRIALS} stops in {time.monotonic() - began:.1f} s, seed {SEED}")
