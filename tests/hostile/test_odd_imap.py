"""test_odd_imap.py - what no mail client sends: giant literals, endless lines, deep nesting, clients that never read. Each gets a clear
answer (BAD, NO, BYE) or the end, in bounded memory, while a neighbour works (see calm in conftest.py)."""
import os
import random
import socket
import ssl
import time

import pytest

import hostile
from hostile import Imap

USER = "u7@bench.test"
BIG = "u8@bench.test"           # a mailbox with a lot to fetch


def tag_answer(c, tag):
    """The tagged answer, or BYE, or b"" when the server closed."""
    said = b""
    while True:
        line = c.line()
        if line is None:
            return said
        if line.startswith(tag + b" "):
            return line
        if line.startswith((b"* BYE", b"* BAD")):
            said = line


def fine(c):
    assert b" OK" in c.do(b"NOOP")[-1]


# ---- literals ----------------------------------------------------------------------------------------------------------------

GIB = 1 << 30


@pytest.mark.parametrize("user", (None, USER))
@pytest.mark.parametrize("command", (b"LOGIN {%d}", b"SELECT {%d}", b"SEARCH TEXT {%d}", b"APPEND INBOX {%d}", b"APPEND {%d}", b"APPEND INBOX ~{%d}"))
@pytest.mark.parametrize("size", (GIB, (1 << 32) + 5, (1 << 63) - 1, (1 << 64) + 1))
def test_a_literal_is_refused_before_it_is_sent(user, command, size):
    with Imap(user) as c:
        if user:
            c.ok(b"SELECT INBOX")
        answer = c.do(command % size)[-1]
        assert answer is not None and (b" BAD" in answer or b" NO" in answer), answer
        fine(c)


def pump(c, piece, most, seconds=10):
    """Sends until the server closes, or `most` bytes are out, or it takes no more; how many it took."""
    sent, end = 0, time.monotonic() + seconds
    c.socket.settimeout(1)
    try:
        while sent < most and time.monotonic() < end:
            c.socket.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


@pytest.mark.parametrize("user", (None, USER))
@pytest.mark.parametrize("command", (b"LOGIN {%d+}", b"SEARCH TEXT {%d+}", b"APPEND INBOX {%d+}", b"APPEND INBOX ~{%d+}", b"CREATE {%d-}"))
def test_a_literal_of_a_gibibyte_that_is_just_sent(calm, user, command):
    """LITERAL+: nothing asks for it. Thrown away up to a limit, or the end of the connection; never kept, never read as commands."""
    calm["mib"] = 16
    with Imap(user) as c:
        c.send(b"x " + command % GIB + b"\r\n")
        sent = pump(c, b"y LOGOUT\r\n" * 20000, GIB)
        assert sent < GIB, "all of it was taken"
        c.socket.settimeout(5)
        said = c.rest()
        assert b"x BAD" in said or b"x NO" in said or b"* BYE" in said or said == b"", said[:200]
        assert b"y OK" not in said, "the literal was read as commands"


# ---- lines --------------------------------------------------------------------------------------------------------------------

def million(piece, n=1000000):
    return piece * n


LINES = {
    "parentheses": b"FETCH 1 " + million(b"("),
    "parentheses of a search": b"SEARCH " + million(b"("),
    "a search of a megabyte": b"SEARCH TEXT " + million(b"a"),
    "a search of many words": b"SEARCH " + million(b"SEEN ", 200000),
    "nots": b"SEARCH " + million(b"NOT ", 250000) + b"SEEN",
    "sections": b"FETCH 1 BODY[" + million(b"1.", 500000) + b"1]",
    "numbers": b"FETCH " + million(b"1,", 500000) + b"1 UID",
    "nul bytes": million(b"\0"),
    "eight bits": million(b"\xff"),
    "spaces": million(b" "),
}


