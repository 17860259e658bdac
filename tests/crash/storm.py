"""storm.py - mail through MX and submission while daemons are killed; afterwards every message that was answered 250 is looked for.

Owns the senders, the killer and the sink while it runs. The kill decisions (whom, after how many taken messages, how much later) come
from the seed alone.
"""
import collections
import contextlib
import random
import smtplib
import threading
import time
import uuid

from ledger import LOCKED, OPEN, OUTSIDE, SUBMITTERS, Ledger
from suite import MX_PORT, PASSWORD, STRANGER, Sink, eventually, fectl, imap, ok, submission
from supervisor import Supervisor, wait_healthy
from watcher import Watcher

VICTIMS = ["sqlite", "mx", "smtp", "smtp-bree", "imap", "redis"]
STALL_S = 120                                  # without a single message being taken
LINGER_S = 5                                   # from a remote's 250 until the queue has written it down


def kill_plan(seed, kills, total, victims):
    """[(after so many taken messages, ms later, whom)]: each daemon in turn, the order of each turn drawn anew."""
    r = random.Random(seed)
    turns = []
    while len(turns) < kills:
        turns += r.sample(victims, len(victims))
    return [(after, r.randint(0, 30), whom) for after, whom in zip(sorted(r.randint(1, max(1, total - 5)) for _ in range(kills)), turns)]


class OurSink(Sink):
    """The remote server; counts what it took, by message and recipient."""

    def __init__(self, ledger):
        super().__init__()
        self.ledger = ledger
        self.strange = []

    async def handle_DATA(self, server, session, envelope):
        known = self.ledger.identify(envelope.original_content)
        if known is None:
            self.strange.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content[:2000]))
            return "250 2.0.0 taken"
        m, whole = known
        if not whole:
            self.ledger.damaged.append((m.key, "outside"))
        for rcpt in envelope.rcpt_tos:
            self.ledger.out[m.key, rcpt].append(time.monotonic())
        return "250 2.0.0 taken"


class Sender(threading.Thread):
    """A sending server: again and again until each recipient was answered 250 (RFC 5321 4.5.4)."""

    def __init__(self, ledger, kind):
        super().__init__(daemon=True)
        self.ledger, self.kind, self.link, self.link_of = ledger, kind, None, None
        self.start()

    def run(self):
        try:
            while (m := self.ledger.take(self.kind)) is not None:
                self.send(m)
                self.ledger.done()
        except BaseException as error:
            self.ledger.failed(error)
            raise
        finally:
            self.close()

    def send(self, m):
        pending, data = list(m.rcpts), m.data()
        until = time.monotonic() + STALL_S
        while pending:
            self.ledger.tries += 1
            try:
                pending = self.transaction(m, pending, data)
            except (OSError, smtplib.SMTPException):
                self.close()
            if pending:
                assert time.monotonic() < until, "%s %d was not taken in %d s" % (m.kind, m.i, STALL_S)
                time.sleep(0.05)               # the sender's back-off

    def connect(self, m):
        if self.link is not None and self.link_of == m.sender:
            return self.link
        self.close()
        if self.kind == "mx":
            self.link = smtplib.SMTP("127.0.0.1", MX_PORT, local_hostname="mx.stranger.test", timeout=60)
            self.link.ehlo()
        else:
            self.link = submission(m.sender)
        self.link_of = m.sender
        return self.link

    def transaction(self, m, rcpts, data):
        """Recipients that are still to be tried again."""
        link = self.connect(m)
        self.check(link.mail(m.sender, ["BODY=8BITMIME"]), m)
        taken = [rcpt for rcpt in rcpts if self.check(link.rcpt(rcpt), m, rcpt)]
        if not taken:
            link.rset()
            return rcpts
        if link.docmd("DATA")[0] != 354:
            raise smtplib.SMTPServerDisconnected("no DATA now")
        link.sock.sendall(smtplib._quote_periods(data) + b".\r\n")
        try:
            answer = link.getreply()
        except (OSError, smtplib.SMTPException):
            self.ledger.lost[m.key] += 1
            raise
        return [rcpt for rcpt in rcpts if rcpt not in taken] if self.check(answer, m) else rcpts

    def check(self, answer, m, rcpt=""):
        assert answer[0] < 500, (m.key, rcpt, answer)
        if answer[0] == 421:
            raise smtplib.SMTPServerDisconnected(answer)
        return answer[0] < 300

    def close(self):
        if self.link is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self.link.close()
            self.link = None


def make_aliases():
    run = uuid.uuid4().hex[:8]
    aliases = {"forward": "forward-%s@bench.test" % run, "both": "both-%s@bench.test" % run}
    fectl("alias", "add", aliases["forward"], "--recipient", OUTSIDE[0])
    fectl("alias", "add", aliases["both"], "--imap", "--recipient", OUTSIDE[0])
    fectl("alias", "password", aliases["both"], "--password-stdin", stdin=PASSWORD + "\n")
    return run, aliases


