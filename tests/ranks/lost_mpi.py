"""lost_mpi.py: of four ranks under mpirun, in two stages, one is stopped and then killed: rank 0 says for whom it waits, and in what;
the launcher says which rank was killed, and nobody is left."""
import os
import re
import signal
import subprocess
import sys
import time

from small import build, command

N, PLAN = 4, "pp2_dp2"


def rank_of(pid):
    """That of a process of ours under mpirun, else -1."""
    try:
        words = open(f"/proc/{pid}/environ").read().split("\0")
        ours = open(f"/proc/{pid}/comm").read().strip() == PLAN and os.readlink(f"/proc/{pid}/cwd") == os.getcwd()
    except OSError:
        return -1
    rank = [w.split("=")[1] for w in words if w.startswith("OMPI_COMM_WORLD_RANK=")]
    return int(rank[0]) if ours and rank else -1


def ranks():
    return {rank_of(p): int(p) for p in os.listdir("/proc") if p.isdigit() and rank_of(p) >= 0}


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            sys.exit(f"lost_mpi.py: nothing happened in {seconds} s")
        time.sleep(0.05)


build(PLAN, 1000000, "-D", "layer=4", "-D", "accumulate=4")


def lose(number, ended):
    """A rank of a new job is killed or stopped: the job ends, and ENDED is said."""
    if os.path.exists("m.jsonl"):
        os.unlink("m.jsonl")
    said = open("said", "w")
    job = subprocess.Popen(["mpirun", "--oversubscribe", "-n", str(N), *command(PLAN, "--metrics", "m.jsonl")], stdout=said, stderr=said)
    try:
        wait_for(lambda: os.path.exists("m.jsonl") and os.path.getsize("m.jsonl") > 4000, 60)
        began, lost = time.monotonic(), ranks()[2]
        os.kill(lost, number)
        code = job.wait(timeout=40)
        took = time.monotonic() - began
        assert code != 0 and re.search(ended, open("said").read()), (code, open("said").read())
        if number == signal.SIGSTOP:
            os.kill(lost, signal.SIGKILL)
        wait_for(lambda: not ranks(), 5)
        return took
    finally:
        job.kill()


print(f"stopped: seen and named after {lose(signal.SIGSTOP, r' over .*:[0-9]+' + chr(10) + '.*the others wait for rank 2'):.1f} s")
print(f"killed: the others were out after {lose(signal.SIGKILL, 'process rank 2 .*exited on signal 9'):.1f} s")
