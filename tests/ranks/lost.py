"""lost.py [--plan NAME] [--trials N] [--seed N] [--fake DIR [--full]] [--launcher] [--saves] [--at-once N] [--early]: ranks of --nproc, or of launcher.py, that are killed or stopped at
random moments, so many at once; --early: while they begin; --fake: with GPUs of the fake driver, which compute nothing; --full: whose
launches wait until all is done, so that a rank is nearly always in one; --saves: while they save behind every step, and each checkpoint that has its
name is whole, and the run goes on from there.  The others are out with exit code 76 and the rank's number, and what it or who missed
it was in and the line of that, unless it was between two steps or had not begun one; nobody is left.  One that was killed is missed at once, not by the
watchdog, however slow the machine is."""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time

from small import SOURCE, TITANC, build, command

sys.path.insert(0, f"{SOURCE}/bench")
from checks.processes import is_alive, numbered, ranks_of, wait_for  # noqa: E402

N = 4
MORE = 20  # trials until one falls into a step
PATIENCE = 300  # seconds, in which all happens on any machine


def must(what, job=None):
    """What is so in time, and before JOB ends."""
    found = wait_for(lambda: what() or (job and job.poll() is not None), PATIENCE)
    if job and job.poll() is not None:
        sys.exit(f"lost.py: exit {job.returncode} instead of {what.__name__}: {job.communicate()[1]}")
    return found or sys.exit(f"lost.py: no {what.__name__} in {PATIENCE} s")


def started(o, pid):
    """The processes of the ranks, in order."""
    return numbered(pid, o.plan, "RANK", N) if o.launcher else ranks_of(pid, N)


def trials(o, rng, number, least, more):
    """So many, and as many more until one falls into a step: the longest time until the others were out."""
    longest, named = 0, False
    for n in range(least + MORE):
        took, where = lose(o, rng, number, more)
        longest, named = max(longest, took), named or where or o.early
        if named and n + 1 >= least:
            return longest
    sys.exit("lost.py: what the ranks were in is never said")


def lose(o, rng, number, more):
    metrics = "metrics.jsonl"
    if os.path.exists(metrics):
        os.unlink(metrics)
    before = [sys.executable, f"{SOURCE}/tests/ranks/launcher.py", "-n", str(N)] if o.launcher else []
    more = more if o.launcher else [*more, "--nproc", str(N)]
    job = subprocess.Popen([*before, *command(o.plan, "--steps", "1000000", "--metrics", metrics, *more)],
                           stderr=subprocess.PIPE, text=True)
    try:
        return watch(o, job, metrics, rng, number)
    finally:
        job.kill()


def watch(o, job, metrics, rng, number):

    def ranks():
        return started(o, job.pid)

    def steps():
        return os.path.exists(metrics) and os.path.getsize(metrics) > 1500 and (saved_steps() or not o.saves)

    def nobody():
        return not any(is_alive(p) for p in pids)

    if not o.early:
        must(steps, job)
    pids = must(ranks, job)  # that have all begun: a process has its name from then on
    time.sleep(rng.uniform(0, 0.2))
    lost = rng.sample(range(N), o.at_once)
    began = time.monotonic()
    for rank in lost:
        os.kill(pids[rank], number)
    _, said = job.communicate(timeout=PATIENCE)
    took, code = time.monotonic() - began, job.returncode
    assert code == 76, (code, said)
    assert ("watchdog: the run is ended" in said) == (number == signal.SIGSTOP), said
    ends = r"\b" if number == signal.SIGSTOP else f" of {N} was lost: "
    assert re.search(rf"rank ({'|'.join(map(str, lost))}){ends}", said), (lost, said)
    must(nobody)
    if o.saves:
        saved()
    return took, re.search(r", \S+:\d+", said)  # of the prelude too


def saved_steps():
    return [x for x in os.listdir("ck") if re.fullmatch(r"step-\d+", x)] if os.path.exists("ck") else []


def saved():
    steps = saved_steps()
    assert steps, os.listdir("ck")
    for step in steps:
        subprocess.run([f"{os.path.dirname(TITANC)}/titan", "verify", f"ck/{step}"], check=True, stdout=subprocess.DEVNULL)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--plan", default="fsdp_tp")
    p.add_argument("--trials", type=int, default=4)
    p.add_argument("--fake", metavar="DIR")
    p.add_argument("--full", action="store_true")
    p.add_argument("--early", action="store_true")
    p.add_argument("--at-once", type=int, default=1)
    p.add_argument("--launcher", action="store_true")
    p.add_argument("--saves", action="store_true")
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    rng = random.Random(o.seed)
    # Of many microbatches, so that most moments are in a step.
    target, more = ["-D", "layer=4", "-D", "accumulate=16"], []
    if o.fake:
        os.environ.update(FAKE_GPUS=str(N), LD_LIBRARY_PATH=o.fake, **({"FAKE_FULL": "1"} if o.full else {}))
        target, more = [*target, "--target", "sm_90a"], ["--max-skips", "1000000"]
    if o.saves:
        more += ["--checkpoint", "ck", "--save-every", "1", "--keep", "2", "--resume", "auto"]
    build(o.plan, 1000000, *target)
    longest = trials(o, rng, signal.SIGKILL, o.trials, more)
    print(f"killed: {o.trials} times, the others were out after {longest:.1f} s at most")
    if o.launcher or o.early or o.at_once > 1:  # who is stopped cannot end, and the launcher waits for it
        return
    took = trials(o, rng, signal.SIGSTOP, 1, more)
    print(f"stopped: seen after {took:.1f} s")


main()
