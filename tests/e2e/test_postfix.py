"""test_postfix.py - a real Postfix delivers to MX, and submits through 2465 and 2587 with TLS and a password, out of its own queue."""
import os
import shutil
import smtplib
import subprocess
import tempfile
import uuid

import pytest

import suite

USER = "u10@bench.test"

MAIN = """compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.stranger.test
mydestination =
mynetworks = 127.0.0.0/8
local_transport = error:none
alias_maps =
disable_dns_lookups = yes
transport_maps = inline:{{ bench.test=mx:[127.0.0.1]:{mx}, outside.test=submit465:[127.0.0.1]:{smtps}, elsewhere.test=submit587:[127.0.0.1]:{submission} }}
smtp_sasl_password_maps = inline:{{ [127.0.0.1]:{smtps}={user}:{password}, [127.0.0.1]:{submission}={user}:{password} }}
smtp_sasl_security_options =
smtp_tls_CAfile = {state}/tls.crt
maillog_file = {d}/maillog
maillog_file_prefixes = {d}
"""
SUBMIT = " -o smtp_sasl_auth_enable=yes -o smtp_tls_security_level=encrypt"
MASTER = """127.0.0.1:{port} inet n - n - 10 smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
mx unix - - n - - smtp -o smtp_tls_security_level=may
submit465 unix - - n - - smtp{submit} -o smtp_tls_wrappermode=yes
submit587 unix - - n - - smtp{submit}
"""


@pytest.fixture
def postfix():
    d = tempfile.mkdtemp(prefix="fe-postfix-")
    port = suite.MX_PORT + 7
    os.chmod(d, 0o755)
    for name in ("etc", "queue", "data"):
        os.mkdir(d + "/" + name)
    shutil.chown(d + "/data", "postfix")
    values = dict(d=d, mx=suite.MX_PORT, smtps=suite.SMTPS_PORT, submission=suite.SUBMISSION_PORT, user=USER, password=suite.PASSWORD, state=suite.STATE,
                  port=port, submit=SUBMIT)
    open(d + "/etc/main.cf", "w").write(MAIN.format(**values))
    open(d + "/etc/master.cf", "w").write(MASTER.format(**values))
    # what Postfix reads as its own user
    shutil.copy(suite.STATE + "/tls.crt", d + "/tls.crt")
    subprocess.run(["postconf", "-c", d + "/etc", "-e", "smtp_tls_CAfile=" + d + "/tls.crt"], check=True)
    subprocess.run(["postfix", "-c", d + "/etc", "start"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    suite.eventually(lambda: suite._accepts(port), "Postfix is up")
    yield d, port
    subprocess.run(["postfix", "-c", d + "/etc", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(d)


def mail(mark, sender, to):
    return ("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@stranger.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\n.through Postfix\r\n"
            % (sender, to, mark, mark))


def test_delivers(postfix):
    d, port = postfix
    mark = uuid.uuid4().hex
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as s:
        s.sendmail(suite.STRANGER, [USER], mail(mark, suite.STRANGER, USER))

    def arrived():
        with suite.imap(USER) as box:
            return box.search(None, "SUBJECT", mark)[1][0].split()

    try:
        assert len(suite.eventually(arrived, "the message is in the mailbox")) == 1
    except AssertionError:
        print(open(d + "/maillog").read())
        raise


@pytest.mark.parametrize("to", ["friend@outside.test", "friend@elsewhere.test"])
def test_submits(postfix, sink, to):
    d, port = postfix
    mark = uuid.uuid4().hex
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as s:
        s.sendmail(USER, [to], mail(mark, USER, to))
    # the suite took it from Postfix over TLS with a login, whatever it can do with the destination
    try:
        suite.eventually(lambda: " to=<%s>" % to in open(d + "/maillog").read() and "status=sent (250 2.0.0 Ok: queued as" in open(d + "/maillog").read(), "submitted")
    except AssertionError:
        print(open(d + "/maillog").read())
        raise
