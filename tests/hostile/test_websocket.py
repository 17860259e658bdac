"""test_websocket.py - the mailbox server's port against who breaks RFC 6455, shows no secret, or speaks junk after it was let in. Every row
ends with the close code that section 7.4.1 gives or the end of the connection, and a neighbour notices nothing."""
import base64
import json
import os
import socket
import statistics
import struct
import time

import pytest

import hostile

TEXT_MAX = 256 << 10            # RPC_TEXT_BYTES_MAX


def secrets():
    with open(hostile.STATE + "/secrets.env", encoding="utf-8") as file:
        return dict(line.strip().split("=", 1) for line in file)


SECRET = secrets()["API_SECRETS"]


def raw(request, seconds=10):
    s = socket.create_connection(("127.0.0.1", hostile.port("SQLITE_PORT")), timeout=seconds)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(request)
    return s


def upgrade(secret=SECRET, version="13", protocol="1", key=None, path="/", extra=""):
    auth = "" if secret is None else f"Authorization: Bearer {secret}\r\n"
    key = key if key is not None else base64.b64encode(os.urandom(16)).decode()
    return (f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: {version}\r\nMailbox-Protocol: {protocol}\r\n{auth}{extra}\r\n").encode()


def head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(4096)
        if not piece:
            break
        data += piece
    return data


def status(data):
    return int(data.split(b" ")[1])


class Ws:
    """A connection that was let in; frames out as they are told, frames in."""

    def __init__(self):
        self.socket = raw(upgrade())
        answer = head(self.socket)
        assert status(answer) == 101, answer
        self.buffer = answer.split(b"\r\n\r\n", 1)[1]

    def send(self, data):
        self.socket.sendall(data)

    def need(self, n):
        while len(self.buffer) < n:
            try:
                piece = self.socket.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                return False
            self.buffer += piece
        return True

    def frame(self):
        """Opcode and payload of the next frame; (None, b"") when the server closed."""
        if not self.need(2):
            return None, b""
        n, at = self.buffer[1] & 127, 2
        if n >= 126:
            more = 2 if n == 126 else 8
            assert self.need(2 + more)
            n, at = int.from_bytes(self.buffer[2:2 + more], "big"), 2 + more
        assert not self.buffer[1] & 128, "a server does not mask (5.1)"
        if not self.need(at + n):
            return None, b""
        opcode, payload = self.buffer[0], self.buffer[at:at + n]
        self.buffer = self.buffer[at + n:]
        return opcode & 15, payload

    def close_code(self):
        """What the server says good-bye with; 1005: a close frame without code, 1006: none."""
        while True:
            opcode, payload = self.frame()
            if opcode is None:
                return 1006
            if opcode == 8:
                assert self.frame()[0] is None, "a frame behind the close frame"
                return struct.unpack(">H", payload[:2])[0] if payload else 1005

    def works(self):
        self.send(frame(1, b'{"id":1000000,"do":"ping","args":{}}'))
        while True:
            opcode, payload = self.frame()
            if opcode is None:
                return False
            if opcode == 1 and json.loads(payload).get("id") == 1000000:
                return "ok" in json.loads(payload)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def frame(opcode, payload=b"", fin=1, mask=True, rsv=0, length=None, long_form=None):
    n = len(payload) if length is None else length
    size = long_form or (1 if n < 126 else 2 if n < 65536 else 8)
    out = bytes([fin << 7 | rsv << 4 | opcode])
    out += bytes([128 * mask | (n if size == 1 else 126 if size == 2 else 127)])
    out += b"" if size == 1 else n.to_bytes(size, "big")
    if mask:
        key = os.urandom(4)
        wide = int.from_bytes(payload, "big") ^ int.from_bytes((key * (len(payload) // 4 + 1))[:len(payload)], "big")
        payload = wide.to_bytes(len(payload), "big")
        out += key
    return out + payload


def close(code, reason=b""):
    return frame(8, struct.pack(">H", code) + reason)


# ---- who is let in -------------------------------------------------------------------------------------------------------------

UPGRADES = {     # name: request, status
    "none": (upgrade(None), 401), "empty": (upgrade(""), 401), "wrong": (upgrade("0" * 64), 401), "a prefix": (upgrade(SECRET[:-1]), 401), "more": (upgrade(SECRET + "0"), 401),
    "other case": (upgrade(SECRET.swapcase()), 401), "basic": (upgrade(None, extra=f"Authorization: Basic {SECRET}\r\n"), 401), "in the path": (upgrade(None, path=f"/?secret={SECRET}"), 401),
    "twice": (upgrade(SECRET, extra="Authorization: Bearer x\r\n"), (101, 400, 401)), "long": (upgrade("x" * 20000), 401), "too long": (upgrade("x" * 40000), 431),
    "version 8": (upgrade(version="8"), 426), "version x": (upgrade(version="x"), 426), "other protocol": (upgrade(protocol="99"), 426), "no key": (upgrade(key=""), 400), "short key": (upgrade(key="YQ=="), 400),
    "bad key": (upgrade(key="!" * 24), 400), "no upgrade": (f"GET / HTTP/1.1\r\nHost: a\r\nMailbox-Protocol: 1\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode(), (400, 426)),
    "post": (upgrade().replace(b"GET", b"POST", 1), (400, 405, 426)), "http 1.0": (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1), (400, 426)), "a body": (upgrade(extra="Content-Length: 5\r\n") + b"hello", 400),
}


@pytest.mark.parametrize("what", UPGRADES)
def test_upgrade(calm, what):
    request_, want = UPGRADES[what]
    from_log = len(hostile.log("sqlite"))
    with raw(request_) as s:
        got = status(head(s))
        assert got in (want if isinstance(want, tuple) else (want,)), (what, got)
    if got == 401:
        hostile.wait_until(lambda: '"rpc.refused"' in hostile.log("sqlite")[from_log:])
        said = hostile.log("sqlite")[from_log:]
        assert SECRET not in said and "0" * 64 not in said, "a secret in the log"


def test_a_secret_is_not_guessed_by_time(long):
    """A wrong first character, a wrong last one, wrong lengths: the same time within the noise (medians within 20 %), the same words."""
    tries = {"first": "x" + SECRET[1:], "last": SECRET[:-1] + "x", "short": "x", "long": SECRET * 8, "none": None}
    times, words = {name: [] for name in tries}, set()
    for _ in range(300 if long else 60):
        for name, secret in tries.items():
            with raw(upgrade(secret)) as s:
                from_s = time.perf_counter()
                answer = head(s)
                times[name].append(time.perf_counter() - from_s)
                words.add(answer.split(b"\r\nDate:")[0])
    assert len(words) == 1, words
    medians = {name: statistics.median(t) for name, t in times.items()}
    assert max(medians.values()) <= 1.2 * min(medians.values()) + 0.0003, medians


# ---- frames --------------------------------------------------------------------------------------------------------------------

PING = b'{"id":1,"do":"ping","args":{}}'

FRAMES = {      # name: bytes, close codes that are right (1006: the connection just ends)
    "unmasked (5.1)": (frame(1, PING, mask=False), (1002,)),
    "unmasked ping (5.1)": (frame(9, b"x", mask=False), (1002,)),
    "reserved bit 1 (5.2)": (frame(1, PING, rsv=4), (1002,)),
    "reserved bit 2 (5.2)": (frame(1, PING, rsv=2), (1002,)),
    "reserved bit 3 (5.2)": (frame(2, PING, rsv=1), (1002,)),
    "reserved bit of a ping (5.2)": (frame(9, b"x", rsv=4), (1002,)),
    **{f"opcode {op} (5.2)": (frame(op, b"x"), (1002,)) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "length not minimal, 2 bytes (5.2)": (frame(1, PING, long_form=2), (1002,)),
    "length not minimal, 8 bytes (5.2)": (frame(1, PING, long_form=8), (1002,)),
    "length 2^63 (5.2)": (frame(2, b"", length=1 << 63), (1002,)),
    "length 2^64-1 (5.2)": (frame(2, b"", length=(1 << 64) - 1), (1002,)),
    "length 2^63-1 (7.4.1)": (frame(2, b"x", length=(1 << 63) - 1), (1009,)),
    "length 2^32 (7.4.1)": (frame(2, b"x", length=1 << 32), (1009,)),
    "length 2^40, text (7.4.1)": (frame(1, b"x", length=1 << 40), (1009,)),
    "a text too large (7.4.1)": (frame(1, b"x", length=TEXT_MAX + 1), (1009,)),
    "a binary too large (7.4.1)": (frame(2, b"x", length=(64 << 10) + 9), (1009,)),
    "fragments too large (7.4.1)": (frame(1, b"x" * 200000, fin=0) + frame(0, b"x" * 100000), (1009,)),
    "ping of 126 (5.5)": (frame(9, b"x" * 126), (1002,)),
    "ping of 2^62 (5.5)": (frame(9, b"", length=1 << 62), (1002,)),
    "close of 126 (5.5)": (frame(8, b"\x03\xe8" + b"x" * 124), (1002,)),
    "fragmented ping (5.5)": (frame(9, b"x", fin=0), (1002,)),
    "fragmented close (5.5)": (frame(8, b"\x03\xe8", fin=0), (1002,)),
    "continuation of nothing (5.4)": (frame(0, PING), (1002,)),
    "continuation of nothing, not final (5.4)": (frame(0, PING, fin=0), (1002,)),
    "text inside a text (5.4)": (frame(1, PING[:5], fin=0) + frame(1, PING), (1002,)),
    "binary inside a text (5.4)": (frame(1, PING[:5], fin=0) + frame(2, PING), (1002,)),
    "text is not UTF-8 (8.1)": (frame(1, b"\xff\xfe"), (1007,)),
    "an overlong form (8.1)": (frame(1, b"\xc0\xaf"), (1007,)),
    "a surrogate (8.1)": (frame(1, b"\xed\xa0\x80"), (1007,)),
    "beyond Unicode (8.1)": (frame(1, b"\xf4\x90\x80\x80"), (1007,)),
    "a character cut by the end (8.1)": (frame(1, b"\xe2\x82"), (1007,)),
    "a character cut by the end of fragments (8.1)": (frame(1, b"\xe2", fin=0) + frame(0, b"\x82"), (1007,)),
    "close without a code (7.1.5)": (frame(8), (1000, 1005)),
    "close of one byte (5.5.1)": (frame(8, b"\x03"), (1002,)),
    **{f"close {code} (7.4)": (close(code), (code, 1000)) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)},
    **{f"close {code}, not to be sent (7.4.1)": (close(code), (1002,)) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)},
    "close with a reason that is not UTF-8 (5.5.1)": (close(1000, b"\xff"), (1002, 1007)),
    "close with the longest reason (5.5)": (close(1000, b"x" * 123), (1000,)),
    "frames behind a close (5.5.1)": (close(1000) + frame(1, PING), (1000,)),
}


@pytest.mark.parametrize("what", FRAMES)
def test_a_frame_that_ends_it(calm, what):
    calm["mib"] = 8
    data, codes = FRAMES[what]
    with Ws() as ws:
        ws.send(data)
        assert ws.close_code() in codes, what


FINE = {
    "fragments (5.4)": frame(1, PING[:9], fin=0) + frame(0, PING[9:20], fin=0) + frame(0, PING[20:]),
    "control frames between fragments (5.4)": frame(1, PING[:9], fin=0) + frame(9, b"a") + frame(0, b"", fin=0) + frame(10, b"b") + frame(0, PING[9:]),
    "a thousand empty fragments": frame(1, b"", fin=0) + frame(0, b"", fin=0) * 1000 + frame(0, PING),
    "a character cut between fragments (8.1)": frame(1, b'{"id":1,"do":"ping","args":{"a":"\xe2', fin=0) + frame(0, b'\x82\xac"}}'),
    "pong nobody asked for (5.5.3)": frame(10, b"x" * 125) + frame(1, PING),
    "ping of 125 (5.5)": frame(9, b"x" * 125) + frame(1, PING),
}


@pytest.mark.parametrize("what", FINE)
@pytest.mark.parametrize("step", (1, 7, 100000))
def test_what_is_allowed_works(calm, what, step):
    with Ws() as ws:
        for at in range(0, len(FINE[what]), step):
            ws.send(FINE[what][at:at + step])
        assert ws.works()


def test_pongs_answer_pings(calm):
    with Ws() as ws:
        ws.send(frame(9, b"one") + frame(9, b"two"))
        got = [ws.frame(), ws.frame()]
        assert got[-1] == (10, b"two") and got[0][0] == 10, got


def test_ping_flood(calm, long):
    """A million pings, answers not read: the connection ends once too much is unsent, or goes on; memory stays."""
    calm["mib"] = 24
    many = frame(9, b"x" * 125) * 1000
    with Ws() as ws:
        ws.socket.settimeout(2)
        try:
            for _ in range(1000 if long else 200):
                ws.send(many)
        except OSError:
            pass


# ---- junk after the secret ---------------------------------------------------------------------------------------------------------

def nested(n):
    return b'{"id":1,"do":"ping","args":' + b"[" * n + b"]" * n + b"}"


JUNK = (
    b"", b" ", b"{", b"}", b"[]", b"null", b"1", b'"x"', b"{}", b'{"id":1}', b'{"id":0,"do":"ping"}', b'{"id":-1,"do":"ping"}', b'{"id":4294967296,"do":"ping"}',
    b'{"id":1.5,"do":"ping"}', b'{"id":"1","do":"ping"}', b'{"id":99999999999999999999,"do":"ping"}', b'{"id":1,"do":7}', b'{"id":1,"do":null,"args":{}}', b'{"id":1,"do":"ping","args":[]}', b'{"id":1,"do":"ping","args":7}',
    b'{"id":1,"do":"ping","id":2}', b'{"id":1,"ok":{}}', b'{"id":1,"fault":{}}', b'{"id":1,"fault":{"code":"x","text":"y"}}', b'{"id":1,"do":"ping","ok":{}}', b'{"id":1,"credit":-1}', b'{"id":1,"credit":1e308}',
    b'{"id":1,"do":"ping","args":{},"bin":[-1]}', b'{"id":1,"do":"ping","args":{},"bin":[18446744073709551616]}', b'{"id":1,"do":"ping","args":{},"bin":"x"}', b'{"id":1,"do":"ping","args":{},"bin":[' + b"1," * 5000 + b"1]}",
    b'{"id":1,"do":"ping","args":{},"op":"zz"}', b'{"id":1,"do":"ping","args":{},"op":"' + b"0" * 1000 + b'"}', b'{"id":1,"do":"ping","args":{},"ttl_ms":-1}', b'{"id":1,"do":"' + b"x" * 200000 + b'","args":{}}',
    b'{"id":1,"do":"ping","args":{"a":"\\u0000"}}', b'{"id":1,"do":"ping","args":{"a":"\\ud800"}}', nested(65), nested(1000), nested(100000), b'{"id":1,"do":"ping","args":' + b'{"a":' * 40000 + b"1" + b"}" * 40000 + b"}",
    b'{"id":1,"do":"ping","args":{' + b",".join(b'"k%d":%d' % (i, i) for i in range(15000)) + b"}}",
)


@pytest.mark.parametrize("i", range(len(JUNK)))
def test_junk_in_text_frames(calm, i):
    """A fault for this request, or the end of the connection with 1002; never anything else."""
    calm["mib"] = 24
    with Ws() as ws:
        ws.send(frame(1, JUNK[i]))
        ws.send(frame(1, b'{"id":1000000,"do":"ping","args":{}}'))
        while True:
            opcode, payload = ws.frame()
            if opcode is None:
                break
            if opcode == 8:
                assert payload[:2] == struct.pack(">H", 1002), payload
                break
            if opcode == 1:
                answer = json.loads(payload)
                assert "ok" in answer or "fault" in answer, answer
                if answer["id"] == 1000000:
                    break


@pytest.mark.parametrize("data", (b"", b"x", b"\0" * 8, b"\0\0\0\1\0\0\0\0", b"\xff" * 8, b"\0\0\0\1\0\0\0\2", b"\0\0\0\1\0\0\xff\xff", b"\xff" * 65544))
def test_junk_in_binary_frames(calm, data):
    with Ws() as ws:
        ws.send(frame(2, data))
        assert ws.close_code() in (1002, 1009)


@pytest.mark.parametrize("action", ("mailbox.open", "mailbox.create", "mailbox.delete", "messages.fetch", "messages.append", "deliver.begin", "deliver.to", "folders.list", "nothing", "", "../x", "x" * 64))
@pytest.mark.parametrize("args", ({}, {"alias": "../../etc/passwd"}, {"alias": "x" * 10000}, {"alias": 7}, {"alias": None}, {"alias": ""}, {"alias": "0" * 24}))
def test_actions_with_odd_arguments(calm, action, args):
    with Ws() as ws:
        ws.send(frame(1, json.dumps({"id": 1, "do": action, "args": args, "op": "0" * 32, "session": "0" * 32}).encode()))
        ws.send(frame(1, b'{"id":2,"cancel":true}'))
        opcode, payload = ws.frame()
        assert opcode in (1, 8), (opcode, payload)
        if opcode == 1:
            answer = json.loads(payload)
            assert "fault" in answer and "/" not in answer["fault"]["text"], answer


def test_many_requests_never_read(calm, long):
    """Requests without end from who never reads the answers: refused or the connection ends."""
    calm["mib"] = 32
    with Ws() as ws:
        ws.socket.settimeout(2)
        try:
            for i in range(200000 if long else 40000):
                ws.send(frame(1, b'{"id":%d,"do":"nothing","args":{}}' % (i + 1)))
        except OSError:
            pass


def test_half_a_frame_and_silence(calm):
    """Two hundred that stop within a frame cost little and hold nobody up."""
    calm["mib"] = 16
    held = [Ws() for _ in range(200)]
    for ws in held:
        ws.send(frame(1, b"", length=200000)[:8])
    with Ws() as ws:
        assert ws.works()
    for ws in held:
        ws.close()


@pytest.mark.parametrize("n", (40, 64))
def test_a_large_text(calm, n):
    """Quarter of a megabyte of JSON at a time, again and again: what is parsed on the loop stays short."""
    calm["mib"] = 32
    body = b'{"id":%d,"do":"nothing","args":{"a":[' + b",".join(b"%d" % i for i in range(n * 600)) + b"]}}"
    with Ws() as ws:
        for i in range(30):
            ws.send(frame(1, body % (i + 1)))
            opcode, payload = ws.frame()
            assert opcode == 1 and b"fault" in payload, payload
