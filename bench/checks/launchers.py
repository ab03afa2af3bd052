"""How the ranks of a program are started, and what is said of those that do not fit or are lost.

A program is named by its path.  A way gives the command that starts it on so many ranks; a launcher that is not there is a row that
says so.  Ranks are lost in a program that would train for ever."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

from .base import Failed, last_of, library_path, passed
from .processes import has_gpu, is_alive, numbered, ranks_of, wait_for

SECONDS = 30  # until a lost rank is named, and a stopped one
BEGUN = 1500  # bytes of metrics, some steps
# Ranks that get a signal at once, and when: in a step, before the first, or while it saves behind each.
Loss = namedtuple("Loss", "words ranks number when")
# Of a launcher: what starts N of a program, the variable that numbers them (None: --nproc does it), whether its exit status is that of
# the ranks, and why it is not there, or None.
Way = namedtuple("Way", "name start variable plain missing")
Lost = namedtuple("Lost", "code said seconds pids")


def threads(n, program, *options):
    return [program, "--ranks", str(n), *options]


def nproc(n, program, *options):
    return [program, "--nproc", str(n), *options]


def mpirun(n, program, *options):
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(n), program, *options]


def processes():
    return Way("processes", nproc, None, True, None)


def ways(launcher, torch):
    """LAUNCHER: tests/ranks/launcher.py, which sets srun's variables, with ports.py beside it; TORCH: why PyTorch is not there, or None."""
    sys.path.insert(0, os.path.dirname(launcher))
    from ports import free_job

    def torchrun(n, program, *options):
        return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n), "--master-port", str(free_job()[1]),
                "--no-python", program, *options]

    def srun(n, program, *options):
        return [sys.executable, launcher, "--slurm", "-n", str(n), program, *options]

    none = None if shutil.which("mpirun") else "no mpirun here"
    return [Way("threads", threads, None, True, None), processes(),
            Way("torchrun", torchrun, "RANK", False, torch), Way("mpirun", mpirun, "OMPI_COMM_WORLD_RANK", False, none),
            Way("srun's variables", srun, "SLURM_PROCID", True, None)]


def need(way):
    if way.missing:
        raise Failed(way.missing, missing=True)


def environment(c):
    return dict(os.environ, LD_LIBRARY_PATH=library_path(c.top))


# ---------------------------------------------------------------- lost ranks


def holds(path, least):
    return os.path.exists(path) and os.path.getsize(path) > least


def saved(folder):
    """Steps that have their name."""
    return sorted(int(x[5:]) for x in (os.listdir(folder) if os.path.isdir(folder) else []) if re.fullmatch(r"step-\d+", x))


def end_all(job, pids):
    """A run that is held up; what it has said."""
    for p in [job.pid, *pids]:
        if is_alive(p):
            os.kill(p, signal.SIGKILL)
    try:
        return job.communicate(timeout=10)[1]
    except subprocess.TimeoutExpired:
        return ""


def lose(way, job, name, n, loss, begun):
    """What becomes of the others when ranks of NAME, under way as JOB, get a signal once it has BEGUN."""

    def ranks():
        found = numbered(job.pid, name, way.variable, n) if way.variable else ranks_of(job.pid, n)
        return found if all(has_gpu(p) for p in found) else []

    pids = wait_for(lambda: (begun() and ranks()) or job.poll() is not None, 60)
    if not pids or job.poll() is not None:
        raise Failed("the run does not begin: " + last_of(end_all(job, [])))
    began = time.monotonic()
    for r in loss.ranks:
        os.kill(pids[r], loss.number)
    try:
        _, said = job.communicate(timeout=2 * SECONDS)
    except subprocess.TimeoutExpired:
        left = [r for r, p in enumerate(pids) if r not in loss.ranks and is_alive(p)]
        raise Failed(f"ranks {left} wait after {2 * SECONDS} s: {last_of(end_all(job, pids))}") from None
    finally:
        for r in loss.ranks:
            if is_alive(pids[r]) and loss.number == signal.SIGSTOP:
                os.kill(pids[r], signal.SIGKILL)
    return Lost(job.returncode, said, time.monotonic() - began, pids)