@pytest.mark.parametrize("user", (None, USER))
@pytest.mark.parametrize("what", LINES)
def test_a_line_of_a_megabyte(calm, user, what):
    calm["mib"] = 16
    with Imap(user) as c:
        if user:
            c.ok(b"SELECT INBOX")
        try:
            c.send(b"x " + LINES[what] + b"\r\n")
        except OSError:
            pass
        answer = tag_answer(c, b"x")
        assert answer.startswith((b"x BAD", b"x NO", b"* BAD", b"* BYE")) or answer == b"", answer[:200]


NESTED = {
    "search": b"SEARCH " + b"(" * 20000 + b"SEEN" + b")" * 20000,
    "nots": b"SEARCH " + b"NOT " * 15000 + b"SEEN",
    "ors": b"SEARCH " + b"OR " * 15000 + b"SEEN " * 3,
    "right ors": b"SEARCH " + b"OR SEEN " * 7000 + b"SEEN",
    "or pairs": b"SEARCH " + b"OR OR " * 9000 + b"SEEN " * 5,
    "fetch": b"FETCH 1 " + b"(" * 60000,
    "fetch items": b"FETCH 1 (" + b"BODY[] " * 8000 + b")",
    "header fields": b"FETCH 1 BODY[HEADER.FIELDS (" + b"a " * 20000 + b")]",
    "store flags": b"STORE 1 +FLAGS (" + b"a " * 20000 + b")",
    "a list of patterns": b'LIST "" (' + b"a " * 20000 + b")",
    "stars": b'LIST "" ' + b"*%" * 20000,
    "a deep name": b"CREATE " + b"a/" * 30000,
    "uid sets": b"UID FETCH " + b"1:*," * 15000 + b"1 FLAGS",
    "sections": b"FETCH 1 BODY[" + b"1." * 30000 + b"1]",
    "status items": b"STATUS INBOX (" + b"MESSAGES " * 6000 + b")",
    "id": b"ID (" + b'"a" "b" ' * 7000 + b")",
}


def test_nesting_and_repetition_inside_the_line_limit(calm):
    calm["mib"] = 24
    for what, command in NESTED.items():
        with Imap(USER) as c:
            c.ok(b"SELECT INBOX")
            from_s = time.monotonic()
            answer = c.do(command)[-1]
            took_s = time.monotonic() - from_s
            assert answer is not None and (b" BAD" in answer or b" NO" in answer or b" OK" in answer), (what, answer)
            assert took_s < 2, (what, took_s)
            fine(c)


@pytest.mark.parametrize("user", (None, USER))
def test_an_endless_line(calm, user):
    calm["mib"] = 16
    with Imap(user) as c:
        sent = pump(c, b"a" * 65536, 64 << 20)
        assert sent < 64 << 20, "a line without end was read on and on"
        c.socket.settimeout(5)
        said = c.rest()
        assert said == b"" or b"BAD" in said, said[:100]


# ---- junk ----------------------------------------------------------------------------------------------------------------------

