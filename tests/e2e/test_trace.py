"""One id follows a mail: from MX to its UID (also through the sealed log), on to where it is forwarded, from submission to the remote's answer."""
import json
import re
import subprocess

import suite


def deliver(address, data, sender=suite.STRANGER):
    """The id in the reply to DATA: "2.0.0 Ok <id>"."""
    with suite.mx() as s:
        s.ehlo()
        assert s.mail(sender)[0] == 250 and s.rcpt(address)[0] == 250
        code, said = s.data(data)
    assert code == 250, said
    return re.search(rb"Ok ([0-9a-f]{24})", said).group(1).decode()


def story(identity, until):
    """Lines of `fectl trace`, once one contains `until` (entries are written in groups, a moment later)."""
    def ask():
        out = subprocess.run([suite.BIN + "fectl", "trace", identity], env=suite.DAEMON_ENV, capture_output=True, text=True)
        return out.returncode == 0 and until in out.stdout and out.stdout.splitlines()
    return suite.eventually(ask, "fectl trace %s says %s" % (identity, until))


def log_lines(service, **fields):
    with open(suite.STATE + "/log/" + service) as f:
        for line in f:
            if line.startswith("{"):
                entry = json.loads(line)
                if all(entry.get(k) == v for k, v in fields.items()):
                    yield entry


def test_open_mailbox():
    address = suite.new_mailbox()
    with suite.imap(address) as box:
        identity = deliver(address, suite.mail("trace open"))
        lines = story(identity, "sqlite.drained")
        suite.ok(box.select())
        uid = int(suite.ok(box.uid("search", None, "SUBJECT", "trace"))[0])
    assert "mx.delivered" in lines[0] and "to=<%s>" % address in lines[0] and lines[0].endswith(": stored"), lines
    assert len(lines) == 2 and "sqlite.drained" in lines[1] and "uid=%d" % uid in lines[1], lines
    taken, = log_lines("sqlite", event="deliver.done", msg=identity)
    assert not taken["sealed"] and [e["uid"] for e in log_lines("sqlite", event="deliver.drained", mark=taken["mark"])] == [uid]


def test_sealed_until_login():
    address = suite.new_mailbox()
    with suite.mx():
        first, second = deliver(address, suite.mail("trace one")), deliver(address, suite.mail("trace two"))
    assert "sealed until the owner signs in" in story(first, "mx.delivered")[0]
    with suite.imap(address) as box:
        lines = story(second, "sqlite.drained")
        uid = int(suite.eventually(lambda: suite.ok(box.uid("search", None, "SUBJECT", "two"))[0], "it is there"))
    assert ["mx.delivered" in lines[0], "sqlite.drained" in lines[1], "uid=%d" % uid in lines[1]] == [True] * 3 and len(lines) == 2, lines


def test_forwarded(sink):
    address = "trace-%s" % suite.new_mailbox()
    suite.fectl("alias", "add", address, "--recipient", "friend@outside.test")
    identity = deliver(address, suite.mail("trace forward"))
    line, = story(identity, "mx.delivered")
    assert "target=friend@outside.test" in line and 'said="250 2.0.0 taken"' in line and " mx=" in line, line


def test_sent(sink):
    with suite.submission(suite.user(1)) as s:
        s.ehlo()
        assert s.mail(suite.user(1))[0] == 250 and s.rcpt("friend@outside.test")[0] == 250
        said = s.data(suite.mail("trace out", sender=suite.user(1), to="friend@outside.test"))[1]
    identity = re.search(rb"[0-9a-f]{24}", said).group().decode()
    lines = story(identity, "smtp-bree.sent")
    assert "smtp.queued" in lines[0] and "client=127.0.0.1" in lines[0], lines
    assert "smtp-bree.sent" in lines[1] and "said=\"taken\"" in lines[1] and "code=250" in lines[1], lines


def test_unknown():
    out = subprocess.run([suite.BIN + "fectl", "trace", "0" * 24], env=suite.DAEMON_ENV, capture_output=True, text=True)
    assert out.returncode == 1 and "knows nothing of" in out.stderr
