#!/usr/bin/python3
"""replay.py - many sessions change one folder at once; each keeps its own picture from what it is told, by number.

In the end every picture (UIDs in order, flags) must be the one a fresh session fetches (RFC 9051 7.5.1, RFC 7162). Half of
the sessions enable QRESYNC and are told VANISHED; the others hear EXPUNGE. Exit status 0: all pictures agree.
"""
import argparse
import random
import re
import socket
import ssl
import sys
import threading

MESSAGE = b"From: a@x.test\r\nSubject: replay\r\n\r\ntext\r\n"
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "one", "$two"]


class Session:
    def __init__(self, options, qresync):
        raw = socket.create_connection((options.host, options.port), timeout=60)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.file = context.wrap_socket(raw).makefile("rwb")
        self.messages = []              # [uid or None, flags or None] by message number
        self.tags, self.qresync, self.bad = 0, qresync, []
        self.file.readline()
        self.command(f"LOGIN {options.user} {options.password}")
        if qresync:
            self.command("ENABLE QRESYNC")
        self.command(f"SELECT {options.folder}")
        self.command("FETCH 1:* (UID FLAGS)", may_fail=True)

    def command(self, text, may_fail=False):
        self.tags += 1
        tag = f"t{self.tags}"
        self.numbered = text.split()[0] in ("FETCH", "STORE", "SEARCH")
        self.file.write(f"{tag} {text}\r\n".encode())
        self.file.flush()
        while True:
            line = self.file.readline().decode().rstrip("\r\n")
            if not line:
                raise RuntimeError(f"closed during {text}")
            if line.startswith(tag + " "):
                if not line.startswith(tag + " OK") and not may_fail:
                    self.bad.append(f"{text}: {line}")
                return line
            self.told(line, text)

    def told(self, line, text):
        match = re.fullmatch(r"\* (\d+) EXISTS", line)
        if match:
            if int(match[1]) < len(self.messages):
                self.bad.append(f"{text}: EXISTS went down without EXPUNGE: {line}, had {len(self.messages)}")
            self.messages += [[None, None] for _ in range(int(match[1]) - len(self.messages))]
        match = re.fullmatch(r"\* (\d+) EXPUNGE", line)
        if match:
            if self.numbered:
                self.bad.append(f"{text}: EXPUNGE during a command by number")
            del self.messages[int(match[1]) - 1]
        match = re.fullmatch(r"\* VANISHED (.*)", line)
        if match:
            if self.numbered:
                self.bad.append(f"{text}: VANISHED during a command by number")
            for uid in sorted(uids_of(match[1])):
                self.vanish(uid)
        match = re.fullmatch(r"\* (\d+) FETCH \((.*)\)", line)
        if match:
            entry = self.messages[int(match[1]) - 1]
            uid, flags = re.search(r"UID (\d+)", match[2]), re.search(r"FLAGS \(([^)]*)\)", match[2])
            if uid:
                if entry[0] not in (None, int(uid[1])):
                    self.bad.append(f"{text}: message {match[1]} was UID {entry[0]}, now {uid[1]}")
                entry[0] = int(uid[1])
            if flags:
                entry[1] = frozenset(flags[1].split())

    def vanish(self, uid):
        """By UID; a message whose UID was never told is found between its neighbours, as UIDs ascend."""
        unknown = None
        for position, (known, _) in enumerate(self.messages):
            if known == uid:
                unknown = position
                break
            if known is None and unknown is None:
                unknown = position
            elif known is not None and known < uid:
                unknown = None
            elif known is not None and known > uid:
                break
        if unknown is None:
            self.bad.append(f"VANISHED {uid}, which is not there")
        else:
            del self.messages[unknown]


def uids_of(text):
    out = set()
    for part in text.split(","):
        first, _, last = part.partition(":")
        out.update(range(int(first), int(last or first) + 1))
    return out


def some(session):
    count = len(session.messages)
    first = random.randint(1, count)
    return f"{first}:{min(count, first + random.randint(0, 5))}"


def act(session, options):
    if len(session.messages) < 5:
        session.command("NOOP")
    if len(session.messages) < 5 or random.random() < 0.15:
        session.tags += 1
        session.file.write(b"x%d APPEND %s {%d+}\r\n%s\r\n" % (session.tags, options.folder.encode(), len(MESSAGE), MESSAGE))
        session.file.flush()
        session.numbered = False
        while True:
            line = session.file.readline().decode().rstrip("\r\n")
            if line.startswith("x"):
                return
            session.told(line, "APPEND")
    kind = random.random()
    if kind < 0.45:
        silent = random.choice(["", ".SILENT"])
        flags = " ".join(random.sample(FLAGS, random.randint(1, 2)))
        numbers, sign = some(session), random.choice("+-")
        line = session.command(f"STORE {numbers} {sign}FLAGS{silent} ({flags})")
        if silent and " OK" in line:
            first, _, last = numbers.partition(":")
            for entry in session.messages[int(first) - 1:int(last)]:
                entry[1] = None         # the client would compute it; here it asks at the end
    elif kind < 0.6:
        session.command(f"STORE {some(session)} +FLAGS (\\Deleted)")
        session.command("EXPUNGE")
    elif kind < 0.7:
        session.command(f"MOVE {some(session)} {options.other}")
    elif kind < 0.8:
        session.command(f"COPY {some(session)} {options.folder}")
    elif kind < 0.9:
        session.command(f"FETCH {some(session)} (UID FLAGS)")
    elif kind < 0.95:
        session.command("SEARCH UNSEEN")
    else:
        session.command("NOOP")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--folder", default="INBOX")
    parser.add_argument("--other", default="Other")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)

    first = Session(options, False)
    first.command(f"CREATE {options.other}", may_fail=True)
    sessions = [Session(options, i % 2 == 1) for i in range(options.sessions)]

    def work(session):
        try:
            for _ in range(options.rounds):
                act(session, options)
        except Exception as error:      # a thread's failure must be seen
            session.bad.append(repr(error))

    threads = [threading.Thread(target=work, args=(s,)) for s in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    fresh = Session(options, False)
    want = [tuple(m) for m in fresh.messages]
    failed = 0
    for number, session in enumerate(sessions):
        problems = list(session.bad)
        if not problems:
            session.command("NOOP")
            told = [list(m) for m in session.messages]
            if len(told) != len(want):
                problems.append(f"{len(told)} messages, a fresh session sees {len(want)}")
            for position, (mine, real) in enumerate(zip(told, want), 1):
                if mine[0] not in (None, real[0]):
                    problems.append(f"message {position}: UID {mine[0]}, really {real[0]}")
                if mine[1] is not None and mine[1] != real[1]:
                    problems.append(f"message {position} UID {real[0]}: flags {sorted(mine[1])}, really {sorted(real[1])}")
        failed += bool(problems)
        for problem in problems[:5]:
            print(f"session {number}{' (QRESYNC)' if session.qresync else ''}: {problem}")
    uids = [uid for uid, _ in want]
    if uids != sorted(set(uids)):
        print("UIDs do not ascend")
        failed += 1
    print(f"{len(sessions)} sessions, {len(want)} messages, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