JUNK = (
    b"", b" ", b"\0", b"*", b"+", b"x", b"x ", b"x\0 NOOP", b"x NOOP\0", b"x  NOOP", b"+ NOOP", b"(x) NOOP", b"x NOOP extra", b"\xff\xfe NOOP",
    b"x \x80\x80", b"x NO\xc3\xa9P", b"x UID", b"x UID ", b"x UID NOOP", b"x UID UID FETCH 1 UID", b"x SELECT", b"x SELECT \"", b"x SELECT \"\\\"",
    b"x SELECT \"a\\b\"", b"x SELECT a\0b", b"x SELECT &", b"x SELECT &AAA", b"x SELECT &AAAA-", b"x SELECT &2AA-", b"x SELECT &3AA-",
    b"x SELECT &!!!-", b"x CREATE &AGEAYQ-", b"x CREATE &" + b"A" * 900 + b"-", b"x CREATE \xff\xff", b"x CREATE \"\xf0\x9f\x98\"", b"x CREATE /", b"x CREATE \"\"",
    b"x RENAME INBOX", b"x FETCH", b"x FETCH 0 UID", b"x FETCH 4294967296 UID", b"x FETCH -1 UID", b"x FETCH 1:0 UID", b"x FETCH *:*:* UID", b"x FETCH 1,,2 UID",
    b"x FETCH 1 BODY[0]", b"x FETCH 1 BODY[4294967296]", b"x FETCH 1 BODY[1.", b"x FETCH 1 BODY[]<0>", b"x FETCH 1 BODY[]<0.0>", b"x FETCH 1 BODY[]<1.>",
    b"x FETCH 1 BODY[]<99999999999999999999.1>", b"x FETCH 1 BODY[]<0.99999999999999999999>", b"x FETCH 1 BODY[HEADER.FIELDS ()]", b"x FETCH 1 BINARY[TEXT]",
    b"x FETCH 1 (UID", b"x FETCH 1 ()", b"x FETCH 1 (UID) (CHANGEDSINCE 99999999999999999999)", b"x FETCH 1 (UID) (CHANGEDSINCE -1)", b"x STORE 1 FLAGS", b"x STORE 1 FLAGS (\\Recent)",
    b"x STORE 1 FLAGS (\\*)", b"x STORE 1 (UNCHANGEDSINCE 18446744073709551616) FLAGS ()", b"x SEARCH", b"x SEARCH ()", b"x SEARCH NOT", b"x SEARCH OR SEEN", b"x SEARCH LARGER 99999999999999999999",
    b"x SEARCH LARGER -1", b"x SEARCH BEFORE 31-Feb-2026", b"x SEARCH BEFORE 99-Foo-9999", b"x SEARCH ON 1-Jan-99999", b"x SEARCH CHARSET KLINGON TEXT a", b"x SEARCH CHARSET UTF-8 TEXT \xff",
    b"x SEARCH TEXT \"\0\"", b"x SEARCH HEADER", b"x SEARCH UID 0", b"x SEARCH MODSEQ 99999999999999999999", b"x SEARCH RETURN (NOTHING) ALL", b"x SEARCH YOUNGER 0", b"x SEARCH YOUNGER 99999999999",
    b"x APPEND", b"x APPEND INBOX", b"x APPEND INBOX ()", b"x APPEND INBOX (\\Seen", b"x APPEND INBOX \"32-Jan-2026 00:00:00 +0000\" {1}", b"x APPEND INBOX {}", b"x APPEND INBOX {0}", b"x APPEND INBOX {-1}",
    b"x APPEND INBOX {1e3}", b"x APPEND INBOX UTF8 (~{3}", b"x SELECT ~{3}", b"x SELECT {3", b"x SELECT {3}}", b"x SELECT {+}", b"x SELECT {3++}", b"x LIST", b"x LIST \"\"", b"x LIST (NOTHING) \"\" *",
    b"x LIST \"\" \"&\"", b"x STATUS INBOX", b"x STATUS INBOX ()", b"x STATUS INBOX (NOTHING)", b"x ENABLE", b"x ENABLE NOTHING", b"x COPY 1", b"x MOVE 1:* ", b"x UID EXPUNGE", b"x EXPUNGE 1", b"x IDLE x", b"x STARTTLS",
    b"x LOGIN a b", b"x AUTHENTICATE PLAIN", b"x GETQUOTA", b"x SETQUOTA \"\" (STORAGE 99999999999999999999)", b"x ID", b"x ID (a b)", b"x SELECT INBOX (QRESYNC (0 0))", b"x SELECT INBOX (QRESYNC (1 18446744073709551616))",
)


def until_answered(c, line):
    """Sends a line of junk, then finds out whether the server still answers; finishes literals it invites."""
    c.send(line + b"\r\n")
    c.send(b"sync NOOP\r\n")
    for _ in range(200):
        got = c.line()
        if got is None:
            return None
        if got.startswith(b"+ "):
            c.send(b"*\r\n" if b"AUTH" in line else b"abc\r\n")
            c.send(b"sync NOOP\r\n")
        if got.startswith(b"sync "):
            return got
    raise AssertionError(line)


