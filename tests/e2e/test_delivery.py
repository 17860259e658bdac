"""Mail comes in and goes out with other people's programs; a message of the largest size does not grow the daemons."""
import contextlib
import imaplib
import os
import smtplib
import socket
import subprocess
import threading
import uuid

import pytest
from suite import (MX_PORT, PASSWORD, SMTPS_PORT, STATE, STRANGER, SUBMISSION_PORT, all_messages, eventually, fectl, forget_peak, imap, mail, memory_kb, mx, new_mailbox,
                   ok, rcpt_code, subjects, submission, user)

MESSAGE_MAX = 50 << 20
GROWTH_MAX_KB = 16 << 10
SMTP_SOURCE = next((p for p in ("/usr/sbin/smtp-source", "/usr/lib/postfix/sbin/smtp-source") if os.path.exists(p)), "smtp-source")


def test_smtp_source():
    subprocess.run([SMTP_SOURCE, "-s", "5", "-m", "100", "-l", "4000", "-f", STRANGER, "-t", user(11), "-S", "postfix", "127.0.0.1:%d" % MX_PORT],
                   check=True, timeout=60)
    assert subjects(user(11)).count("postfix") == 100


def test_swaks_to_mx():
    mark = uuid.uuid4().hex
    run = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(MX_PORT), "--tls", "--from", STRANGER, "--to", user(11),
                          "--header", "Subject: " + mark, "--body", "hello"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    assert subjects(user(11)).count(mark) == 1


@pytest.mark.parametrize("port, how", [(SMTPS_PORT, "--tlsc"), (SUBMISSION_PORT, "--tls")])
@pytest.mark.parametrize("auth", ["PLAIN", "LOGIN"])
def test_swaks_submits(sink, port, how, auth):
    mark = uuid.uuid4().hex
    common = ["swaks", "--server", "127.0.0.1", "--port", str(port), how, "--auth", auth, "--auth-user", user(8), "--from", user(8),
              "--to", "friend@outside.test", "--header", "Subject: " + mark, "--hide-all"]
    assert subprocess.run(common + ["--auth-password", "wrong"], timeout=60).returncode == 28      # swaks: authentication failed
    run = subprocess.run(common + ["--auth-password", PASSWORD], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    got = sink.get(mark)
    assert (got.mail_from, got.rcpt_tos) == (user(8), ["friend@outside.test"])
    assert b"DKIM-Signature:" in got.original_content


def test_nobody_submits_as_another():
    s = submission(user(8))
    with pytest.raises(smtplib.SMTPException) as error:
        s.sendmail(user(9), ["friend@outside.test"], "From: %s\r\nSubject: x\r\n\r\nx\r\n" % user(9))
    assert "550" in str(error.value)
    s.quit()


def test_refusals():
    assert rcpt_code("nobody-here@bench.test") == 550
    assert rcpt_code("someone@nowhere.test") == 550
    fectl("alias", "add", "off-%s@bench.test" % (mark := uuid.uuid4().hex[:8]), "--imap")
    with mx() as s, pytest.raises(smtplib.SMTPDataError) as error:   # it has never had a password, so there is no mailbox
        s.sendmail(STRANGER, ["off-%s@bench.test" % mark], mail("x"))
    assert error.value.smtp_code == 450
    for code in (421, 550, 250):
        fectl("alias", "disable", "off-%s@bench.test" % mark, "--code", str(code))
        eventually(lambda: rcpt_code("off-%s@bench.test" % mark) == code, "a disabled alias answers %d" % code)


def big_message(size):
    head = b"From: %s\r\nSubject: big\r\nMessage-ID: <%s@stranger.test>\r\n\r\n" % (STRANGER.encode(), uuid.uuid4().hex.encode())
    line = b"8-bit text \xe4\xf6\xfc, of which no MIME parser knows what it is\r\n"
    body = line * ((size - len(head)) // len(line))
    return head + body


def send_raw(recipient, data):
    """Without smtplib's work on every line. data has no dot at the beginning of a line. The code that answers the final dot."""
    with socket.create_connection(("127.0.0.1", MX_PORT), timeout=100) as s:
        f = s.makefile("rb")

        def reply():
            while (line := f.readline())[3:4] == b"-":
                pass
            return int(line[:3])
        assert reply() == 220
        for command, code in (("EHLO mx.stranger.test", 250), ("MAIL FROM:<%s> SIZE=%d" % (STRANGER, len(data)), 250), ("RCPT TO:<%s>" % recipient, 250), ("DATA", 354)):
            s.sendall(command.encode() + b"\r\n")
            assert reply() == code, command
        s.sendall(data)
        s.sendall(b".\r\n")
        return reply()


def growth(recipient, data):
    before = {}
    for name in ("mx", "sqlite"):
        forget_peak(name)
        before[name] = memory_kb(name, "VmRSS")
    assert send_raw(recipient, data) == 250
    return {name: memory_kb(name, "VmHWM") - kb for name, kb in before.items()}


def test_largest_message():
    data = big_message(MESSAGE_MAX - 1000)
    locked = growth(user(4), data)
    with imap(user(3)) as box:
        opened = growth(user(3), data)
        ok(box.noop())
        got = all_messages(box, "(BODY.PEEK[])")[-1][1]
        assert got.endswith(data)
    print("growth in kB: locked", locked, "open", opened)
    with imap(user(4)) as box:
        def arrived():
            ok(box.noop())
            return ok(box.search(None, "ALL"))[0]
        eventually(arrived, "the sealed one is stored")
        assert all_messages(box, "(BODY.PEEK[])")[-1][1].endswith(data)
    assert all(kb < GROWTH_MAX_KB for kb in [*locked.values(), *opened.values()]), (locked, opened)


def test_too_large():
    with socket.create_connection(("127.0.0.1", MX_PORT), timeout=30) as s:
        f = s.makefile("rb")
        f.readline()
        s.sendall(b"EHLO mx.stranger.test\r\n")
        while f.readline()[3:4] == b"-":
            pass
        s.sendall(b"MAIL FROM:<%s> SIZE=%d\r\n" % (STRANGER.encode(), MESSAGE_MAX + 1))
        assert f.readline().startswith(b"552 5.3.4")


class Traffic:
    """Mail that keeps coming, for several mailboxes: what is answered 250 is counted."""

    def __init__(self, addresses, prefix):
        self.addresses, self.prefix, self.accepted = addresses, prefix, []
        self.ends = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(n,)) for n in range(3)]

    def send(self, n):
        k = 0
        while not self.ends.is_set():
            with mx() as s:
                while not self.ends.is_set():
                    subject, to = "%s-%d-%d" % (self.prefix, n, k), self.addresses[k % len(self.addresses)]
                    try:
                        s.sendmail(STRANGER, [to], mail(subject))
                    except smtplib.SMTPDataError as refusal:
                        assert refusal.smtp_code == 451, refusal
                        self.ends.wait(0.1)            # as a sender does, and on another connection
                        break
                    self.accepted.append((to, subject))
                    k += 1

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for t in self.threads:
            t.join()


