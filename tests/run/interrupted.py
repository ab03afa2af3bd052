"""COMMAND...: while it compiles a terminal interrupts it twice; nobody is left behind, and nobody says what it ended of."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, f"{os.environ['SOURCE']}/bench")
from checks.processes import children, name_of, wait_for  # noqa: E402

run = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
assert wait_for(lambda: "titan-compiles" in map(name_of, children(run.pid)), 300), run.stderr.read()
os.killpg(run.pid, signal.SIGINT)
said = run.stderr.readline()
assert "a second signal ends it at once" in said, said
os.killpg(run.pid, signal.SIGINT)
rest = run.stderr.read()
assert rest == "", rest
assert run.wait() == -signal.SIGINT, run.returncode
