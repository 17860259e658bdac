"""hold.py - takes things away from the daemons and gives them back: a process stopped (not dead), the store's locks held."""
import contextlib
import fcntl
import os
import signal

from suite import DAEMON_ENV, pid_of

# the locks of a WAL-mode database, bytes of its -shm file (https://www.sqlite.org/walformat.html 2.2.1)
WRITER, READERS, ALL_LOCKS = 120, 123, 8


@contextlib.contextmanager
def stopped(name):
    """It answers nobody, but its sockets accept: what a machine under water does."""
    os.kill(pid_of(name), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid_of(name), signal.SIGCONT)


@contextlib.contextmanager
def store_locked(first, count=1):
    """As a process would that got stuck in the middle of its transaction. Taken between those of others; given back at the end."""
    with open(DAEMON_ENV["STORE_URI"].removeprefix("embedded:") + "-shm", "r+b") as f:
        for at in range(first, first + count):
            fcntl.lockf(f, fcntl.LOCK_EX, 1, at)
        yield