def test_who_looks_sees_what_was_acknowledged():
    """Deliveries are gathered while mail keeps coming, but SELECT and STATUS find each one that was answered 250 before."""
    watched, other = new_mailbox(), new_mailbox()
    with imap(watched, folder=None) as box, imap(other), Traffic([other], "noise"), mx() as s:
        for n in range(1, 21):
            s.sendmail(STRANGER, [watched], mail("seen %d" % n))
            if n % 2:
                assert int(ok(box.select())[-1]) == n
            else:
                assert b"MESSAGES %d)" % n in ok(box.status("INBOX", "(MESSAGES)"))[0]
            ok(box.close() if n % 2 else box.noop())
    assert subjects(watched) == ["seen %d" % n for n in range(1, 21)]


def test_new_key_while_mail_comes():
    """What came in before goes into the mailbox before its key changes; meanwhile senders try again."""
    address = new_mailbox()
    with Traffic([address], "rekey") as traffic:
        with contextlib.suppress(OSError, imaplib.IMAP4.error), imap(address) as box:
            eventually(lambda: len(traffic.accepted) > 20, "mail comes")
            fectl("mailbox", "rekey", address, "--password-stdin", stdin=PASSWORD + "\n")
            count = len(traffic.accepted)
            eventually(lambda: len(traffic.accepted) > count + 20, "mail comes again")
            with pytest.raises((OSError, imaplib.IMAP4.error)):    # it came in with the old key; and cannot log out
                for _ in range(100):
                    ok(box.noop())
    assert sorted(subjects(address)) == sorted(subject for _, subject in traffic.accepted)
    assert not os.path.exists(STATE + "/mailboxes/sealed/quarantine")
