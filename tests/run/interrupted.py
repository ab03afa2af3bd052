"""COMMAND...: while it compiles a terminal interrupts it twice; nobody is left behind, and nobody says what it ended of."""
import os
import signal
import subprocess
import sys
import time

run = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)


def compiles():
    """Its guard is there."""
    assert run.poll() is None, run.stderr.read()
    names = []
    for task in os.listdir(f"/proc/{run.pid}/task"):
        for child in open(f"/proc/{run.pid}/task/{task}/children").read().split():
            names.append(open(f"/proc/{child}/comm").read().strip())
    return "titan-compiles" in names


while not compiles():
    time.sleep(0.01)
os.killpg(run.pid, signal.SIGINT)
said = run.stderr.readline()
assert "a second signal ends it at once" in said, said
os.killpg(run.pid, signal.SIGINT)
rest = run.stderr.read()
assert rest == "", rest
assert run.wait() == -signal.SIGINT, run.returncode
