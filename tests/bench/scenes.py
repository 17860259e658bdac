#!/usr/bin/env python3
"""scenes.py - what the load generator alone does not show; one JSON line per figure.

  held    MX to mailboxes that IDLE sessions hold open     drain   10,000 sealed messages into the mailbox at login
  queue   submission to a sink, and the peer's relay        pss     memory of the five daemons, idle
"""
import argparse
import base64
import imaplib
import json
import multiprocessing
import os
import re
import socket
import ssl
import subprocess
import sys
import time

TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE
HELD_MAILBOXES, DRAIN_MESSAGES, QUEUE_MESSAGES, QUEUE_SESSIONS = 50, 10000, 2000, 4
DAEMONS = ("sqlite", "mx", "smtp", "smtp_bree", "imap")


def say(bench, server="suite", **figures):
    print(json.dumps({"server": server, "bench": bench, **figures}), flush=True)


def read_env(path):
    return dict(re.findall(r"^(\w+)=(.*)$", open(path).read(), re.M))


def login(env, user):
    m = imaplib.IMAP4_SSL("127.0.0.1", int(env["IMAPS_PORT"]), ssl_context=TLS)
    m.login(user, env["FIXTURE_PASSWORD"])
    return m


def mload(args, env, name, *more):
    pids = ",".join(env["PID_" + d] for d in DAEMONS)
    command = [os.path.join(args.out, "mload"), "-h", "127.0.0.1", "-L", "suite", "-N", name, "-P", pids.replace(",", " "), "-T", "120", *more]
    for line in subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        print(line, flush=True)
        return json.loads(line)


def scene_held(args, env):
    holders = []
    for n in range(1, HELD_MAILBOXES + 1):
        m = login(env, f"u{n}@bench.test")
        m.select()
        m.send(b"i IDLE\r\n")
        m.readline()
        m.sock.settimeout(None)
        holders.append(m)
    drainer = multiprocessing.Process(target=discard, args=([m.sock for m in holders],), daemon=True)
    drainer.start()
    for size in (1024, 10240):
        for sessions, n in ((1, 500), (10, 3000), (50, 3000)):
            mload(args, env, f"held_{size}b_s{sessions}", "-p", env["MX_PORT"], "-m", "smtp", "-n", str(n), "-s", str(sessions), "-z", str(size),
                  "-R", "u%d@bench.test", "-U", str(HELD_MAILBOXES))
    drainer.terminate()


def discard(socks):
    """Reads what IDLE tells, so that nothing fills up."""
    while True:
        for s in socks:
            s.setblocking(False)
            try:
                while s.recv(65536):
                    pass
            except (ssl.SSLWantReadError, BlockingIOError):
                pass
        time.sleep(0.05)


def scene_drain(args, env):
    user = f"u{150 + args.round}@bench.test"
    mload(args, env, "seal_1024b_s10", "-p", env["MX_PORT"], "-m", "smtp", "-n", str(DRAIN_MESSAGES), "-s", "10", "-z", "1024", "-R", user)
    started = time.time()
    m = login(env, user)
    logged_in = time.time() - started
    while True:
        found = int(re.search(rb"MESSAGES (\d+)", m.status("INBOX", "(MESSAGES)")[1][0]).group(1))
        if found >= DRAIN_MESSAGES or time.time() - started > 60:
            break
        time.sleep(0.01)
    took = time.time() - started
    say("drain_10k", rate=round(found / took, 1), secs=round(took, 3), login_ms=round(logged_in * 1000, 1), messages=found)
    m.logout()


