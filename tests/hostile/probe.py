"""probe.py USER - the neighbour, in a process of its own so that no test's work slows its clock: NOOP and SELECT all the time, and between
them a PING to Redis, which says how long this machine makes everybody wait. A line for each: when it began (CLOCK_MONOTONIC), which, ms."""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from hostile import ENV, Imap, port


def redis():
    with open(ENV["STATE_DIR"] + "/secrets.env", encoding="utf-8") as file:
        secrets = dict(line.strip().split("=", 1) for line in file)
    s = socket.create_connection(("127.0.0.1", port("REDIS_PORT")), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(b"AUTH %s\r\n" % secrets["REDIS_PASSWORD"].encode())
    assert s.recv(100).startswith(b"+OK")
    return s


def ping(s):
    s.sendall(b"PING\r\n")
    assert s.recv(100)


def main():
    imap, control = Imap(sys.argv[1]), redis()
    imap.ok(b"SELECT INBOX")
    calls = (("probe", lambda: imap.ok(b"NOOP")), ("control", lambda: ping(control)), ("probe", lambda: imap.ok(b"SELECT INBOX")),
             ("control", lambda: ping(control)))
    while True:
        for name, call in calls:
            from_s = time.monotonic()
            call()
            print(f"{from_s:.6f} {name} {(time.monotonic() - from_s) * 1000:.3f}", flush=True)
        time.sleep(0.005)


try:
    main()
except (BrokenPipeError, KeyboardInterrupt):
    pass
