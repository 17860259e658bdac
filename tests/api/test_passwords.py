"""generate-password: every refusal, real logins afterwards, the mail kept or destroyed as asked, and kills in the middle."""
import contextlib
import fcntl
import os
import sys
import threading
import time

import pytest

import rest
from rest import api, new_user, quote, unique

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e"))
import suite  # noqa: E402


def path(address):
    name, domain = address.split("@")
    return "/v1/domains/%s/aliases/%s" % (domain, quote(name))


def generate(owner, address, **body):
    return api("POST", path(address) + "/generate-password", token=owner[1], json=body)


@pytest.fixture
def address(owner, domain):
    """A new alias with a mailbox to be, and no password."""
    name = unique("pw")
    assert api("POST", "/v1/domains/%s/aliases" % domain, token=owner[1], json={"name": name, "has_imap": True}).status == 200
    assert api("PUT", "/v1/domains/%s/aliases/%s" % (domain, name), token=owner[1], json={"recipients": []}).status == 200      # stores, forwards nowhere
    return "%s@%s" % (name, domain)


def opens(address, password):
    try:
        with suite.imap(address, password):
            return True
    except suite.imaplib.IMAP4.error:
        return False


def submits(address, password):
    try:
        with suite.submission(address, password):
            return True
    except suite.smtplib.SMTPAuthenticationError:
        return False


def put_mail(address, password, subject):
    with suite.imap(address, password) as box:
        suite.ok(box.append("INBOX", None, None, suite.mail(subject)))


def mails(address, password):
    with suite.imap(address, password) as box:
        return len(suite.all_messages(box))


def accepted(address):
    """False: 451, as long as MX has the key of the mailbox that was destroyed; mail sealed to that one could never be read."""
    try:
        suite.mx().sendmail(suite.STRANGER, [address], suite.mail("after", to=address))
    except suite.smtplib.SMTPDataError as refused:
        assert refused.smtp_code == 451
        return False
    return True


FIRST, SECOND, THIRD = "Lantern-quarry-58-velvet", "Orchid-tremor-92-saddle", "Gravel-minuet-17-beacon"


def test_the_first_password_makes_the_mailbox(owner, address):
    got = generate(owner, address)
    assert got.status == 200 and got.json["username"] == address and len(got.json["password"]) == 24
    put_mail(address, got.json["password"], "hello")
    assert mails(address, got.json["password"]) == 1 and submits(address, got.json["password"])
    assert api("GET", "/v1/account", auth=(address, got.json["password"])).json["email"] == address
    assert api("GET", path(address), token=owner[1]).json["storage_used"] > 0


@pytest.mark.parametrize("body,says", [
    ({}, "is_override"), ({"password": FIRST, "is_override": True}, "either"), ({"password": FIRST, "new_password": "password1"}, "guessed"),
    ({"is_override": True, "new_password": 'Lantern"quarry-58-velvet'}, "quotes"), ({"is_override": True, "new_password": FIRST + " "}, "blank"),
    ({"is_override": True, "new_password": " " + FIRST}, "blank"), ({"emailed_instructions": "nobody"}, "e-mail address"),
    ({"is_override": True, "emailed_instructions": "a@x.test"}, "emailed_instructions"),
])
def test_what_is_refused_changes_nothing(owner, address, body, says):
    assert generate(owner, address, new_password=FIRST).status == 200
    put_mail(address, FIRST, "stays")
    got = generate(owner, address, **body)
    assert got.status == 400 and says in got.json["message"], got
    assert mails(address, FIRST) == 1


def test_rotation_keeps_the_mail_and_ends_the_old_password_everywhere(owner, address):
    assert generate(owner, address, new_password=FIRST).json == {"username": address, "password": FIRST}
    put_mail(address, FIRST, "kept")
    assert submits(address, FIRST)
    assert api("GET", "/v1/account", auth=(address, FIRST)).status == 200      # remembered by fe-api now
    box = suite.imaplib.IMAP4_SSL("127.0.0.1", suite.IMAPS_PORT, ssl_context=suite.tls(), timeout=30)
    box.login(address, FIRST)
    suite.ok(box.select("INBOX"))
    got = generate(owner, address, password=FIRST, new_password=SECOND)
    assert got.status == 200 and "password" not in got.json and got.json["message"]
    with pytest.raises((suite.imaplib.IMAP4.abort, suite.imaplib.IMAP4.error, OSError)):
        for _ in range(100):
            suite.ok(box.noop())
            time.sleep(0.05)
    assert not opens(address, FIRST) and not submits(address, FIRST)
    assert api("GET", "/v1/account", auth=(address, FIRST)).status == 401
    assert mails(address, SECOND) == 1 and submits(address, SECOND)
    assert len(rest.fectl("alias", "passwords", address).splitlines()) == 1


def test_a_rotation_without_a_chosen_password_tells_the_random_one(owner, address):
    assert generate(owner, address, new_password=FIRST).status == 200
    got = generate(owner, address, password=FIRST)
    assert got.status == 200 and opens(address, got.json["password"]) and not opens(address, FIRST)


def test_rotation_leaves_one_of_many(owner, address):
    assert generate(owner, address, new_password=FIRST).status == 200
    rest.fectl("alias", "password", address, "--old-password-stdin", "--password-stdin", stdin=FIRST + "\n" + SECOND + "\n")
    assert opens(address, SECOND)
    assert generate(owner, address, password=SECOND, new_password=THIRD).status == 200
    assert [opens(address, p) for p in (FIRST, SECOND, THIRD)] == [False, False, True]
    assert len(rest.fectl("alias", "passwords", address).splitlines()) == 1


