"""launcher.py [-n N] [--slurm] COMMAND...: starts a program N times as torchrun does, by variables alone; with --slurm as srun does.
One of them may have another variable (--set), a word more (--add), be another program (--run) or not be there (--absent).  Ends the others when one has ended badly, a while after it; its exit status is that of the first that did."""
import argparse
import os
import subprocess
import sys
import time

from ports import free_job


def variables(o, rank, job, port):
    if o.slurm:
        return {"SLURM_PROCID": rank, "SLURM_STEP_NUM_TASKS": o.n, "SLURM_LOCALID": rank, "SLURM_STEP_TASKS_PER_NODE": f"{o.n}",
                "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": job, "SLURM_STEP_ID": 0}
    return {"RANK": rank, "WORLD_SIZE": o.n, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": o.n, "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port}


def start(o, rank, job, port):
    env = dict(os.environ, **{k: str(v) for k, v in variables(o, rank, job, port).items()})
    command = list(o.command)
    for other in o.set:
        which, pair = other.split(":", 1)
        if int(which) == rank:
            env.update([pair.split("=", 1)])
    for other in o.add:
        which, word = other.split(":", 1)
        if int(which) == rank:
            command.append(word)
    for other in o.run:
        which, program = other.split(":", 1)
        if int(which) == rank:
            command[0] = program
    if rank in o.absent:
        return None
    return subprocess.Popen(command, env=env)


def wait_all(jobs, grace):
    """The exit status of one that has ended badly by itself, or 0; who is not out so long after the first is killed, and that is 98."""
    since = None
    while any(j.poll() is None for j in jobs):
        since = since or (time.monotonic() if any(j.poll() for j in jobs) else None)
        if since and time.monotonic() - since > grace:
            for j in jobs:
                j.kill()
            return 98
        time.sleep(0.01)
    return max(j.returncode for j in jobs)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-n", type=int, default=2)
    p.add_argument("--slurm", action="store_true")
    p.add_argument("--grace", type=float, default=60)
    p.add_argument("--set", action="append", default=[], metavar="RANK:NAME=VALUE")
    p.add_argument("--add", action="append", default=[], metavar="RANK:WORD")
    p.add_argument("--run", action="append", default=[], metavar="RANK:PROGRAM")
    p.add_argument("--absent", action="append", default=[], type=int, metavar="RANK")
    p.add_argument("command", nargs=argparse.REMAINDER)
    o = p.parse_args()
    job, port = free_job()
    jobs = [j for j in (start(o, r, job, port) for r in range(o.n)) if j]
    sys.exit(wait_all(jobs, o.grace))


main()
