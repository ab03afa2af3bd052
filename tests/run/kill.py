#!/usr/bin/env python3
"""kill.py PROGRAM DATA [--trials N] [--seconds S] [--seed N]: kill -9 at random moments changes nothing.

A run is killed and resumed (--resume auto, nothing else is done) until it is through; its weights, states and every logged number
must be those of a run that nobody disturbed.  Half of the kills hit a save.  Stops after N kills or S seconds, at the end of a run."""
import argparse
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

CLOCK = {"tokens_per_second", "tflops", "mfu", "seconds", "data_seconds", "data_percent"}
STEPS = 60


def start(o, name):
    return subprocess.Popen(
        [o.program, "--data", o.data, "--steps", str(STEPS), "--checkpoint", name, "--save-every", "2", "--keep", "2",
         "--resume", "auto", "--metrics", name + ".jsonl", "--log-every", "1", "--quiet", "--threads", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def rows(name):
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in open(name + ".jsonl")]


def result(name):
    step = f"{name}/step-{STEPS}"
    return rows(name), {f: open(f"{step}/{f}", "rb").read() for f in os.listdir(step) if f.endswith(".safetensors")}


def is_saving(name):
    return bool(glob.glob(name + "/*.partial"))


def stop_inside(job, name, rng):
    """In a save, somewhere; the run stands still then, so that it is one however late we are."""
    while job.poll() is None:
        if not is_saving(name):
            time.sleep(0.0002)
            continue
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.004))
        job.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, job.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if is_saving(name):
            return
        job.send_signal(signal.SIGCONT)


def wait(job, name, rng, whole, aims):
    """Until the moment to kill: anywhere in a run that takes WHOLE seconds, or inside a save."""
    end = time.monotonic() + rng.uniform(0, 0.7 * whole)
    while job.poll() is None and time.monotonic() < end:
        time.sleep(0.0005)
    if aims:
        stop_inside(job, name, rng)


def disturb(o, name, rng, whole, count):
    """One run, killed until it is through."""
    while True:
        job = start(o, name)
        wait(job, name, rng, whole, aims=2 * count["saves"] <= count["kills"])
        if job.poll() is not None:
            if job.returncode != 0:
                sys.exit(f"kill.py: a resumed run ended with {job.returncode}: {job.stderr.read()}")
            job.stderr.close()
            return
        job.kill()
        job.wait()
        job.stderr.close()
        count["kills"] += 1
        count["saves"] += is_saving(name)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("data")
    p.add_argument("--trials", type=int, default=1 << 30)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    rng = random.Random(o.seed)
    begin = time.monotonic()
    if start(o, "whole").wait() != 0:
        sys.exit("kill.py: the undisturbed run failed")
    whole, want = time.monotonic() - begin, result("whole")
    count, runs, begin = {"kills": 0, "saves": 0}, 0, time.monotonic()
    while count["kills"] < o.trials and runs < 10 * o.trials and not (o.seconds and time.monotonic() - begin > o.seconds):
        shutil.rmtree("killed", ignore_errors=True)
        disturb(o, "killed", rng, whole, count)
        runs += 1
        if result("killed") != want:
            sys.exit(f"kill.py: run {runs} with seed {o.seed} differs after {count['kills']} kills")
        if glob.glob("killed/*.partial") or len(glob.glob("killed/step-*")) > 3:
            sys.exit(f"kill.py: run {runs} left {os.listdir('killed')}")
    print(f"{count['kills']} kills in {runs} runs, {count['saves']} of them inside a save: no difference")
    if count["kills"] < 10 or count["saves"] < 0.4 * count["kills"]:
        sys.exit("kill.py: too few kills, or too few of them inside a save")


if __name__ == "__main__":
    main()