class Storm:
    def __init__(self, messages, submissions, kills, seed, victims=None, one_mailbox=False, senders=(6, 3), say=print):
        self.victims, self.seed, self.say, self.senders = victims or VICTIMS, seed, say, senders
        run, aliases = make_aliases()
        aliases["one mailbox"] = one_mailbox
        self.ledger = Ledger(run, seed, {"mx": messages, "smtp": submissions}, aliases)
        self.plan = kill_plan(seed, kills, self.ledger.total, self.victims)
        self.sink = OurSink(self.ledger)
        self.began = time.monotonic()

    def run(self):
        self.say("seed %d: %d messages through MX, %d submitted, %d kills" % (self.seed, self.ledger.count["mx"], self.ledger.count["smtp"], len(self.plan)))
        self.sink.server.start()
        try:
            with Supervisor(*sorted({*VICTIMS, *self.victims})) as self.supervisor:
                self.storm()
            self.settle()
        finally:
            self.sink.server.stop()
        return self.verdict()

    def storm(self):
        watchers = [Watcher(OPEN[0], self.ledger.run, n) for n in (1, 2)]
        threads = [Sender(self.ledger, kind) for kind, n in zip(("mx", "smtp"), self.senders) for _ in range(n)]
        for after, later_ms, whom in self.plan:
            self.ledger.wait_taken(after, STALL_S)
            time.sleep(later_ms / 1000)
            self.supervisor.kill(whom)
        self.ledger.wait_taken(self.ledger.total, STALL_S)
        for t in threads:
            t.join(STALL_S)
        self.sent_s = time.monotonic() - self.began
        for name in {*VICTIMS, *self.victims}:
            wait_healthy(name)
        for w in watchers:
            w.stop()
        self.watched = [w.finish() for w in watchers]
        # a daemon that is started while the store is away ends, to be started again
        assert not self.supervisor.unexpected or "mongo" in self.victims, self.supervisor.unexpected

    def settle(self):
        """Until the queue is empty. What met a daemon that was away waits for its next try, which need not be a minute from now."""
        def empty():
            waiting = [line.split()[0] for status in ("queued", "deferred") for line in fectl("queue", "list", "--status", status).splitlines() if line[0] != " "]
            for email in fectl("queue", "list", "--status", "deferred").splitlines():
                if email[0] != " ":
                    with contextlib.suppress(Exception):
                        fectl("queue", "retry", email.split()[0])
            return not waiting
        eventually(empty, "the queue is empty", STALL_S)

    # ---- looking for everything ---------------------------------------------------------------------------------------------

    def boxes(self):
        """{(message's key, address): copies}; damaged and strange ones go to their lists."""
        found, self.strange = collections.Counter(), list(self.sink.strange)
        for address in OPEN + LOCKED + SUBMITTERS + [self.ledger.aliases["both"]]:
            with imap(address) as box:
                for content in self.all_of(box):
                    known = self.ledger.identify(content)
                    if known is None:
                        self.note_strange(address, content)
                        continue
                    found[known[0].key, address] += 1
                    if not known[1]:
                        self.ledger.damaged.append((known[0].key, address))
        return found

    def note_strange(self, address, content):
        """Watchers' own messages and mail of earlier runs are none of ours; a bounce is."""
        if b"mailer-daemon@" in content[:4000].lower():
            self.strange.append(("in the mailbox", address, content[:2000]))

    def all_of(self, box):
        eventually(lambda: ok(box.noop()) and self.is_drained(box), "sealed mail is in the mailbox", STALL_S)
        uids = ok(box.uid("search", None, "HEADER", "X-Crash-Id", self.ledger.run))[0].split()
        uids += [u for u in ok(box.uid("search", None, "FROM", "mailer-daemon"))[0].split() if u not in uids]
        for at in range(0, len(uids), 50):
            for part in ok(box.uid("fetch", b",".join(uids[at:at + 50]).decode(), "(BODY.PEEK[])")):
                if isinstance(part, tuple):
                    yield part[1]

    def is_drained(self, box):
        """Sealed mail counts as used: nothing is left when the count of messages has stopped to change and no spool is there."""
        count = ok(box.uid("search", None, "ALL"))[0]
        same = getattr(box, "crash_count", None) == count
        box.crash_count = count
        return same

    def copies_allowed(self, m, place, times):
        """More than one only where an answer was lost: the sender's, or (queued mail) the remote's to a queue runner that was killed."""
        allowed = 1
        if m.kind == "mx":
            return allowed + (self.ledger.lost[m.key] if place[0] == "out" else 0)
        allowed += self.ledger.lost[m.key]
        if place[0] == "out":
            allowed += sum(self.supervisor.kills_between(("smtp-bree",), at - 0.5, at + LINGER_S) > 0 for at in times)
        return allowed

    def verdict(self):
        found = self.boxes()
        lost, doubled, doubles = [], [], 0
        for kind, count in self.ledger.count.items():
            for i in range(count):
                m = self.ledger.message(kind, i)
                for place in m.places:
                    times = self.ledger.out[m.key, place[1]] if place[0] == "out" else []
                    n = len(times) if place[0] == "out" else found[m.key, place[1]]
                    if n == 0:
                        lost.append((m.key, place))
                    if n > 1:
                        doubles += n - 1
                    if n > self.copies_allowed(m, place, times):
                        doubled.append((m.key, place, n, self.ledger.lost[m.key]))
        killed = collections.Counter(whom for _, whom in self.supervisor.kills)
        self.say("taken %d in %.1f s, %d tries, %d answers lost, %d second copies after a lost answer; killed: %s" % (
            self.ledger.taken, self.sent_s, self.ledger.tries, sum(self.ledger.lost.values()), doubles, ", ".join("%s %d" % k for k in sorted(killed.items()))))
        for w in self.watched:
            self.say(w)
        self.say("all checked after %.1f s: lost %d, damaged %d, doubled %d, strange %d" % (
            time.monotonic() - self.began, len(lost), len(self.ledger.damaged), len(doubled), len(self.strange)))
        problems = {"lost": lost, "damaged": self.ledger.damaged, "doubled": doubled, "strange": self.strange}
        return {what: list_ for what, list_ in problems.items() if list_}
