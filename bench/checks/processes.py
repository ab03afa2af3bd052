"""The processes of a run of several ranks, found by /proc."""
import os
import time


def children(pid):
    """In the order in which they were started."""
    try:
        return [int(x) for x in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


def name_of(pid):
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except OSError:
        return ""


def ranks_of(pid, n):
    """Of `--nproc N`, started as PID: rank 0, and the ranks that it has started, in order; none before all are there.
    The watchdog has its name only a moment after it is there, and would be taken for a rank before."""
    for first in children(pid):
        names = {x: name_of(x) for x in children(first)}
        others = [x for x, name in names.items() if name != "titan-watchdog"]
        if len(others) == n - 1 and len(names) == n:
            return [first, *others]
    return []


def rank_by(pid, name, variable):
    """The number of a rank called NAME, by a variable; None: it is none."""
    try:
        words = open(f"/proc/{pid}/environ").read().split("\0")
    except OSError:
        return None
    numbers = [w.split("=", 1)[1] for w in words if w.startswith(variable + "=")]
    return int(numbers[0]) if numbers and name_of(pid) == name[:15] else None


def numbered(pid, name, variable, n):
    """Of N ranks called NAME that a launcher, started as PID, gives numbers by a variable: their processes, in order; none before all are there.
    What a rank has started itself, its watchdog, is none."""
    ranks, left = {}, children(pid)
    while left:
        p = left.pop()
        rank = rank_by(p, name, variable)
        if rank is None:
            left += children(p)
        else:
            ranks[rank] = p
    return [ranks[r] for r in range(n)] if len(ranks) == n else []


def state_of(pid):
    """The kernel's letter for it; "Z" too if it is not there."""
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def is_alive(pid):
    return state_of(pid) != "Z"


def has_gpu(pid):
    """It has opened one, which a rank does when all have found each other."""
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{x}").startswith("/dev/nvidia") for x in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def wait_for(what, seconds):
    """What it gives when that is something; None: it was nothing for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if got := what():
            return got
        time.sleep(0.01)
    return None
