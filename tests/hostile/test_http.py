"""test_http.py - HTTP that two parsers may read differently (RFC 9112 11.2), heads and bodies without end, slow ones. Against the mailbox
server's port, the REST API and the metrics port: one refusal, the end of the connection, and what followed was not taken for a request."""
import re
import socket
import time

import pytest

import hostile

API, SQLITE, METRICS = "api", "sqlite", "metrics"
HTTP = (API, SQLITE)


def dial(where, seconds=10):
    if where == METRICS:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(seconds)
        s.connect(hostile.STATE + "/smtp.metrics")
        return s
    s = socket.create_connection(("127.0.0.1", hostile.port("API_PORT" if where == API else "SQLITE_PORT")), timeout=seconds)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def rest(s):
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except ConnectionError:
        pass
    return data


def talk(where, request, half_close=True):
    """All that comes until the server closes."""
    with dial(where) as s:
        try:
            s.sendall(request)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return rest(s)


def statuses(answer):
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)]


NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /v1/lookup HTTP/1.1\r\nHost: a\r\n"

REFUSED = {
    "both lengths": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX" + NEXT,
    "both lengths, other order": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX" + NEXT,
    "two equal lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello" + NEXT,
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello" + NEXT,
    **{f"length {n!r}": POST + b"Content-Length: " + n + b"\r\n\r\nhello" + NEXT for n in (b"+5", b"-5", b"0x5", b"5.0", b"5 5", b"5;x", b"", b"\xd9\xa5", b"18446744073709551621", b"9" * 100, b"5\0")},
    **{f"coding {v!r}": POST + b"Transfer-Encoding: " + v + b"\r\n\r\n0\r\n\r\n" + NEXT for v in
       (b"xchunked", b"chunked, chunked", b"chunked, identity", b"identity", b"gzip, chunked", b"chunked\x0b", b"\x0bchunked", b"chunked;x=1", b"\"chunked\"", b"chunk", b"chunked,", b",chunked", b"", b"identity, chunked")},
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "two codings, one odd": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + NEXT,
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "tab before the colon": POST + b"Content-Length\t: 5\r\n\r\nhello" + NEXT,
    "space before the name": POST + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "a folded line": POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "nul in a name": POST + b"Transfer-Encoding\0: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "nul in a value": POST + b"X: a\0b\r\nContent-Length: 0\r\n\r\n" + NEXT,
    "bare LF in the head": POST + b"X: a\nContent-Length: 5\r\n\r\nhello" + NEXT,
    "bare LF at its end": POST + b"Content-Length: 0\r\n\n" + NEXT,
    "bare LFs": b"GET / HTTP/1.1\nHost: a\n\n" + NEXT,
    "bare CR": POST + b"X: a\rContent-Length: 5\r\n\r\nhello" + NEXT,
    "a line without colon": POST + b"nonsense\r\n\r\n" + NEXT,
    "no name": POST + b": x\r\n\r\n" + NEXT,
    "no host": b"GET / HTTP/1.1\r\n\r\n" + NEXT,
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + NEXT,
    "a host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + NEXT,
    "coding in 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "version 0.9": b"GET /\r\n\r\n" + NEXT, "version 2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n" + NEXT, "version 1.10": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n" + NEXT, "version x": b"GET / HTTP/x\r\nHost: a\r\n\r\n" + NEXT,
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT, "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + NEXT,
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT, "a tab": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT, "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT,
    "no slash": b"GET x HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT, "eight bits": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT, "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT,
    "lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT, "an SMTP client": b"EHLO a\r\nMAIL FROM:<a@b>\r\n\r\n" + NEXT,
    "101 headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n" + NEXT, "a header of 64 KiB": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 65536 + b"\r\n\r\n" + NEXT,
    "a name of 64 KiB": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"y" * 65536 + b": x\r\n\r\n" + NEXT, "a target of 9 KiB": b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT,
    "a head of 1 MiB": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: yyyyyyyyyyyyyyyy\r\n" * 50000 + b"\r\n" + NEXT, "empty lines without end": b"\r\n" * 200000,
}


