"""Redis, the mailbox server or the store stands still or is dead: the answers of docs/architecture.md 8, nothing lost, back without help."""
import contextlib
import os
import signal
import time

import pytest
from hold import READERS, WRITER, stopped, store_locked
from imapclient import Imap
from ledger import OUTSIDE
from probe import append, count, deliver, new_run, submit
from suite import end, eventually, fectl, imap, ok, start, user


@contextlib.contextmanager
def within(seconds):
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, "%.1f s" % took


@contextlib.contextmanager
def dead(name):
    end(name)
    try:
        yield
    finally:
        start(name)


long = pytest.mark.skipif(not os.environ.get("CRASH_LONG"), reason="takes long: CRASH_LONG=1")
away = pytest.mark.parametrize("away", [stopped, dead])


@pytest.fixture(scope="module")
def limits_on():
    """The suite exempts 127.0.0.1 from the limits that are counted in Redis; here they count."""
    env = {"mx": {"MX_CONCURRENCY_EXEMPT": ""}, "smtp": {"SMTP_LIMIT_MESSAGES": "100000", "LOGIN_EXEMPT_LOOPBACK": "false"}, "imap": {"LOGIN_EXEMPT_LOOPBACK": "false"}}
    for name, more in env.items():
        end(name, signal.SIGTERM)
        start(name, **more)
    yield
    for name in env:
        end(name, signal.SIGTERM)
        start(name)


@pytest.fixture(scope="module")
def forwarding():
    address = "down-%s@bench.test" % new_run()
    fectl("alias", "add", address, "--recipient", OUTSIDE[0])
    return address


@away
def test_redis(sink, limits_on, forwarding, away):
    """Limits fail open after the client's own time limit; nobody waits for Redis longer than that."""
    who, run = user(3), new_run()
    with imap(who) as box:
        assert deliver(who, run + " before") == 250
        with away("redis"):
            with within(10):
                assert deliver(who, run + " during") == 250
            with within(10):
                assert deliver(user(12), run + " locked") == 250
            with within(10):
                assert deliver(forwarding, run + " forwarded") == 250
            with within(10):
                assert submit(user(8), run + " out") == 250
            with within(10):
                assert append(box, run + " append") == "OK"
            with within(10), imap(user(9)):
                pass
            sink.get(run + " forwarded")
            sink.get(run + " out")
    watching = Imap(who)
    watching.command("SELECT INBOX")
    eventually(lambda: deliver(who, run + " after") == 250 and any(b"EXISTS" in line for line in watching.idle(1)), "IDLE hears of changes again", 20)
    assert {s for s in count(who, run)} == {run + " " + s for s in ("before", "during", "append", "after")}


@pytest.mark.parametrize("away", [pytest.param(stopped, marks=long), dead])
def test_mailbox_server(sink, forwarding, away):
    who, run = user(4), new_run()
    with imap(who) as box:
        assert append(box, run + " before") == "OK"
        with away("sqlite"):
            assert deliver(forwarding, run + " forwarded") == 250
            assert submit(user(8), run + " out") == 250
            with within(30):
                assert append(box, run + " append") == "UNAVAILABLE"
            with within(100):
                assert deliver(who, run + " during") == 451
            sink.get(run + " forwarded")
            sink.get(run + " out")
        eventually(lambda: deliver(who, run + " during") == 250, "mail is taken again")
        eventually(lambda: append(box, run + " append") == "OK", "the session goes on")
    found = count(who, run)
    # an APPEND whose server stood still may have been done afterwards, though the client was told that nobody knows
    assert found.pop(run + " append") <= (2 if away is stopped else 1)
    assert found == {run + " before": 1, run + " during": 1}


def test_store_that_takes_no_writes(sink):
    who, run = user(3), new_run()
    with imap(who) as box:
        with store_locked(WRITER):
            assert deliver(who, run + " during") == 250
            assert append(box, run + " append") == "OK"
            with within(40):
                assert submit(user(8), run + " out") == 451
        assert submit(user(8), run + " out") == 250
    sink.get(run + " out")


@long
def test_store_that_answers_nobody(sink):
    who, run = user(3), new_run()
    with imap(who) as box:
        with store_locked(READERS, 5):
            time.sleep(2)                      # what the directory remembers
            with within(40):
                assert deliver(who, run + " during") == 451
            with within(40):
                assert submit(user(8), run + " out") in (451, 454)
            assert append(box, run + " append") == "OK", "an open session goes on"
            with within(40), imap(who) as other:
                assert ok(other.noop()), "who was logged in a moment ago still may"
        assert deliver(who, run + " during") == 250
        assert submit(user(8), run + " out") == 250
    sink.get(run + " out")
    assert count(who, run) == {run + " during": 1, run + " append": 1}
