"""test_smuggling.py - an end of data that is none (bare CR, bare LF), text in front of TLS, and what the queue sends on."""
import re
import time
import uuid

import pytest
from aiosmtpd.controller import Controller

import hostile
from hostile import Imap, mx, submission

PORTS = ("MX_PORT", "SMTPS_PORT", "SUBMISSION_PORT")
ENDS = (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n\x00.\r\n", b"\n\n.\r\n", b"\r\r.\r\r", b"\r\n.\r\r\n")
BARE = tuple(end for end in ENDS if b"\0" not in end)


def open_mail(where):
    """A transaction from u1 to u2; from a stranger at MX."""
    if where == "MX_PORT":
        c = mx()
        c.mail("someone@stranger.test", "u2@bench.test")
    else:
        c = submission(where, "u1@bench.test")
        c.mail("u1@bench.test", "u2@bench.test")
    return c


def message(mark):
    return (b"From: u1@bench.test\r\nTo: u2@bench.test\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@x.test>\r\nSubject: %s\r\n\r\n"
            b"first" % (mark, mark))


def smuggled(mark):
    return b"MAIL FROM:<u1@bench.test>\r\nRCPT TO:<u2@bench.test>\r\nDATA\r\nSubject: smuggled %s\r\n\r\nx" % mark


def count(user, mark):
    with Imap(user) as c:
        c.ok(b"SELECT INBOX")
        found = c.ok(b"SEARCH TEXT " + mark)
        return len([n for line in found if line.startswith(b"* SEARCH") for n in line.split()[2:]])


@pytest.mark.parametrize("where", PORTS)
@pytest.mark.parametrize("end", BARE)
def test_false_end_in_data(where, end):
    mark = uuid.uuid4().hex.encode()
    for split in range(len(end) + 1):
        with open_mail(where) as c:
            assert c.say(b"DATA")[0] == 354
            c.send(message(mark) + end[:split])
            if split:
                time.sleep(0.002)
            c.send(end[split:] + smuggled(mark) + b"\r\n.\r\n")
            code, text = c.reply()
            assert code == 554, (split, text)
            c.send(b"QUIT\r\n")
            assert re.fullmatch(rb"221[^\r\n]*\r\n", c.rest()), "something was taken for commands"
    assert count("u2@bench.test", mark) == 0


@pytest.mark.parametrize("end", (b"\n.\n", b"\r.\r"))
def test_false_end_and_silence(end):
    """Who believes to have sent an end gets its refusal soon, and nothing is delivered."""
    mark = uuid.uuid4().hex.encode()
    with open_mail("MX_PORT") as c:
        code, text = c.data(message(mark) + end)
        assert code == 554, text
        assert c.rest() == b""
    assert count("u2@bench.test", mark) == 0


@pytest.mark.parametrize("where", PORTS)
def test_false_end_in_bdat(where):
    mark = uuid.uuid4().hex.encode()
    for end in BARE:
        with open_mail(where) as c:
            content = message(mark) + end + smuggled(mark) + b"\r\n.\r\n"
            for chunk in (content,), (content[:200], content[200:]), (message(mark) + end[:1], content[len(message(mark)) + 1:]):
                for i, piece in enumerate(chunk):
                    last = b" LAST" if i == len(chunk) - 1 else b""
                    c.send(b"BDAT %d%s\r\n" % (len(piece), last) + piece)
                codes = [c.reply()[0] for _ in chunk]
                assert codes[-1] >= 500, (end, codes)
                assert c.say(b"RSET")[0] == 250
                c.mail("u1@bench.test" if where != "MX_PORT" else "someone@stranger.test", "u2@bench.test")
    assert count("u2@bench.test", mark) == 0


def test_nul_is_not_a_line_end():
    mark = uuid.uuid4().hex.encode()
    with open_mail("MX_PORT") as c:
        c.data(message(mark) + b"\r\n\0.\r\n" + smuggled(mark) + b"\r\n.\r\n")
        assert re.fullmatch(rb"", c.buffer)
    assert count("u2@bench.test", mark) <= 1


def test_bad_bdat_sizes_end_the_connection():
    for argument in (b"-1", b"99999999999999999999", b"1x", b"", b"0x10", b"+5", b"5 5", b"5 LAST x", b"1073741824"):
        with open_mail("MX_PORT") as c:
            c.send(b"BDAT " + argument + b"\r\nMAIL FROM:<evil@stranger.test>\r\n")
            code, text = c.reply()
            assert 500 <= code < 600, (argument, text)
            assert c.rest() == b"", argument


def test_bare_line_ends_in_commands():
    for line in (b"NOOP\nMAIL FROM:<a@stranger.test>\r\n", b"NOOP\rMAIL FROM:<a@stranger.test>\r\n", b"MAIL FROM:<a@b.test>\n", b"NOOP\0\r\n"):
        with mx() as c:
            c.send(line)
            assert c.reply()[0] >= 500


@pytest.mark.parametrize("where", ("MX_PORT", "SUBMISSION_PORT"))
def test_text_in_front_of_tls(where):
    """Plain text behind STARTTLS in the same packet must be neither a command nor inside the TLS session."""
    for late in (b"RSET\r\n", b"MAIL FROM:<evil@stranger.test>\r\n", b"NOOP\r\nEHLO x\r\n"):
        with hostile.Smtp(where) as c:
            c.say(b"EHLO stranger.test")
            c.send(b"STARTTLS\r\n" + late)
            code, _ = c.reply()
            if code != 220:
                assert code >= 500
                continue
            assert c.buffer == b""
            try:
                c.start_tls()
            except OSError:
                continue
            c.send(b"VRFY who\r\n")
            code, text = c.reply()
            assert code != 250, text
            assert c.say(b"MAIL FROM:<a@stranger.test>")[0] >= 500, "EHLO was remembered from before TLS"


def test_text_in_front_of_imap_tls():
    c = hostile.Line("IMAP_STARTTLS_PORT")
    c.send(b"a STARTTLS\r\nb CAPABILITY\r\nc LOGOUT\r\n")
    assert c.line().startswith(b"a OK")
    assert c.buffer == b""
    try:
        c.start_tls()
    except OSError:
        return
    c.send(b"d NOOP\r\n")
    assert c.line().startswith(b"d OK")


# ---- what goes out -----------------------------------------------------------------------------------------------------------

class Sink:
    """The next server. It keeps the bytes of each DATA."""

    def __init__(self):
        self.got = []

    async def handle_DATA(self, _server, _session, envelope):
        self.got.append(bytes(envelope.original_content))
        return "250 2.0.0 taken"


@pytest.fixture
def sink():
    handler = Sink()
    controller = Controller(handler, hostname="127.0.0.2", port=hostile.port("MX_PORT"), data_size_limit=64 << 20)
    controller.start()
    yield handler
    controller.stop()


def test_what_is_sent_on(sink):
    """Odd but legal content leaves the queue as it came: dots stuffed, one transaction for each message."""
    bodies = [b".", b"..", b".\r\n.", b"a\r\n..\r\n...\r\nb", b".hidden\r\n", b"no line end", b"", b"\r\n\r\n\r\n", b"x" * 990, b"\xff\xfe\x80",
              b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<x@outside.test>\r\nDATA\r\nevil", b"\t.\r\n ."]
    marks = {}
    with submission("SMTPS_PORT", "u1@bench.test") as c:
        for body in bodies:
            mark = uuid.uuid4().hex.encode()
            marks[mark] = body
            c.mail("u1@bench.test", "friend@outside.test")
            content = message(mark)[:-5] + body
            stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
            code, text = c.data(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            assert code == 250, text
    end = time.monotonic() + 20
    while len(sink.got) < len(bodies) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    assert len(sink.got) == len(bodies)
    for got in sink.got:
        mark = re.search(rb"Subject: ([0-9a-f]{32})\r\n", got)[1]
        body = marks.pop(mark)
        assert got.split(b"\r\n\r\n", 1)[1] == body + (b"" if body.endswith(b"\r\n") or body == b"" else b"\r\n")
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", got)
    assert not marks
