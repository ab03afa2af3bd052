"""COMMAND...: of a program of two ranks, whose compiler dies in each: as threads and as processes the kernel is named.  Where rank 1
is killed while rank 0 compiles, rank 0 leaves, and nobody says what it ended of."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, f"{os.environ['SOURCE']}/bench")
from checks.processes import children, name_of, wait_for  # noqa: E402

BESIDE = {"titan-compiles", "titan-watchdog"}
command, ptx = sys.argv[1:], open(sys.argv[2]).read()
kernel = re.findall(r"\.entry (\w+)", ptx)[5]


def second():
    """Rank 1, when rank 0 has all of its processes, and each has its name."""
    for first in children(run.pid):
        names = {x: name_of(x) for x in children(first)}
        if len(names) == 3 and BESIDE < set(names.values()):
            return next(x for x, name in names.items() if name not in BESIDE)
    return None


def crash(*options):
    run = subprocess.run([*command, *options], env=dict(os.environ, FAKE_CRASH=kernel), stderr=subprocess.PIPE, text=True, timeout=300)
    assert run.returncode and f'the driver\'s compiler dies of kernel "{kernel}"' in run.stderr, run.stderr


for how, options in ("threads", ()), ("processes", ("--nproc", "2")):
    for trial in range(8):
        crash(*options)
    print(f"{how}: 8 times named")

run = subprocess.Popen([*command, "--nproc", "2"], env=dict(os.environ, FAKE_SLOW="0 cuLibraryGetModule 60000"), stderr=subprocess.PIPE,
                       text=True)
os.kill(wait_for(second, 300), signal.SIGKILL)
said = run.communicate(timeout=300)[1]
assert "rank 1 of 2 was lost" in said and "each kernel is tried" not in said, said
assert run.returncode == 76, run.returncode
print("lost: nothing tried")
