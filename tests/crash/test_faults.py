"""A disk that reports errors or tears writes: nothing is acknowledged that is not there after a kill, and all works again when it does."""
import contextlib
import os

import pytest
from disk import HITS, build_shim, failing, shim_env, under_shim, without_shim
from probe import append, count, deliver, new_run, submit
from suite import STATE, Sink, end, eventually, fectl, imap, ok, start, user

KINDS = ["sync EIO", "write EIO", "write ENOSPC", "write short"]


@pytest.fixture(scope="module", autouse=True)
def shim():
    names = ("sqlite", "smtp", "mx", "smtp-bree")
    build_shim()
    under_shim(*names)
    yield
    without_shim(*names)


def is_told_of(box, text):
    ok(box.noop())
    return ok(box.search(None, "SUBJECT", '"%s"' % text))[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 3000], ids=["small", "large"])       # through the log, at once
def test_open_mailbox(kind, size):
    who, run, body = user(1), new_run(), ("y" * 70 + "\r\n") * size
    with imap(who) as box:
        assert deliver(who, run + " before", body) == 250
        eventually(lambda: is_told_of(box, run + " before"), "it is in the mailbox")
        with failing("%s %s" % (kind, "/mailboxes/")):
            wanted = (452,) if "ENOSPC" in kind else (451,)
            assert deliver(who, run + " during", body) in wanted
            assert deliver(who, run + " during", body) in wanted
            assert append(box, run + " append") == "UNAVAILABLE"
            assert b"before" in b"".join(part[1] for part in ok(box.fetch("*", "(BODY.PEEK[HEADER])")) if isinstance(part, tuple)), "reading goes on"
        assert deliver(who, run + " during", body) == 250, "it recovers without help"
        assert append(box, run + " append") == "OK"
        assert deliver(who, run + " after", body) == 250
    end("sqlite")
    start("sqlite", **shim_env())
    assert count(who, run) == {run + " " + s: 1 for s in ("before", "during", "append", "after")}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_while_it_fails(kind):
    """What the failed commit left in the log is found by the next process: read, but not acknowledged before it is on the disk."""
    who, run = user(1), new_run()
    wanted = (452,) if "ENOSPC" in kind else (451,)
    with imap(who) as box:
        assert deliver(who, run + " before") == 250
        with failing("%s %s" % (kind, "/mailboxes/")):
            assert deliver(who, run + " during") in wanted
            end("sqlite")
            start("sqlite", **shim_env())
            assert b"before" in b"".join(part[1] for part in ok(box.fetch("1:*", "(BODY.PEEK[HEADER])")) if isinstance(part, tuple)), "a mailbox opens"
            assert deliver(who, run + " during") in wanted
            assert append(box, run + " append") == "UNAVAILABLE"
        assert deliver(who, run + " during") == 250
        assert append(box, run + " append") == "OK"
    end("sqlite")
    start("sqlite", **shim_env())
    assert count(who, run) == {run + " " + s: 1 for s in ("before", "during", "append")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [20, 6000], ids=["small", "large"])
def test_locked_mailbox(kind, size):
    who, run, body = user(12), new_run(), ("y" * 70 + "\r\n") * size
    assert deliver(who, run + " before", body) == 250
    with failing("%s %s" % (kind, "/mailboxes/")):
        for _ in range(2):
            assert deliver(who, run + " during", body) in ((452,) if "ENOSPC" in kind else (451,))
    assert deliver(who, run + " during", body) == 250
    assert deliver(who, run + " after", body) == 250
    end("sqlite")
    start("sqlite", **shim_env())
    eventually(lambda: count(who, run) == {run + " " + s: 1 for s in ("before", "during", "after")}, "sealed mail arrives once")
    end("sqlite")                              # locked again for the next
    start("sqlite", **shim_env())


@pytest.mark.parametrize("kind", KINDS)
def test_queue(sink, kind):
    who, run = user(8), new_run()
    with failing("%s %s" % (kind, STATE + "/store.sqlite")):
        assert submit(who, run + " during") in ((452,) if "ENOSPC" in kind else (451,))
        assert submit(who, run + " during") in ((452,) if "ENOSPC" in kind else (451,))
    assert submit(who, run + " during") == 250
    end("smtp-bree")
    end("smtp")
    start("smtp", **shim_env())
    start("smtp-bree", **shim_env())
    sink.get(run + " during")


class Arming(Sink):
    """Takes the mail, and from then on the store fails."""

    def __init__(self, run, trouble):
        super().__init__()
        self.run, self.trouble = run, trouble

    async def handle_DATA(self, server, session, envelope):
        if self.run.encode() in envelope.content:
            self.trouble.enter_context(failing("any EIO %s/store.sqlite" % STATE))
        return await super().handle_DATA(server, session, envelope)


def test_an_answer_waits_for_the_store():
    """The remote has said 250 when the store fails: the queue runner writes it down later, and sends nothing twice."""
    run, trouble = new_run(), contextlib.ExitStack()
    sink = Arming(run, trouble)
    sink.server.start()
    try:
        assert submit(user(8), run) == 250
        sink.get(run)
        eventually(lambda: os.path.exists(HITS), "the answer could not be written down")
        trouble.close()
        eventually(lambda: " sent " in fectl("queue", "list").splitlines()[0], "it is written down")
        assert sink.mails.empty()
    finally:
        sink.server.stop()


@pytest.mark.parametrize("kind", ["write EIO", "write ENOSPC", "write short"])
def test_spool(sink, kind):
    """What is too large for memory waits in an unnamed file."""
    run, body = new_run(), ("y" * 70 + "\r\n") * 8000
    with failing("%s %s" % (kind, STATE + "/spool/")):
        wanted = (452,) if "ENOSPC" in kind else (451,)
        assert deliver(user(12), run, body) in wanted
        assert submit(user(8), run, body=body) in wanted
    assert deliver(user(12), run, body) == 250
    assert submit(user(8), run, body=body) == 250
    sink.get(run)
