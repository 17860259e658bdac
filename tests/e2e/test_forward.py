"""Mail passed on: rewritten senders, and bounces that find their way back."""
import re
import uuid

import pytest
from suite import STRANGER, eventually, fectl, imap, mail, mx, ok, rcpt_code, all_messages, user


@pytest.fixture(scope="module")
def forwarding():
    address = "to-%s@bench.test" % uuid.uuid4().hex[:8]
    fectl("alias", "add", address, "--recipient", "friend@outside.test")
    return address


def forwarded(sink, address):
    mark = uuid.uuid4().hex
    with mx() as s:
        s.sendmail(STRANGER, [address], mail(mark, to=address))
    got = sink.get(mark)
    assert got.rcpt_tos == ["friend@outside.test"]
    return got


def test_srs_both_ways(sink, forwarding):
    got = forwarded(sink, forwarding)
    assert re.fullmatch(r"SRS0=[0-9A-Za-z]{4,}=[A-Z2-7]{2}=stranger\.test=someone@.*", got.mail_from), got.mail_from
    mark = uuid.uuid4().hex
    with mx() as s:
        s.sendmail("", [got.mail_from], mail(mark, to=got.mail_from, sender="mailer-daemon@outside.test"))
    back = sink.get(mark)
    assert (back.mail_from, back.rcpt_tos) == ("<>", [STRANGER])        # as aiosmtpd writes it


def test_forged_srs(sink, forwarding):
    sender = forwarded(sink, forwarding).mail_from
    hash_at = len("SRS0=")
    forged = sender[:hash_at] + ("0" if sender[hash_at] != "0" else "1") + sender[hash_at + 1:]
    assert rcpt_code(forged, sender="") >= 550
    assert rcpt_code(sender.replace("=someone@", "=somebody@"), sender="") >= 550


def test_message_is_not_changed(sink, forwarding):
    mark = uuid.uuid4().hex
    sent = mail(mark, "8 bits: \r\n.dot\r\n..two\r\ntrailing space \r\n\r\n", to=forwarding)
    with mx() as s:
        s.sendmail(STRANGER, [forwarding], sent)
    assert sink.get(mark).original_content.endswith(sent)


def test_stored_and_forwarded(sink):
    """One address that does both: each target once, also when the sender sends again."""
    address = "both-%s@bench.test" % uuid.uuid4().hex[:8]
    fectl("alias", "add", address, "--imap", "--recipient", "friend@outside.test")
    fectl("alias", "password", address, "--password-stdin", stdin="pass\n")
    mark = uuid.uuid4().hex
    data = mail(mark, to=address)
    for _ in range(2):
        with mx() as s:
            s.sendmail(STRANGER, [address], data)
    sink.get(mark)
    assert sink.mails.empty()
    with imap(address, "pass") as box:
        eventually(lambda: ok(box.noop()) and ok(box.search(None, "ALL"))[0], "stored")
        assert [m.endswith(data) for _, m in all_messages(box, "(BODY.PEEK[])")] == [True]


def test_loop_of_own_addresses():
    """a to b to a: refused or bounced, never on forever."""
    a, b = ("loop%s-%s@bench.test" % (x, uuid.uuid4().hex[:8]) for x in "ab")
    fectl("alias", "add", a, "--recipient", b)
    fectl("alias", "add", b, "--recipient", a)
    assert rcpt_code(a) >= 400
    assert rcpt_code(user(11)) == 250
