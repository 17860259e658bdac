#!/usr/bin/env python3
"""scenes.py - what the load generator alone does not show; one JSON line per figure.

  mx      the suite: MX to locked mailboxes, then to the same held open by IDLE sessions, each rate of the second counted until the
          sessions have been told of everything; with --peer the same load through Postfix into Dovecot, until the queue is empty
  drain   10,000 sealed messages (of 1 KB, of 10 KB) into the mailbox at login
  queue   submission to a sink, and the peer's relay
  pss     memory of the daemons, idle
  idle    memory and processor of --conns IMAP connections in IDLE, after SELECT of a folder of 10k and a FETCH of 1 MB each
  settle  waits until the suite has nothing left to do (search index, checkpoints)
"""
import argparse
import imaplib
import json
import multiprocessing
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import time

TLS = ssl.create_default_context()
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE
MX_MAILBOXES, MX_FIRST = 50, 101                         # u101..u150
MX_LOAD = ((1, 400), (10, 2000), (50, 1500))             # sessions, messages
MX_SIZES = (1024, 10240)
DRAIN_MESSAGES, QUEUE_MESSAGES, QUEUE_SESSIONS = 10000, 2000, 4
IDLE_USERS, IDLE_FIRST, IDLE_CPU_SECONDS = 100, 51, 20
DAEMONS = ("sqlite", "mx", "smtp", "smtp_bree", "imap")
TICK = os.sysconf("SC_CLK_TCK")


def say(bench, server="suite", **figures):
    print(json.dumps({"server": server, "bench": bench, **figures}), flush=True)


def read_env(path):
    return dict(re.findall(r"^(\w+)=(.*)$", open(path).read(), re.M))


def login(env, user):
    m = imaplib.IMAP4_SSL("127.0.0.1", int(env["IMAPS_PORT"]), ssl_context=TLS)
    m.login(user, env["FIXTURE_PASSWORD"])
    return m


def suite_pids(env):
    return [int(env["PID_" + d]) for d in DAEMONS]


def mload(args, label, pids, name, *more, show=True):
    """One run of the load generator; its line, shown when wanted."""
    command = [os.path.join(args.out, "mload"), "-h", "127.0.0.1", "-L", label, "-N", name, "-P", " ".join(map(str, pids)), "-T", "120", *more]
    line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]
    if show:
        print(line, flush=True)
    return json.loads(line)


def settle(env, seconds=90):
    """Until the daemons use less than 2 % of a core for a second."""
    pids = suite_pids(env)
    for _ in range(seconds):
        spent = cpu_seconds(pids)
        time.sleep(1)
        if cpu_seconds(pids) - spent < 0.02:
            return


# ---- MX ------------------------------------------------------------------------------------------------------------

def mx_run(args, port, pids, name, size, sessions, n, label="suite", show=True):
    """Senders differ from run to run: the same message again would be answered without being stored."""
    return mload(args, label, pids, name, "-p", str(port), "-m", "smtp", "-n", str(n), "-s", str(sessions), "-z", str(size),
                 "-R", "u%d@bench.test", "-U", str(MX_MAILBOXES), "-F", str(MX_FIRST), "-E", f"s%d.{time.time_ns()}@bench.test", show=show)


def peer_queue_length(queue):
    return sum(len(files) for part in ("incoming", "active", "deferred") for _, _, files in os.walk(os.path.join(queue, part)))


def mx_peer(args):
    tmp = os.environ.get("BENCH_TMP", "/tmp/bench-peers")
    queue = os.path.join(tmp, "postfix-lmtp/queue")
    pids = [int(open(os.path.join(tmp, p)).read()) for p in ("postfix-lmtp/queue/pid/master.pid", "dovecot/run/master.pid")]
    for size in MX_SIZES:
        for sessions, n in MX_LOAD:
            started, spent = time.time(), cpu_seconds(pids)
            line = mx_run(args, 23025, pids, f"mx_{size}b_s{sessions}", size, sessions, n, "postfix+dovecot", show=False)
            while peer_queue_length(queue) > 0 and time.time() - started < 120:
                time.sleep(0.02)
            took = time.time() - started
            line.update(accepted_rate=line["rate"], rate=round(n / took, 1), secs=round(took, 3),
                        server_ms_per_op=round((cpu_seconds(pids) - spent) * 1000 / n, 3))
            print(json.dumps(line), flush=True)


