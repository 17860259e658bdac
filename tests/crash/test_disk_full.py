"""A full disk: who may try again is told so, reading goes on, nothing acknowledged is lost, and with room again all works by itself."""
import contextlib
import glob
import os
import shutil
import signal

import pytest
from disk import SmallDisk, may_mount
from probe import TEXT, append, count, deliver, new_run, submit
from suite import STATE, WAIT_S, end, eventually, imap, new_mailbox, ok, start, user

LARGE = ("z" * 70 + "\r\n") * 20000            # does not stay in memory
USERS_OF_THE_STORE = ("mx", "smtp", "smtp-bree", "imap")

pytestmark = pytest.mark.skipif(not may_mount(), reason="needs the right to mount a tmpfs (root with CAP_SYS_ADMIN)")


@contextlib.contextmanager
def small_disk(folder, megabytes, daemons, **env):
    for name in daemons:
        end(name, signal.SIGTERM)
    disk = SmallDisk(folder, megabytes)
    try:
        for name in daemons:
            start(name, **env)
        yield disk
    finally:
        for name in daemons:
            end(name, signal.SIGTERM)
        disk.close()
        for name in daemons:
            start(name)


def until_refused(attempt, what):
    """attempt(i) again and again until it is refused: the disk is full. What was taken, and the refusal."""
    for i in range(3000):
        answer = attempt(i)
        if answer not in (250, "OK"):
            return i, answer
    raise AssertionError("%s never met the full disk" % what)


def texts(box):
    return [part[1] for part in ok(box.fetch("1:*", "(BODY.PEEK[])")) if isinstance(part, tuple)]


def test_mailboxes():
    who, locked, run = user(2), new_mailbox(), new_run()
    with small_disk(STATE + "/mailboxes", 20, ("sqlite",)) as disk:
        with imap(who) as box:
            assert deliver(who, run + " before") == 250 and deliver(locked, run + " before") == 250
            disk.fill()
            taken, code = until_refused(lambda i: deliver(who, "%s open %d" % (run, i), TEXT * 4), "an open mailbox")
            assert code == 452
            sealed, code = until_refused(lambda i: deliver(locked, "%s locked %d" % (run, i), TEXT * 4), "a locked mailbox")
            assert code == 452
            assert append(box, run + " append", TEXT * 4) == "UNAVAILABLE"
            assert append(box, run + " append", LARGE) == "UNAVAILABLE"
            assert deliver(who, run + " large", LARGE) == 452
            assert any(b"before" in t for t in texts(box)), "reading goes on"
            end("sqlite")                      # and a mailbox that has to be opened can be read as well
            start("sqlite")
            assert any(b"before" in t for t in texts(box)), "reading goes on after a restart"
            with imap(locked) as other:
                eventually(lambda: ok(other.noop()) and True, "a locked mailbox opens")
                disk.fill()                    # the restart has given some room back
                more, code = until_refused(lambda i: deliver(who, "%s open %d" % (run, taken + i), TEXT * 4), "the mailbox opened again")
                taken += more
                assert code == 452
                disk.free()
                assert deliver(who, "%s open %d" % (run, taken), TEXT * 4) == 250, "it recovers by itself"
                assert deliver(who, run + " large", LARGE) == 250
                assert deliver(locked, "%s locked %d" % (run, sealed), TEXT * 4) == 250
                assert append(box, run + " append", TEXT * 4) == "OK"
        end("sqlite")
        start("sqlite")
        wanted = {"%s open %d" % (run, i): 1 for i in range(taken + 1)}
        wanted.update({run + " " + s: 1 for s in ("before", "large", "append")})
        assert count(who, run) == wanted
        wanted = {"%s locked %d" % (run, i): 1 for i in range(sealed + 1)}
        eventually(lambda: count(locked, run) == {**wanted, run + " before": 1}, "sealed mail arrives, once")
    assert run + " large" in count(who, run)


def test_spool(sink):
    run = new_run()
    with small_disk(STATE + "/spool", 2, ("mx", "smtp")) as disk:
        disk.fill()
        assert deliver(user(2), run, LARGE) == 452
        assert submit(user(8), run, body=LARGE) == 452
        assert deliver(user(2), run + " small") == 250, "what stays in memory needs no spool"
        disk.free()
        assert deliver(user(2), run, LARGE) == 250
        assert submit(user(8), run, body=LARGE) == 250
    sink.get(run)


def test_store(sink):
    """The queue cannot grow; mail comes in, mailboxes are read, and what waits in the queue is sent as soon as answers can be written down."""
    run = new_run()
    folder = "%s/store-%s" % (STATE, run)
    os.makedirs(folder)
    for name in USERS_OF_THE_STORE:
        end(name, signal.SIGTERM)
    for path in glob.glob(STATE + "/store.sqlite*"):
        shutil.copy(path, folder)
    env = {"STORE_URI": "embedded:%s/store.sqlite" % folder}
    for name in USERS_OF_THE_STORE:
        start(name)
    with small_disk(folder, 10, USERS_OF_THE_STORE, **env) as disk:
        assert submit(user(8), run + " before") == 250
        sink.get(run + " before")
        end("smtp-bree", signal.SIGTERM)
        disk.fill()
        taken, code = until_refused(lambda i: submit(user(8), "%s queued %d" % (run, i), body=TEXT * 8), "the queue")
        assert code == 452
        for name in ("imap", "mx", "smtp"):    # nobody has the store open any more
            end(name, signal.SIGTERM)
        for name in ("imap", "mx", "smtp"):
            start(name, **env)
        assert deliver(user(2), run + " in") == 250, "mail comes in"
        with imap(user(2)) as box:
            assert any(run.encode() in t for t in texts(box)), "a mailbox opens"
        start("smtp-bree", **env)
        disk.free()
        missing = {b"Subject: %s queued %d\r\n" % (run.encode(), i) for i in range(taken)}
        while missing:
            got = sink.mails.get(timeout=WAIT_S)
            missing -= {mark for mark in missing if mark in got.content}
        assert submit(user(8), run + " after") == 250
        sink.get(run + " after")