class Submitter:
    """One SMTP session that pipelines MAIL, RCPT and DATA (RFC 2920), as mload does; with TLS and a login when there is a user."""

    def __init__(self, port, user, password):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if user:
            self.sock = TLS.wrap_socket(self.sock)
        self.lines = self.sock.makefile("rb")
        self.replies(1)
        self.ask(b"EHLO bench.test\r\n")
        if user:
            self.ask(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n")

    def replies(self, n):
        for _ in range(n):
            line = self.lines.readline()
            while line[3:4] == b"-":
                line = self.lines.readline()
            if line[:1] not in (b"2", b"3"):
                raise RuntimeError(line)

    def ask(self, commands, n=1):
        self.sock.sendall(commands)
        self.replies(n)


def submit(port, user, password, n):
    """n messages of 1 KB in one session."""
    sender = user or "u1@bench.test"
    to = "friend@outside.test" if user else "friend@bench.test"
    s = Submitter(port, user, password)
    envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode()
    body = ("x" * 70 + "\r\n") * 12 + ".\r\n"
    for i in range(n):
        head = f"From: {sender}\r\nTo: {to}\r\nSubject: {i}\r\nMessage-ID: <{os.getpid()}.{i}@bench.test>\r\n\r\n"
        s.ask(envelope, 3)
        s.ask((head + body).encode())
    s.ask(b"QUIT\r\n")


class Sink:
    """smtp-sink; its running count of messages is read off its output."""

    def __init__(self, args, address):
        self.path = os.path.join(args.out, "sink.log")
        self.log = open(self.path, "wb")
        self.child = subprocess.Popen(["smtp-sink", "-u", "postfix", "-c", address, "1000"], stdout=self.log, stderr=self.log)
        host, port = address.split(":")
        for _ in range(50):
            try:
                socket.create_connection((host, int(port)), 1).close()
                break
            except OSError:
                time.sleep(0.1)

    def count(self):
        with open(self.path, "rb") as f:
            f.seek(max(0, os.path.getsize(self.path) - 4096))
            found = re.findall(rb"mesg=(\d+)", f.read())
        return int(found[-1]) if found else 0

    def stop(self):
        self.child.terminate()
        self.child.wait()
        self.log.close()


def cpu_seconds(pids):
    """Of the processes and all their descendants that live."""
    parents, spent = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rpartition(") ")[2].split()
        except OSError:
            continue
        parents[int(pid)] = int(fields[1])
        spent[int(pid)] = sum(map(int, fields[11:15]))
    wanted, total = set(pids), 0
    for pid in parents:
        at = pid
        while at in parents and at not in wanted:
            at = parents[at]
        if at in wanted:
            total += spent[pid]
    return total / os.sysconf("SC_CLK_TCK")


def run_queue(args, server, address, port, user, password, pids):
    sink = Sink(args, address)
    spent = cpu_seconds(pids)
    started = time.time()
    share = QUEUE_MESSAGES // QUEUE_SESSIONS
    clients = [multiprocessing.Process(target=submit, args=(port, user and user % (n + 1), password, share)) for n in range(QUEUE_SESSIONS)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    accepted = time.time() - started
    while sink.count() < QUEUE_MESSAGES and time.time() - started < 120:
        time.sleep(0.02)
    took, arrived = time.time() - started, sink.count()
    spent = cpu_seconds(pids) - spent
    sink.stop()
    say("queue_1024b_s4", server, rate=round(arrived / took, 1), accepted_rate=round(QUEUE_MESSAGES / accepted, 1), secs=round(took, 3), messages=arrived,
        server_ms_per_op=round(spent * 1000 / max(1, arrived), 3))


def scene_queue(args, env):
    master = os.path.join(os.environ.get("BENCH_TMP", "/tmp/bench-peers"), "postfix-sink/queue/pid/master.pid")
    if os.path.exists(master):
        run_queue(args, "postfix-relay", "127.0.0.1:24026", 24025, None, None, [int(open(master).read())])
    run_queue(args, "suite", f"127.0.0.2:{env['MX_PORT']}", int(env["SMTPS_PORT"]), "u%d@bench.test", env["FIXTURE_PASSWORD"],
              [int(env["PID_smtp"]), int(env["PID_smtp_bree"])])


def scene_pss(_args, env):
    pss = {}
    for d in DAEMONS:
        text = open(f"/proc/{env['PID_' + d]}/smaps_rollup").read()
        pss[d] = int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    say("idle_pss", rate=round(sum(pss.values()) / 1024, 1), unit="MiB", by_daemon=pss)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("scene", choices=("held", "drain", "queue", "pss"))
    p.add_argument("--state", required=True)
    p.add_argument("--bench", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--round", type=int, default=0)
    args = p.parse_args()
    build = ["bash", "-c", f". '{args.bench}/env.sh'"]      # builds the load generator when there is none
    subprocess.run(build, check=True, env={**os.environ, "OUT": args.out})
    globals()["scene_" + args.scene](args, read_env(os.path.join(args.state, "suite.env")))


if __name__ == "__main__":
    sys.exit(main())