def scene_mx(args, env):
    if args.peer:
        return mx_peer(args)
    for size in MX_SIZES:
        for sessions, n in MX_LOAD:
            mx_run(args, env["MX_PORT"], suite_pids(env), f"mx_locked_{size}b_s{sessions}", size, sessions, n)
    holders = []
    exists = multiprocessing.Array("q", MX_MAILBOXES)
    for n in range(MX_MAILBOXES):
        m = login(env, f"u{MX_FIRST + n}@bench.test")
        exists[n] = int(m.select()[1][-1])        # a second EXISTS when the backlog came in meanwhile
        m.send(b"i IDLE\r\n")
        m.readline()
        m.sock.settimeout(None)
        holders.append(m)
    watcher = multiprocessing.Process(target=watch_exists, args=([m.sock for m in holders], exists), daemon=True)
    watcher.start()
    for size in MX_SIZES:
        for sessions, n in MX_LOAD:
            settle(env)                        # the index of the run before is no part of this one
            mx_held(args, env, exists, f"mx_held_{size}b_s{sessions}", size, sessions, n)
    watcher.terminate()
    watcher.join()


def mx_held(args, env, exists, name, size, sessions, n):
    """From the first connection until the sessions in IDLE have been told of every message."""
    pids = suite_pids(env)
    before, started, spent = sum(exists), time.time(), cpu_seconds(pids)
    line = mx_run(args, env["MX_PORT"], pids, name, size, sessions, n, show=False)
    while sum(exists) < before + n and time.time() - started < 120:
        time.sleep(0.002)
    took = time.time() - started
    line.update(accepted_rate=line["rate"], rate=round(n / took, 1), secs=round(took, 3), told=sum(exists) - before,
                server_ms_per_op=round((cpu_seconds(pids) - spent) * 1000 / n, 3))
    print(json.dumps(line), flush=True)


def watch_exists(socks, exists):
    """Reads what IDLE tells: how many messages each mailbox has by now."""
    waits, tails = select.poll(), [b""] * len(socks)
    of = {}
    for i, s in enumerate(socks):
        s.setblocking(False)
        waits.register(s, select.POLLIN)
        of[s.fileno()] = i
    while True:
        for fd, _ in waits.poll():
            i = of[fd]
            try:
                while data := socks[i].recv(65536):
                    *lines, tails[i] = (tails[i] + data).split(b"\r\n")
                    for line in lines:
                        if line.endswith(b" EXISTS"):
                            exists[i] = int(line.split()[1])
            except (ssl.SSLWantReadError, BlockingIOError):
                pass


def drain_one(args, env, user, size):
    mload(args, "suite", suite_pids(env), f"seal_{size}b_s10", "-p", env["MX_PORT"], "-m", "smtp", "-n", str(DRAIN_MESSAGES), "-s", "10",
          "-z", str(size), "-R", user)
    started = time.time()
    m = login(env, user)
    logged_in = time.time() - started
    m.select()
    selected = time.time() - started
    while True:
        found = int(re.search(rb"MESSAGES (\d+)", m.status("INBOX", "(MESSAGES)")[1][0]).group(1))
        if found >= DRAIN_MESSAGES or time.time() - started > 60:
            break
        time.sleep(0.01)
    took = time.time() - started
    say(f"drain_10k_{size}b", rate=round(found / took, 1), secs=round(took, 3), login_ms=round(logged_in * 1000, 1),
        select_answered_ms=round(selected * 1000, 1), messages=found)
    m.logout()


def scene_drain(args, env):
    drain_one(args, env, f"u{150 + 2 * args.round}@bench.test", 1024)
    drain_one(args, env, f"u{151 + 2 * args.round}@bench.test", 10240)


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
    return total / TICK


def run_queue(args, server, address, port, user, password, pids):
    sink = Sink(args, address)
    spent = cpu_seconds(pids)
    started = time.time()
    to = "friend@outside.test" if user else "friend@bench.test"
    command = [os.path.join(args.out, "submit"), str(port), str(QUEUE_SESSIONS), str(QUEUE_MESSAGES), to, *([user, password] if user else [])]
    if subprocess.run(command, timeout=120).returncode:
        sink.stop()
        raise SystemExit(f"{server}: submission failed")
    accepted = time.time() - started
    while sink.count() < QUEUE_MESSAGES and time.time() - started < 120:
        time.sleep(0.02)
    took, arrived = time.time() - started, sink.count()
    spent = cpu_seconds(pids) - spent
    sink.stop()
    say("queue_1024b_s4", server, rate=round(arrived / took, 1), accepted_rate=round(QUEUE_MESSAGES / accepted, 1), secs=round(took, 3), messages=arrived,
        server_ms_per_op=round(spent * 1000 / max(1, arrived), 3))


