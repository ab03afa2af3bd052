"""ports.py: ports at which ranks meet."""
import itertools
import os
import socket

numbers = itertools.count(os.getpid())


def free_job():
    """A job's number and the port that ranks make of it, which nobody has, and which the system gives to nobody who asks for any."""
    for job in numbers:
        port = 20000 + job * 31 % 12000
        with socket.socket() as s:
            try:
                s.bind(("", port))
                return job, port
            except OSError:
                pass
