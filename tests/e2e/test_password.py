"""test_password.py - passwords added, revoked and put back: what opens, what must not, and a kill at any moment of a change."""
import imaplib
import shutil
import signal
import smtplib
import subprocess
import time

import pytest

import suite

USER = "u11@bench.test"
OTHER = "u12@bench.test"


def opens(address, password):
    try:
        with suite.imap(address, password):
            return True
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" in str(error), error
        return False


def add(address, old, new):
    suite.fectl("alias", "password", address, "--old-password-stdin", "--password-stdin", stdin=old + "\n" + new + "\n")


def slots(address):
    return [line.split()[0] for line in suite.fectl("alias", "passwords", address).splitlines()]


def store_files():
    return [suite.STATE + "/store.sqlite" + end for end in ("", "-wal", "-shm")]


def test_revoked_password_stays_revoked_when_the_old_document_comes_back(tmp_path):
    add(USER, suite.PASSWORD, "second password")
    assert opens(USER, "second password") and opens(USER, suite.PASSWORD)
    second = slots(USER)[1]

    # the operator keeps a copy of the documents, from before
    names = ["imap", "smtp", "mx", "smtp-bree"]
    for name in names:
        suite.end(name, signal.SIGTERM)
    for f in store_files():
        try:
            shutil.copy(f, tmp_path)
        except FileNotFoundError:
            pass
    for name in names:
        suite.start(name)

    suite.fectl("alias", "revoke", USER, second, "--password-stdin", stdin=suite.PASSWORD + "\n")
    assert not opens(USER, "second password")
    assert opens(USER, suite.PASSWORD)

    for name in names:
        suite.end(name, signal.SIGTERM)
    for f in store_files():
        kept = tmp_path / f.rsplit("/", 1)[1]
        if kept.exists():
            shutil.copy(kept, f)
        else:
            subprocess.run(["rm", "-f", f], check=True)
    for name in names:
        suite.start(name)
    assert second in slots(USER)
    assert not opens(USER, "second password"), "a revoked password opens nothing although its slot is back"
    assert opens(USER, suite.PASSWORD)


def test_last_password_cannot_be_revoked():
    with pytest.raises(subprocess.CalledProcessError):
        suite.fectl("alias", "revoke", OTHER, slots(OTHER)[0], "--password-stdin", stdin=suite.PASSWORD + "\n")
    assert opens(OTHER, suite.PASSWORD)


def test_a_kill_during_a_change_leaves_a_password_that_opens():
    changed = 0
    for i in range(15):
        new = "changed %d" % i
        child = subprocess.Popen([suite.BIN + "fectl", "alias", "password", OTHER, "--old-password-stdin", "--password-stdin"], env=suite.DAEMON_ENV,
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        child.stdin.write((suite.PASSWORD + "\n" + new + "\n").encode())
        child.stdin.close()
        end = time.monotonic() + 0.012 * i
        while time.monotonic() < end and child.poll() is None:
            pass
        child.kill()
        child.wait()
        assert opens(OTHER, suite.PASSWORD), "killed after %d ms" % (12 * i)
        changed += opens(OTHER, new)
        for slot in slots(OTHER)[1:]:
            suite.fectl("alias", "revoke", OTHER, slot, "--password-stdin", stdin=suite.PASSWORD + "\n")
    assert slots(OTHER) and opens(OTHER, suite.PASSWORD)


def test_a_kill_during_the_first_password_can_be_finished():
    for i in range(24):
        who = "first%d@bench.test" % i
        suite.fectl("alias", "add", who, "--imap")
        child = subprocess.Popen([suite.BIN + "fectl", "alias", "password", who, "--password-stdin"], env=suite.DAEMON_ENV, stdin=subprocess.PIPE,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        child.stdin.write(b"the first one\n")
        child.stdin.close()
        end = time.monotonic() + 0.005 * i
        while time.monotonic() < end and child.poll() is None:
            pass
        child.kill()
        child.wait()
        if not slots(who):
            suite.fectl("alias", "password", who, "--password-stdin", stdin="the first one\n")
        elif not first_opens(who):
            suite.fectl("mailbox", "create", who, "--password-stdin", stdin="the first one\n")
        assert opens(who, "the first one"), "killed after %d ms" % (5 * i)
        with pytest.raises(subprocess.CalledProcessError):
            suite.fectl("mailbox", "create", who, "--password-stdin", stdin="the first one\n")
        assert opens(who, "the first one")


def test_a_first_password_without_a_mailbox_server_is_finished_by_hand():
    who = "interrupted@bench.test"
    suite.fectl("alias", "add", who, "--imap")
    suite.end("sqlite")
    with pytest.raises(subprocess.CalledProcessError):
        suite.fectl("alias", "password", who, "--password-stdin", stdin="the first one\n")
    suite.start("sqlite")
    assert len(slots(who)) == 1
    assert not first_opens(who)
    with smtplib.SMTP("127.0.0.1", suite.MX_PORT, timeout=30) as s:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            s.sendmail(suite.STRANGER, [who], "From: %s\r\nSubject: early\r\n\r\nx\r\n" % suite.STRANGER)
    assert refused.value.smtp_code == 450
    with pytest.raises(subprocess.CalledProcessError):
        suite.fectl("mailbox", "create", who, "--password-stdin", stdin="another\n")
    suite.fectl("mailbox", "create", who, "--password-stdin", stdin="the first one\n")
    assert opens(who, "the first one")


def first_opens(who):
    """Whether there is a mailbox; a file that was never made is a fault, and says so."""
    try:
        with suite.imap(who, "the first one"):
            return True
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" not in str(error), error
        return False


def test_another_user_reads_nothing():
    found = subprocess.run(["su", "nobody", "-s", "/bin/sh", "-c", "find '%s' -type f -readable 2>/dev/null; cat /proc/%d/mem 2>/dev/null | head -c 1; true"
                            % (suite.STATE, suite.pid_of("sqlite"))], capture_output=True)
    assert found.stdout == b""
