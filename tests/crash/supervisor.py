"""supervisor.py - keeps the suite's daemons running, as systemd or Docker would: whoever dies is started again at once.

Owns the daemons while it is open (each has a thread that waits for its end) and hands them back running. A daemon that dies without
having been killed here is a failure. Every kill is remembered with its time.
"""
import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time

from suite import BIN, DAEMON_ENV, OTHER, REDIS_PORT, STATE, launch, pid_of

HEALTH_S = 30


class Kept:
    """One daemon."""

    def __init__(self, name, env):
        self.name, self.env = name, env
        self.pidfd = os.pidfd_open(pid_of(name))
        self.asked = False                     # it was killed on purpose
        self.lives = 1
        self.thread = None


class Supervisor:
    def __init__(self, *names, **env):
        self.lock, self.stopping = threading.Lock(), False
        self.kept = {name: Kept(name, env) for name in names}
        self.kills, self.unexpected = [], []
        self.stop_read, self.stop_write = os.pipe()

    def __enter__(self):
        for kept in self.kept.values():
            kept.thread = threading.Thread(target=self._keep, args=(kept,), daemon=True)
            kept.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        os.write(self.stop_write, b"x")
        for kept in self.kept.values():
            kept.thread.join(HEALTH_S)
            os.close(kept.pidfd)
        os.close(self.stop_read)
        os.close(self.stop_write)
        for name in self.kept:
            wait_healthy(name)

    def _keep(self, kept):
        poll = select.poll()
        poll.register(self.stop_read, select.POLLIN)
        while True:
            poll.register(kept.pidfd, select.POLLIN)
            ready = {fd for fd, _ in poll.poll()}
            if kept.pidfd in ready:
                poll.unregister(kept.pidfd)
                self._again(kept)
            elif self.stopping:
                return

    def _again(self, kept):
        with self.lock:
            if not kept.asked:
                self.unexpected.append("%s died by itself in life %d" % (kept.name, kept.lives))
            kept.asked = False
            kept.lives += 1
            launch(kept.name, **kept.env)
            os.close(kept.pidfd)
            kept.pidfd = os.pidfd_open(pid_of(kept.name))

    def kill(self, name, how=signal.SIGKILL):
        """At once, also while it is still starting; its next life begins by itself."""
        with self.lock:
            kept = self.kept[name]
            kept.asked = True
            try:
                signal.pidfd_send_signal(kept.pidfd, how)
            except ProcessLookupError:
                pass                           # dead since a moment ago
            self.kills.append((time.monotonic(), name))

    def kills_between(self, names, begin, end):
        return sum(begin <= at <= end and name in names for at, name in self.kills)


def is_healthy(name):
    if name in OTHER:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(OTHER[name][-1])), timeout=1):
            return True
        return False
    if name == "redis":
        ask, env = ["redis-cli", "-p", str(REDIS_PORT), "ping"], {**os.environ, "REDISCLI_AUTH": DAEMON_ENV["REDIS_PASSWORD"]}
        return b"PONG" in subprocess.run(ask, env=env, capture_output=True).stdout
    return subprocess.run([BIN + "fe-" + name, "--health"], env=DAEMON_ENV, capture_output=True).returncode == 0


def wait_healthy(name, seconds=HEALTH_S):
    """The next try begins when the one before has failed; each is a process of its own, so this is no busy loop."""
    until = time.monotonic() + seconds
    while not is_healthy(name):
        assert time.monotonic() < until, "%s is not healthy after %d s, see %s/log/%s" % (name, seconds, STATE, name)
        time.sleep(0.02)
