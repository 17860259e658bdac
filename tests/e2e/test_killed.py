"""Daemons are killed in the middle of their work: what was answered with 250 is there, once."""
import collections
import signal
import threading
import time
import uuid

import pytest
from suite import STRANGER, Resending, end, eventually, imap, mail, mx, ok, start, subjects, submission, user

MESSAGES = 200
SENDERS = 4
TEXT = ("x" * 70 + "\r\n") * 40


class Crowd:
    """Several senders at work; `taken` counts what was answered with 250."""

    def __init__(self, count, connect, sender, recipient, run):
        self.numbers, self.lock, self.count = iter(range(count)), threading.Lock(), count
        self.taken, self.tries, self.failures = 0, 0, []
        self.threads = [threading.Thread(target=self.work, args=(Resending(connect, sender, recipient), run)) for _ in range(SENDERS)]
        for t in self.threads:
            t.start()

    def work(self, link, run):
        try:
            while True:
                with self.lock:
                    i = next(self.numbers, None)
                if i is None:
                    break
                link.send(mail("%s %d" % (run, i), TEXT, to=link.recipient, sender=link.sender))
                with self.lock:
                    self.taken += 1
        except Exception as error:
            self.failures.append(error)
        with self.lock:
            self.tries += link.tries
        link.close()

    def kill_meanwhile(self, names, **env):
        """Each in turn, spread over the work; all messages are taken in the end."""
        for i, name in enumerate(names):
            due = self.count * (i + 1) // (len(names) + 1)
            eventually(lambda: self.taken >= due or self.failures, "%d messages are taken" % due, 60)
            end(name)
            time.sleep(0.2)
            start(name, **env)
        for t in self.threads:
            t.join(120)
        assert not self.failures, self.failures[0]
        assert self.taken == self.count


@pytest.mark.parametrize("victims", [("sqlite", "sqlite", "sqlite"), ("mx", "mx", "redis")])
@pytest.mark.parametrize("opened", [False, True], ids=["locked", "open"])
def test_inbound(victims, opened):
    run = uuid.uuid4().hex
    who = user(7) if opened else user(12)
    if opened:
        with imap(who):
            pass
    crowd = Crowd(MESSAGES, mx, STRANGER, who, run)
    crowd.kill_meanwhile(victims)

    def counts():
        return collections.Counter(s for s in subjects(who) if s.startswith(run))
    eventually(lambda: len(counts()) == MESSAGES, "all %d messages are in the mailbox" % MESSAGES)
    twice = {s: n for s, n in counts().items() if n != 1}
    assert not twice
    print("tries", crowd.tries)


def test_outbound(sink):
    run = uuid.uuid4().hex
    end("smtp-bree", signal.SIGTERM)
    start("smtp-bree", SMTP_QUEUE_LEASE="2s")  # else what a dead runner had claimed waits a quarter of an hour
    crowd = Crowd(MESSAGES, lambda: submission(user(8)), user(8), "friend@outside.test", run)
    crowd.kill_meanwhile(("smtp-bree", "smtp", "redis", "smtp-bree"), SMTP_QUEUE_LEASE="2s")
    seen = collections.Counter()
    until = time.monotonic() + 60
    while len(seen) < MESSAGES and time.monotonic() < until:
        got = sink.get(run)
        seen[[line for line in got.content.split(b"\r\n") if line.lower().startswith(b"subject:")][0]] += 1
    assert len(seen) == MESSAGES
    print("tries", crowd.tries, "arrived", sum(seen.values()))


def test_sessions_outlive_the_mailbox_server():
    """An IMAP session says what is wrong while the mailbox server is away, and goes on with it."""
    with imap(user(9)) as box:
        ok(box.append("INBOX", None, None, mail("before")))
        end("sqlite")
        answer = box.append("INBOX", None, None, mail("while away"))
        assert answer[0] == "NO" and b"UNAVAILABLE" in answer[1][0]
        start("sqlite")
        eventually(lambda: box.append("INBOX", None, None, mail("after"))[0] == "OK", "the session goes on")
        ok(box.noop())
        got = [s for s in subjects(user(9))]
        assert got[-2:] == ["before", "after"]
