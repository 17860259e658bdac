"""test_password.py - passwords added, revoked and put back: what opens, what must not, and a kill at any moment of a change."""
import imaplib
import shutil
import signal
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