def ended_well(way, lost, loss):
    """Raises unless one of the ranks was named, with where it was if that is known, and nobody is left."""
    named = rf"rank ({'|'.join(map(str, loss.ranks))})\b"
    where = rf"{named}(.|\n)*, \S+:\d+" if way.plain and loss.when == "in a step" else named
    if lost.code == 0 or (way.plain and lost.code != 76) or not re.search(where, lost.said):
        raise Failed(f"exit {lost.code}: {last_of(lost.said)}")
    if not wait_for(lambda: not any(is_alive(p) for p in lost.pids), 10):
        raise Failed("a process is left")


def goes_on(way, n, program, options, folder, env):
    """From what was saved before, whose newest is whole."""
    steps = saved(folder)[-1] + 2
    r = subprocess.run(way.start(n, program, *options, "--quiet", "--checkpoint", folder, "--resume", "auto", "--steps", str(steps)),
                       capture_output=True, text=True, env=env, timeout=60)
    if r.returncode:
        raise Failed(f"it does not go on from step {steps - 2}: {last_of(r.stderr)}")


def is_missed(c, way, n, program, options, loss):
    need(way)
    figure = f"{loss.words}, {way.name}"
    own = c.room(re.sub(r"\W+", ".", figure))
    metrics, folder, env = own + ".jsonl", own, environment(c)
    saves = ["--checkpoint", folder, "--save-every", "1", "--keep", "2"] if loss.when == "while it saves" else []
    begun = {"in a step": lambda: holds(metrics, BEGUN), "before the first": lambda: True,
             "while it saves": lambda: holds(metrics, BEGUN) and len(saved(folder)) > 1}[loss.when]
    job = subprocess.Popen(way.start(n, program, *options, *saves, "--quiet", "--log-every", "1", "--metrics", metrics),
                           stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env)
    try:
        lost = lose(way, job, os.path.basename(program), n, loss, begun)
    finally:
        job.kill()
    ended_well(way, lost, loss)
    if saves:
        goes_on(way, n, program, options, folder, env)
    return figure, f"named after {lost.seconds:.1f} s", f"{SECONDS} s", passed(lost.seconds <= SECONDS)


# ------------------------------------------------------------ who does not fit


def refused(c, figure, command, words, code=78):
    """A start that ends with CODE, and says WORDS; of a launcher that has an exit status of its own, CODE is None."""
    r = subprocess.run(command, capture_output=True, text=True, env=environment(c), timeout=60)
    fits = r.returncode == code if code else r.returncode != 0
    if not fits or not re.search(words, r.stderr):
        raise Failed(f"{figure}: exit {r.returncode}: {last_of(r.stderr)}")
    return figure, f"refused, exit {code}" if code else "refused", "the rank is named" if "rank 1" in words else "both sizes", "ok"


def misfits(c, launcher, n, program, other, options):
    """Worlds of another size than PROGRAM's N, and one in which a rank runs OTHER."""
    by = [sys.executable, launcher, "--slurm"]
    several = rf"compiled for {n} ranks, .* {n + 1}; give it {n}"
    another = "rank 1 runs another program than rank 0"
    yield refused(c, "a world too large, processes", nproc(n + 1, program, *options), several)
    yield refused(c, "a world too large, srun's variables", [*by, "-n", str(n + 1), program, *options], several)
    yield refused(c, "a world of two sizes", [sys.executable, launcher, "-n", str(n), "--set", f"1:WORLD_SIZE={n + 1}", program, *options],
                  f"rank 1 was told of {n + 1} ranks, rank 0 of {n}")
    yield refused(c, "another image, srun's variables", [*by, "-n", str(n), "--run", f"1:{other}", program, *options], another)
    yield refused(c, "other options, srun's variables", [*by, "-n", str(n), "--add", "1:--verbose", program, *options],
                  "rank 1 has other options than rank 0: \"--verbose\"")
    if shutil.which("mpirun"):
        begin = ["mpirun", "--allow-run-as-root", "--oversubscribe"]
        more = [":", "-n", str(n - 2), program, *options] if n > 2 else []
        yield refused(c, "a world too large, mpirun", mpirun(n + 1, program, *options), several, code=None)
        yield refused(c, "another image, mpirun", [*begin, "-n", "1", program, *options, ":", "-n", "1", other, *options, *more], another,
                      code=None)