def build_submit(args):
    here = os.path.dirname(os.path.abspath(__file__))
    subprocess.run(["cc", "-O2", "-o", os.path.join(args.out, "submit"), os.path.join(here, "submit.c"), "-lssl", "-lcrypto", "-pthread"], check=True)


def scene_queue(args, env):
    build_submit(args)
    master = os.path.join(os.environ.get("BENCH_TMP", "/tmp/bench-peers"), "postfix-sink/queue/pid/master.pid")
    if os.path.exists(master) and os.path.exists(f"/proc/{open(master).read().strip()}"):
        run_queue(args, "postfix-relay", "127.0.0.1:24026", 24025, None, None, [int(open(master).read())])
    run_queue(args, "suite", f"127.0.0.2:{env['MX_PORT']}", int(env["SMTPS_PORT"]), "u%d@bench.test", env["FIXTURE_PASSWORD"],
              [int(env["PID_smtp"]), int(env["PID_smtp_bree"])])


def pss_kib(env):
    out = {}
    for d in [*DAEMONS, *(["api"] if "PID_api" in env else [])]:
        text = open(f"/proc/{env['PID_' + d]}/smaps_rollup").read()
        out[d] = int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return out


def scene_pss(_args, env):
    pss = pss_kib(env)
    say("idle_pss", rate=round(sum(pss[d] for d in DAEMONS) / 1024, 1), unit="MiB", by_daemon=pss)


# ---- IDLE ------------------------------------------------------------------------------------------------------------

def idle_fill(env, first, count):
    """A folder of 10k (copies share their bodies) and a message of 1 MB in each mailbox."""
    for n in range(first, first + count):
        m = login(env, f"u{n}@bench.test")
        if int(m.select("Idle10k")[0] != "OK"):
            m.create("Idle10k")
            m.append("Idle10k", None, None, b"Subject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * 13444)
            for i in range(9):
                m.append("Idle10k", None, None, f"Subject: small {i}\r\n\r\nHello.\r\n".encode())
            m.select("Idle10k")
            for _ in range(10):
                m.copy("2:*", "Idle10k")
        m.logout()


def idle_open(env, users, per_user, ready, stop):
    socks = []
    for _ in range(per_user):
        for n in users:
            m = login(env, f"u{n}@bench.test")
            m.select("Idle10k", readonly=True)
            if len(m.fetch("1", "(BODY.PEEK[])")[1][0][1]) < 1 << 20:
                raise RuntimeError("no message of 1 MB")
            m.send(b"i IDLE\r\n")
            m.readline()
            socks.append(m)
    ready.put(len(socks))
    stop.wait()


def scene_idle(args, env):
    users = list(range(IDLE_FIRST, IDLE_FIRST + IDLE_USERS))
    idle_fill(env, IDLE_FIRST, IDLE_USERS)
    settle(env)
    time.sleep(65)                             # the mailboxes are locked again: a key stays for a minute
    before = pss_kib(env)
    ready, stop = multiprocessing.Queue(), multiprocessing.Event()
    clients = [multiprocessing.Process(target=idle_open, args=(env, users[i::4], args.conns // IDLE_USERS, ready, stop)) for i in range(4)]
    for c in clients:
        c.start()
    held = sum(ready.get() for _ in clients)
    settle(env)
    time.sleep(2)
    after, spent = pss_kib(env), cpu_seconds(suite_pids(env))
    time.sleep(IDLE_CPU_SECONDS)
    spent = cpu_seconds(suite_pids(env)) - spent
    stop.set()
    for c in clients:
        c.join()
    grown = {d: after[d] - before[d] for d in DAEMONS}
    say(f"idle_conn_{held}", kb_per_conn=round(sum(grown.values()) / held, 2), unit="KiB", by_daemon=grown)
    say(f"idle_cpu_{held}", rate=round(100 * spent / IDLE_CPU_SECONDS, 3), unit="% of a core")


def scene_settle(_args, env):
    settle(env)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("scene", choices=("mx", "drain", "queue", "pss", "idle", "settle"))
    p.add_argument("--state", required=True)
    p.add_argument("--bench", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--round", type=int, default=1)
    p.add_argument("--conns", type=int, default=1000)
    p.add_argument("--peer", action="store_true")
    args = p.parse_args()
    build = ["bash", "-c", f". '{args.bench}/env.sh'"]      # builds the load generator when there is none
    subprocess.run(build, check=True, env={**os.environ, "OUT": args.out})
    globals()["scene_" + args.scene](args, read_env(os.path.join(args.state, "suite.env")))


if __name__ == "__main__":
    sys.exit(main())