@pytest.mark.parametrize("where", HTTP)
@pytest.mark.parametrize("what", REFUSED)
def test_a_head_that_is_refused(calm, where, what):
    calm["mib"] = 8
    answer = talk(where, REFUSED[what])
    codes = statuses(answer)
    assert len(codes) == 1 and codes[0] in (400, 414, 431, 501, 505) or answer == b"", (what, answer[:500])
    assert b"smuggled" not in answer


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = (b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n",
          b"5\r\nhelloX0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n", b"\r\n0\r\n\r\n", b"G\r\nx", b"FFFFFFFFFFFFFFFF\r\nx", b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"5;" + b"x" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
          b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", b"0\r\nX: " + b"y" * 100000 + b"\r\n\r\n", b"0\r\nX\n\r\n", b"0\r\n bad\r\n\r\n", b"0\n\n", b"0\r\nContent-Length: 50\r\n\r\n", b"00000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("where", HTTP)
@pytest.mark.parametrize("chunks", CHUNKS, ids=range(len(CHUNKS)))
def test_odd_chunks(calm, where, chunks):
    """Refused, or read as RFC 9112 7.1 reads it; then the next request is the next request. Never something in between."""
    calm["mib"] = 8
    answer = talk(where, CHUNKED + chunks + NEXT)
    codes = statuses(answer)
    assert 1 <= len(codes) <= 2, answer[:500]
    if len(codes) == 2:         # the body was fine, or not looked at: then the second answer is to NEXT alone
        assert codes[1] in (404, 401) and chunks in (b"0\r\nContent-Length: 50\r\n\r\n", b"00000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"), (codes, chunks)


def test_a_body_nobody_wants(calm):
    """A gibibyte for a request that takes none: refused without reading it all."""
    calm["mib"] = 8
    for where in HTTP:
        for head in (b"Content-Length: 1073741824\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n40000000\r\n"):
            with dial(where) as s:
                s.sendall(POST + head)
                sent, piece = 0, b"a" * 65536
                try:
                    while sent < 1 << 30:
                        sent += s.send(piece)
                except OSError:
                    pass
                assert sent < 64 << 20, "read on and on"


def test_pipelined_without_reading(calm, long):
    """Requests without end from who never reads the answers."""
    calm["mib"] = 24
    held = [dial(where) for where in HTTP * 10]
    for s in held:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.setblocking(False)
    end = time.monotonic() + (10 if long else 3)
    while time.monotonic() < end:
        for s in held:
            try:
                s.send(NEXT * 200)
            except OSError:
                pass
        time.sleep(0.005)
    for s in held:
        s.close()


# ---- the metrics port: one request, one answer, the end --------------------------------------------------------------------------

@pytest.mark.parametrize("request_", (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" + NEXT, b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + NEXT, b"\r\n\r\n", b"\0\0\r\n", b"GET /metrics\r\n",
                                      b"GET /metrics HTTP/1.1\nHost: a\n\n", b"POST /metrics HTTP/1.1\r\n\r\n", b"GET /../etc/passwd HTTP/1.1\r\n\r\n", b"x" * 1000000, b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 200000 + b"\r\n"), ids=range(10))
def test_metrics(calm, request_):
    calm["mib"] = 8
    answer = talk(METRICS, request_)
    assert len(re.findall(rb"HTTP/1\.[01] ", answer)) <= 1, answer[:300]


def test_metrics_after_slow_ones(calm):
    """Sixteen that say nothing hold the port until their time is over; then it answers again."""
    held = [dial(METRICS) for _ in range(16)]
    for s in held:
        s.sendall(b"GET")
    with dial(METRICS, 60) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"process_resident_memory_bytes" in rest(s)
    for s in held:
        s.close()