@pytest.mark.parametrize("user", (None, USER))
def test_junk(calm, user):
    """Whatever the line, the next command is found, or the connection ends with BYE."""
    calm["mib"] = 24
    c = Imap(user)
    if user:
        c.ok(b"SELECT INBOX")
    for line in JUNK:
        if until_answered(c, line) is None:
            c = Imap(user)
            if user:
                c.ok(b"SELECT INBOX")
    c.close()


def test_random_bytes(calm):
    calm["mib"] = 24
    random.seed(20261124)
    words = [w for line in JUNK for w in line.split(b" ")] + [b"{5}", b"{5+}", b"\r\n", b"\"", b"(", b")", b"BODY[", b"]", b"<", b">", b"~{3+}", b"x"]
    for _ in range(40):
        with Imap(USER) as c:
            c.send(b"a SELECT INBOX\r\n")
            c.send(b" ".join(random.choice(words) for _ in range(400)) + b"\r\n")
            c.socket.settimeout(2)
            c.send(os.urandom(2000))
            c.socket.shutdown(socket.SHUT_WR)
            c.rest()


# ---- clients that do not read -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def big_mailbox():
    """40 mails of 512 KiB and 2,000 small ones."""
    with Imap(BIG) as c:
        line = b"0123456789abcdef" * 4 + b"\r\n"
        for i in range(40):
            assert b" OK" in c.append("INBOX", b"Subject: big %d\r\n\r\n" % i + line * 8000)
        small = b"From: a@b.test\r\nSubject: small\r\n\r\nsmall\r\n"
        for _ in range(4):
            tag = c.tag()
            c.send(tag + b" APPEND INBOX" + b"".join(b" {%d+}\r\n%s" % (len(small), small) for _ in range(500)) + b"\r\n")
            assert b" OK" in c.answer(tag)[-1]


@pytest.fixture
def seconds(long):
    """How long a client keeps on that never reads."""
    return 10 if long else 2


def plain_sessions(n, user):
    """Logged-in sessions whose receive buffers are small."""
    out = []
    for _ in range(n):
        c = Imap(user)
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        out.append(c)
    return out


@pytest.mark.parametrize("command", (b"x NOOP\r\n", b"x LIST \"\" *\r\n", b"x NONSENSE\r\n", b"x CAPABILITY\r\n", b"x STATUS INBOX (MESSAGES)\r\n"))
def test_commands_of_who_never_reads(calm, seconds, command):
    calm["mib"] = 32
    sessions = plain_sessions(8, USER)
    end = time.monotonic() + seconds
    for c in sessions:
        c.socket.setblocking(False)
    while time.monotonic() < end:
        for c in sessions:
            try:
                c.socket.send(command * 500)
            except (ssl.SSLError, OSError):
                pass
        time.sleep(0.005)
    for c in sessions:
        c.close()


@pytest.mark.parametrize("command", (b"FETCH 1:* BODY[]", b"FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)", b"FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[TEXT])", b"UID FETCH 1:* (FLAGS MODSEQ)"))
def test_fetch_of_everything_by_who_never_reads(calm, seconds, big_mailbox, command):
    calm["mib"] = 48
    sessions = plain_sessions(10, BIG)
    for c in sessions:
        c.ok(b"SELECT INBOX")
        c.send(b"x " + command + b"\r\n")
        c.send(b"y " + command + b"\r\n")
    time.sleep(seconds)
    for c in sessions:
        c.close()


def test_the_owner_still_works(calm, big_mailbox):
    """While somebody fetches and never reads, another session of the same mailbox works."""
    sessions = plain_sessions(10, BIG)
    for c in sessions:
        c.ok(b"SELECT INBOX")
        c.send(b"x FETCH 1:* BODY.PEEK[]\r\n")
    with Imap(BIG) as c:
        waits = []
        for _ in range(100):
            from_s = time.monotonic()
            c.ok(b"SELECT INBOX")
            c.ok(b"FETCH 1 (FLAGS ENVELOPE)")
            waits.append((time.monotonic() - from_s) * 1000)
        print(f"the owner's p99 {hostile.p99(waits):.1f} ms")
        assert hostile.median(waits) < 100, sorted(waits)
    for c in sessions:
        c.close()
