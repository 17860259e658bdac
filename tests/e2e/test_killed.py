"""Daemons are killed in the middle of their work: what was answered with 250 is there, once."""
import collections
import threading
import time
import uuid

import pytest
from suite import STRANGER, Resending, end, eventually, imap, mail, mx, ok, start, subjects, submission, user

MESSAGES = 200
SENDERS = 4


def send_all(count, connect, sender, recipient, run):
    """From several threads; returns (tries, failures) once all were answered with 250."""
    numbers, lock, tries, failures = iter(range(count)), threading.Lock(), [], []

    def work():
        s = Resending(connect, sender, recipient)
        try:
            while True:
                with lock:
                    i = next(numbers, None)
                if i is None:
                    break
                s.send(mail("%s %d" % (run, i), "x" * 3000 + "\r\n", to=recipient, sender=sender))
        except Exception as error:
            failures.append(error)
        tries.append(s.tries)
        s.close()
    threads = [threading.Thread(target=work) for _ in range(SENDERS)]
    for t in threads:
        t.start()
    return threads, tries, failures


def kill_while(threads, names, pause, **env):
    """Kills each in turn while the threads work, at least once."""
    for name in names:
        time.sleep(pause)
        end(name)
        time.sleep(pause / 2)
        start(name, **env)
    for t in threads:
        t.join(120)
        assert not t.is_alive()


@pytest.mark.parametrize("victims", [("sqlite", "sqlite", "sqlite"), ("mx", "mx", "mx"), ("redis", "mx", "sqlite")])
@pytest.mark.parametrize("opened", [False, True], ids=["locked", "open"])
def test_inbound(victims, opened):
    run = uuid.uuid4().hex
    who = user(7) if opened else user(12)
    if opened:
        with imap(who):
            pass
    threads, tries, failures = send_all(MESSAGES, mx, STRANGER, who, run)
    kill_while(threads, victims, 0.25)
    assert not failures, failures[0]

    def counts():
        return collections.Counter(s for s in subjects(who) if s.startswith(run))
    eventually(lambda: len(counts()) == MESSAGES, "all %d messages are in the mailbox" % MESSAGES)
    twice = {s: n for s, n in counts().items() if n != 1}
    assert not twice
    print("tries", sum(tries))


def test_outbound(sink):
    run = uuid.uuid4().hex
    threads, tries, failures = send_all(MESSAGES // 2, lambda: submission(user(8)), user(8), "friend@outside.test", run)
    kill_while(threads, ("smtp-bree", "smtp", "redis", "smtp-bree"), 0.5, SMTP_QUEUE_LEASE="2s")
    assert not failures, failures[0]
    seen = collections.Counter()
    until = time.monotonic() + 60
    while len(seen) < MESSAGES // 2 and time.monotonic() < until:
        got = sink.get(run)
        seen[[line for line in got.content.split(b"\r\n") if line.lower().startswith(b"subject:")][0]] += 1
    assert len(seen) == MESSAGES // 2
    print("tries", sum(tries), "arrived", sum(seen.values()))


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
