"""demo.py STATE - a mail's whole way through a running suite, with real clients; prints a transcript, exit status 0 when all of it held.

Mail in: a stranger's server (smtplib) to MX. Mail read: imaplib over TLS. Mail out: smtplib with login to 2465, through the queue, to a
second server (aiosmtpd on 127.0.0.2), whose copy dkimpy verifies against the test DNS. Forwarded: an alias to an outside address, with SRS.
"""
import email
import imaplib
import queue
import re
import smtplib
import ssl
import sys
import time
import uuid

import dkim
import dns.resolver
from aiosmtpd.controller import Controller

WAIT_S = 30


def settings(state):
    out = {}
    for line in open(state + "/suite.env"):
        name, _, value = line.strip().partition("=")
        out[name] = value.strip("'\"")
    return out


class Sink:
    """Another mail server: keeps what it is given."""

    def __init__(self):
        self.mails = queue.Queue()

    async def handle_DATA(self, server, session, envelope):
        self.mails.put(envelope)
        return "250 2.0.0 taken"


def step(text):
    print("-- " + text, flush=True)


def check(condition, text):
    if not condition:
        print("FAILED: " + text, flush=True)
        sys.exit(1)
    print("   ok: " + text, flush=True)


def imap_login(env):
    context = ssl.create_default_context(cafile=env["STATE_DIR"] + "/tls.crt")
    context.check_hostname = False
    box = imaplib.IMAP4_SSL("127.0.0.1", int(env["IMAPS_PORT"]), ssl_context=context)
    box.login(env["DEMO_ADDRESS"], env["DEMO_PASSWORD"])
    return box


def mail_in(env):
    mark = uuid.uuid4().hex
    step("a stranger's server delivers to MX 127.0.0.1:" + env["MX_PORT"])
    text = ("From: Stranger <someone@stranger.test>\r\nTo: %s\r\nSubject: hello %s\r\nMessage-ID: <%s@stranger.test>\r\n"
            "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\nA line of text.\r\n.a dot at the beginning\r\n") % (env["DEMO_ADDRESS"], mark, mark)
    with smtplib.SMTP("127.0.0.1", int(env["MX_PORT"]), timeout=WAIT_S) as s:
        s.sendmail("someone@stranger.test", [env["DEMO_ADDRESS"]], text)
        try:
            s.sendmail("someone@stranger.test", ["nobody-here@demo.test"], text)
            check(False, "an unknown address is refused")
        except smtplib.SMTPRecipientsRefused as e:
            check(list(e.recipients.values())[0][0] == 550, "an unknown address is refused with 550")
    step("the owner reads it over IMAPS 127.0.0.1:" + env["IMAPS_PORT"])
    box = imap_login(env)
    found = []
    for _ in range(WAIT_S * 10):
        box.select("INBOX")
        found = box.search(None, "SUBJECT", mark)[1][0].split()
        if found:
            break
        time.sleep(0.1)
    check(len(found) == 1, "the message is in INBOX, once")
    raw = box.fetch(found[0], "(BODY.PEEK[])")[1][0][1]
    message = email.message_from_bytes(raw)
    check(raw.endswith(b"A line of text.\r\n.a dot at the beginning\r\n"), "its body is byte for byte what was sent")
    check(message["Return-Path"] == "<someone@stranger.test>", "Return-Path: " + str(message["Return-Path"]))
    check("spf=pass" in str(message["Authentication-Results"]), "Authentication-Results: " + " ".join(str(message["Authentication-Results"]).split()))
    box.logout()


def txt_of(env):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = int(env["DNS_PORT"])

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        return b"".join(resolver.resolve(name, "TXT")[0].strings)

    return txt


def mail_out(env, sink):
    mark = uuid.uuid4().hex
    step("the owner submits through 127.0.0.1:" + env["SMTPS_PORT"] + " to friend@outside.test")
    context = ssl.create_default_context(cafile=env["STATE_DIR"] + "/tls.crt")
    context.check_hostname = False
    text = ("From: %s\r\nTo: friend@outside.test\r\nSubject: out %s\r\nMessage-ID: <%s@demo.test>\r\n\r\nFrom the queue.\r\n") % (env["DEMO_ADDRESS"], mark, mark)
    with smtplib.SMTP_SSL("127.0.0.1", int(env["SMTPS_PORT"]), context=context, timeout=WAIT_S) as s:
        try:
            s.login(env["DEMO_ADDRESS"], "a wrong password")
            check(False, "a wrong password is refused")
        except smtplib.SMTPAuthenticationError as e:
            check(e.smtp_code == 535, "a wrong password is refused with 535")
        s.login(env["DEMO_ADDRESS"], env["DEMO_PASSWORD"])
        s.sendmail(env["DEMO_ADDRESS"], ["friend@outside.test"], text)
    got = sink.mails.get(timeout=WAIT_S)
    check(mark.encode() in got.content, "the outside server at 127.0.0.2 got it")
    check(got.mail_from == env["DEMO_ADDRESS"], "envelope sender: " + got.mail_from)
    content = got.original_content
    check(dkim.verify(content, dnsfunc=txt_of(env)), "dkimpy verifies the signature: " + re.search(rb"DKIM-Signature:[^;]*;[^;]*;[^;]*; d=[^;]*", content).group(0).decode())


def forwarded(env, sink):
    mark = uuid.uuid4().hex
    step("mail to the forwarding alias forward@demo.test goes on to friend@outside.test")
    text = "From: someone@stranger.test\r\nTo: forward@demo.test\r\nSubject: on %s\r\nMessage-ID: <%s@stranger.test>\r\n\r\nForward me.\r\n" % (mark, mark)
    with smtplib.SMTP("127.0.0.1", int(env["MX_PORT"]), timeout=WAIT_S) as s:
        s.sendmail("someone@stranger.test", ["forward@demo.test"], text)
    got = sink.mails.get(timeout=WAIT_S)
    check(mark.encode() in got.content and got.rcpt_tos == ["friend@outside.test"], "the outside server got it for friend@outside.test")
    check(re.fullmatch(r"SRS0=[0-9a-f]{8}=[A-Z2-7]{2}=stranger\.test=someone@demo\.test", got.mail_from), "envelope sender: " + got.mail_from)


def main():
    env = settings(sys.argv[1])
    sink = Sink()
    server = Controller(sink, hostname="127.0.0.2", port=int(env.get("OUT_PORT", env["MX_PORT"])), ident="outside", decode_data=False)
    server.start()
    try:
        mail_in(env)
        mail_out(env, sink)
        forwarded(env, sink)
    finally:
        server.stop()
    print("The demo held.", flush=True)


main()
