"""early.py: ranks that end before all have joined are missed at once, with their number and reason; who waits for long says for whom;
and whoever else is at the port is not taken for a rank of the run."""
import os
import re
import socket
import subprocess
import sys
import threading

from ports import free_job
from small import SOURCE, build, command

sys.path.insert(0, f"{SOURCE}/bench")
from checks.processes import state_of, wait_for  # noqa: E402

PATIENCE = 300  # seconds, in which all happens on any machine
LISTENS, CONNECTED = "0A", "01"  # as the kernel has them


def sockets(port, state):
    """Those of this machine that are in a state, at that port."""
    rows = [row.split() for table in ("tcp", "tcp6") if os.path.exists(f"/proc/net/{table}")
            for row in open(f"/proc/net/{table}").readlines()[1:]]
    return [row for row in rows if int(row[1].split(":")[1], 16) == port and row[3] == state]


def read_from(port):
    """Of how many connections to that port all has been read that came: they were accepted, and nothing waits in them."""
    return sum(row[9] != "0" and int(row[4].split(":")[1], 16) == 0 for row in sockets(port, CONNECTED))


class Run:
    """Processes that get a number and a port, one after the other."""

    def __init__(self, ranks, port=None, name="one"):
        self.ranks, self.port, self.name = ranks, port or free_job()[1], name

    def start(self, rank, *more):
        env = dict(os.environ, RANK=f"{rank}", WORLD_SIZE=f"{self.ranks}", MASTER_ADDR="127.0.0.1", MASTER_PORT=f"{self.port}",
                   TORCHELASTIC_RUN_ID=self.name)
        return subprocess.Popen(command("fsdp", *more), env=env, stderr=subprocess.PIPE, text=True)

    def first(self):
        """Rank 0, which listens."""
        self.zero = self.start(0)
        assert wait_for(lambda: sockets(self.port, LISTENS), PATIENCE)
        return self.zero

    def come(self, rank):
        """Another, which is connected, has said who it is, and sleeps until it hears more; rank 0 has answered, and sleeps again.
        One that had no answer yet would go on knocking if rank 0 ended."""
        before = read_from(self.port)
        job = self.start(rank)
        assert wait_for(lambda: read_from(self.port) > before, PATIENCE)
        assert wait_for(lambda: state_of(job.pid) == "S", PATIENCE)
        assert wait_for(lambda: read_from(self.port) > before and state_of(self.zero.pid) == "S", PATIENCE)
        return job


def ends(job, code, words):
    """With CODE and WORDS, behind notes on what was waited for, of which a slow machine has some."""
    said = re.sub("(?m)^note: .*\n", "", job.communicate(timeout=PATIENCE)[1])
    assert job.returncode == code and re.fullmatch(words, said), (job.returncode, said)


def one_declines():
    run = Run(3)
    jobs = run.first(), run.come(1)
    ends(run.start(2, "--bogus"), 64, "fsdp: error: there is no option --bogus; .*\n")
    ends(jobs[0], 64, "titan: error: there is no option --bogus; .*\n  while rank 2 of 3 began\n")
    ends(jobs[1], 64, "")
    print("one that could not begin has told why")


def one_is_lost():
    run = Run(3)
    first, second = run.first(), run.come(1)
    second.kill()
    ends(first, 76, "titan: error: rank 1 of 3 was lost: its connection was closed\n  while the ranks found each other\n")
    run = Run(3)
    first, second = run.first(), run.come(1)
    first.kill()
    ends(second, 76, ".* error: rank 0 of 3 was lost: its connection was closed\n  while the ranks found each other\n")
    print("one that was killed before all were there is missed")


def one_is_waited_for():
    """Nobody says that it never began."""
    first, second = Run(4).start(0), Run(2).start(1)
    note = first.stderr.readline(), second.stderr.readline()
    assert re.match(r"note: rank 1 of 4 and 2 others have not come to port \d+ yet; waiting \d+ s more\n", note[0]), note
    assert re.match(r"note: rank 1 has not reached rank 0 at 127.0.0.1, port \d+ yet: Connection refused; waiting \d+ s more\n", note[1]), note
    first.kill(), second.kill()
    print("one that does not come is waited for by its number")


def answer_strangely(listener):
    while True:
        there = listener.accept()[0]
        there.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        there.close()


def others_are_there():
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer_strangely, args=(listener,), daemon=True).start()
    lost = Run(2, listener.getsockname()[1]).start(1)
    run = Run(2)
    first, stray = run.first(), Run(2, run.port, "another").start(1)
    ends(lost, 69, "fsdp: error: rank 1 has found something else at 127.0.0.1, port .*, where rank 0 is to be; .*\n")
    ends(stray, 69, "fsdp: error: rank 1 has found another run at 127.0.0.1, port .*, where rank 0 is to be; .*\n")
    ends(run.start(1), 0, "")
    ends(first, 0, "")
    print("whoever else is at the port is no rank")


build("fsdp")
slow = [threading.Thread(target=one_is_waited_for), threading.Thread(target=others_are_there)]
for t in slow:
    t.start()
one_declines()
one_is_lost()
for t in slow:
    t.join()