def test_override_gives_an_empty_mailbox(owner, address):
    assert generate(owner, address, new_password=FIRST).status == 200
    put_mail(address, FIRST, "destroyed")
    suite.mx().sendmail(suite.STRANGER, [address], suite.mail("sealed or stored, destroyed too", to=address))
    got = generate(owner, address, is_override=True)
    assert got.status == 200 and got.json["username"] == address
    assert mails(address, got.json["password"]) == 0 and not opens(address, FIRST)
    suite.eventually(lambda: accepted(address), "MX takes mail for the new mailbox")
    suite.eventually(lambda: mails(address, got.json["password"]) == 1, "mail after the override arrives")


def test_wrong_passwords_are_counted(owner, address):
    assert generate(owner, address, new_password=FIRST).status == 200
    for i in range(10):
        got = generate(owner, address, password="wrong %d" % i, new_password=SECOND)
        assert got.status == 403 and "wrong" in got.json["message"], got
    got = generate(owner, address, password=FIRST, new_password=SECOND)
    assert got.status == 403 and "hour" in got.json["message"]
    assert opens(address, FIRST)
    assert generate(owner, address, is_override=True).status == 200            # the operator's right all the same


def test_a_right_password_takes_the_count_back(owner, address):
    assert generate(owner, address, new_password=FIRST).status == 200
    for new in (SECOND, FIRST):
        old = FIRST if new == SECOND else SECOND
        for i in range(9):
            assert generate(owner, address, password="wrong %d" % i, new_password=new).status == 403
        assert generate(owner, address, password=old, new_password=new).status == 200


def test_two_rotations_at_once_leave_one_password(owner, address):
    assert generate(owner, address, new_password=FIRST).status == 200
    got = {}
    threads = [threading.Thread(target=lambda p=p: got.update({p: generate(owner, address, password=FIRST, new_password=p).status})) for p in (SECOND, THIRD)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got.values()) in ([200, 403], [200, 409]), got
    assert not opens(address, FIRST)
    assert [opens(address, p) for p in (SECOND, THIRD)] == [got[p] == 200 for p in (SECOND, THIRD)]


def test_strangers_and_nobody(owner, address):
    stranger = new_user()
    assert generate(stranger, address).status == 404
    assert api("POST", path(address) + "/generate-password", json={}).status == 401


def rotate_until_done(owner, address, old, new):
    """As a client would after an error: again with the password that still opens something."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            got = generate(owner, address, password=old, new_password=new)
        except OSError:
            time.sleep(0.1)
            continue
        if got.status == 200:
            return
        assert got.status in (408, 409, 500, 503), got
        time.sleep(0.5)
    raise AssertionError("the rotation never came through")


@pytest.mark.parametrize("victim", ["sqlite", "api"])
@pytest.mark.parametrize("after_ms", [60, 120, 180])
def test_killed_during_a_rotation(owner, address, victim, after_ms):
    assert generate(owner, address, new_password=FIRST).status == 200
    put_mail(address, FIRST, "precious")

    t = threading.Thread(target=attempt_rotation, args=(owner, address))
    t.start()
    time.sleep(after_ms / 1000)
    suite.end(victim)
    suite.start(victim)
    t.join()
    good = [p for p in (FIRST, SECOND) if opens(address, p)]
    assert good, "neither password opens the mailbox"
    assert mails(address, good[0]) == 1
    if SECOND not in good:
        rotate_until_done(owner, address, FIRST, SECOND)
    assert mails(address, SECOND) == 1


def slots(address):
    return len(rest.fectl("alias", "passwords", address).splitlines())


@contextlib.contextmanager
def nobody_writes_documents():
    """Holds the write lock of the embedded store: byte 120 of the WAL index (SQLite's WAL_WRITE_LOCK)."""
    with open(rest.STATE + "/store.sqlite-shm", "r+b") as f:
        suite.eventually(lambda: taken(f), "the write lock is free")
        yield


def taken(f):
    try:
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 120)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("step", [1, 2])
def test_killed_behind_each_step(owner, address, step):
    """1: the document has both slots, the mailbox knows the old one. 2: the mailbox knows the new one only, the document still has both."""
    if not rest.ENV["STORE_URI"].startswith("embedded:"):
        pytest.skip("the lock is the embedded store's")
    assert generate(owner, address, new_password=FIRST).status == 200
    put_mail(address, FIRST, "precious")
    suite.end("sqlite")                                                        # step 2 cannot happen
    t = threading.Thread(target=attempt_rotation, args=(owner, address))
    t.start()
    suite.eventually(lambda: slots(address) == 2, "the new slot is in the document")
    if step == 1:
        suite.end("api")
        suite.start("sqlite")
    else:
        with nobody_writes_documents():
            suite.start("sqlite")
            suite.eventually(lambda: not mailbox_knows(address, FIRST), "the mailbox knows the new slot only")
            suite.end("api")
    t.join()
    suite.start("api")
    assert slots(address) == 2
    assert [opens(address, p) for p in (FIRST, SECOND)] == ([True, False] if step == 1 else [False, True])
    rotate_until_done(owner, address, FIRST, THIRD)                            # 409 at first: it might still be running
    assert [opens(address, p) for p in (FIRST, SECOND, THIRD)] == [False, False, True]
    assert slots(address) == 1 and mails(address, THIRD) == 1


def attempt_rotation(owner, address):
    with contextlib.suppress(OSError, AssertionError, rest.http.client.HTTPException):
        generate(owner, address, password=FIRST, new_password=SECOND)


def mailbox_knows(address, password):
    return rest.subprocess.run([rest.BIN + "fectl", "mailbox", "verify", address, "--password-stdin"], env=rest.DAEMON_ENV, input=password + "\n",
                               capture_output=True, text=True).returncode == 0
