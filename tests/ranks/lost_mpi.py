"""lost_mpi.py: of four ranks under mpirun, in two stages, one is stopped and then killed: rank 0 says for whom it waits, and in what;
the launcher says which rank was killed, and nobody is left."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import time

from small import SOURCE, build, command

sys.path.insert(0, f"{SOURCE}/bench")
from checks.processes import is_alive, numbered, wait_for  # noqa: E402

N, PLAN = 4, "pp2_dp2"
PATIENCE = 300  # seconds, in which all happens on any machine


def must(what):
    return wait_for(what, PATIENCE) or sys.exit(f"lost_mpi.py: nothing happened in {PATIENCE} s")


# Of many microbatches, so that most moments are in a step.
build(PLAN, 1000000, "-D", "layer=4", "-D", "accumulate=32")


def lose(number, ended):
    """A rank of a new job is killed or stopped: the job ends, and ENDED is said.  The seconds, and what was said."""
    if os.path.exists("m.jsonl"):
        os.unlink("m.jsonl")
    said = open("said", "w")
    job = subprocess.Popen(["mpirun", "--oversubscribe", "-n", str(N), *command(PLAN, "--metrics", "m.jsonl")], stdout=said, stderr=said)
    try:
        must(lambda: os.path.exists("m.jsonl") and os.path.getsize("m.jsonl") > 1000)
        ranks = must(lambda: numbered(job.pid, PLAN, "OMPI_COMM_WORLD_RANK", N))
        began = time.monotonic()
        os.kill(ranks[2], number)
        code = job.wait(timeout=PATIENCE)
        took = time.monotonic() - began
        words = open("said").read()
        assert code != 0 and re.search(ended, words), (code, words)
        if number == signal.SIGSTOP:
            with contextlib.suppress(ProcessLookupError):  # the launcher may have done so
                os.kill(ranks[2], signal.SIGKILL)
        must(lambda: not any(is_alive(p) for p in ranks))
        return took, words
    finally:
        job.kill()


def stop():
    """The rank is stopped again until rank 0 waits in a collective then: between two steps it waits for the rank itself."""
    for _ in range(5):
        took, words = lose(signal.SIGSTOP, r"watchdog: step [0-9]+: .*\nwatchdog: the others wait for rank 2")
        if " over " in words:
            return took
    sys.exit("lost_mpi.py: the collective is never named")


print(f"stopped: seen and named after {stop():.1f} s")
print(f"killed: the others were out after {lose(signal.SIGKILL, 'process rank 2 .*exited on signal 9')[0]:.1f} s")
