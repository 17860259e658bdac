"""test_slow.py - connections by the thousand that send a byte now and then, to every port, from several addresses: the time limits end
them, their memory is small (KiB for each are printed), and a second client works as ever. --long: 10,000 connections, a byte a minute."""
import base64
import resource
import socket
import time

import pytest

import hostile

# port, what is sent at once, what then comes byte by byte; connections of one address (MX_CONCURRENCY is 10 there, the login limits 50)
PORTS = {
    "mx": ("MX_PORT", b"", b"EHLO " + b"x" * 200, 10, "mx"),
    "submission": ("SUBMISSION_PORT", b"", b"EHLO " + b"x" * 200, 45, "smtp"),
    "smtps": ("SMTPS_PORT", b"\x16\x03\x01\x02\x00\x01\x00", b"\x01" + b"\x00" * 200, 45, "smtp"),      # within the handshake
    "imaps": ("IMAPS_PORT", b"\x16\x03\x01\x02\x00\x01\x00", b"\x01" + b"\x00" * 200, 45, "imap"),
    "imap": ("IMAP_STARTTLS_PORT", b"", b"a LOGIN " + b"x" * 200, 45, "imap"),
    "rpc": ("SQLITE_PORT", b"", b"GET / HTTP/1.1\r\nX: " + b"x" * 200, 1000000, "sqlite"),
    "http": ("API_PORT", b"", b"GET / HTTP/1.1\r\nX: " + b"x" * 200, 45, "api"),
}
ENDED_WITHIN_S = 60         # of the last connect: IMAP_LOGIN_TIMEOUT, MX_IDLE_TIMEOUT, SMTP_IDLE_TIMEOUT are 20 s here, HTTP's head 15 s, TLS 20-30 s


class Slow:
    def __init__(self, name, n, net):
        port, self.first, self.drip, most, self.daemon = PORTS[name]
        self.name, self.sockets, self.sent, self.ended = name, [], 0, 0
        for i in range(n):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.bind((f"127.{net}.{1 + i // most // 250}.{1 + i // most % 250}", 0))
            s.settimeout(20)
            s.connect(("127.0.0.1", hostile.port(port)))
            s.setblocking(False)
            if self.first:
                s.send(self.first)
            self.sockets.append(s)

    def drip_once(self):
        """One byte each. MX and submission count silence, so their limits are not reached by who drips: they are by data_ms and lines."""
        for s in self.sockets:
            try:
                s.send(self.drip[self.sent:self.sent + 1])
            except OSError:
                pass
        self.sent += 1

    def reap(self):
        """Forgets those the server ended."""
        left = []
        for s in self.sockets:
            try:
                while True:
                    if not s.recv(4096):
                        raise ConnectionResetError
            except BlockingIOError:
                left.append(s)
            except OSError:
                s.close()
                self.ended += 1
        self.sockets = left

    def close(self):
        for s in self.sockets:
            s.close()


def test_slow_connections(judge, long):
    """All ports at once; short form 70 each, long form 1,430 each."""
    each = 1430 if long else 70
    every_s = 60 if long else 5
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = each * len(PORTS) + 500
    if hard < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, need))
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    before = {d: hostile.rss_mib(d) for d in hostile.DAEMONS}
    from_s = time.monotonic()
    slow = [Slow(name, each, 20 + i) for i, name in enumerate(PORTS)]
    connected_s = time.monotonic()
    time.sleep(1)
    open_now = {d: sum(len(x.sockets) for x in slow if x.daemon == d) for d in hostile.DAEMONS}
    for d, n in open_now.items():
        if n:
            kib = (hostile.rss_mib(d) - before[d]) * 1024 / n
            print(f"{d}: {n} slow connections, {kib:.1f} KiB each")
            assert kib <= 64, (d, kib)
    next_drip = time.monotonic()
    while any(x.sockets for x in slow) and time.monotonic() < connected_s + ENDED_WITHIN_S + (every_s if long else 0):
        if time.monotonic() >= next_drip:
            for x in slow:
                x.drip_once()
            next_drip += every_s
        time.sleep(0.2)
        for x in slow:
            had = len(x.sockets)
            x.reap()
            if had and not x.sockets:
                print(f"{x.name}: all {x.ended} ended {time.monotonic() - connected_s:.0f} s after the last connect")
    left = {x.name: len(x.sockets) for x in slow if x.sockets}
    for x in slow:
        x.close()
    waits, control = judge.neighbour.between(from_s, time.monotonic())
    print(f"neighbour p99 {hostile.p99(waits):.1f} ms of {len(waits)}, machine's own {hostile.p99(control):.1f}")
    assert not left, f"live on: {left}"
    complaint = judge.verdict(waits, control)
    assert not complaint, complaint


def ask(where, source, first=b""):
    s = socket.create_connection(("127.0.0.1", hostile.port(where)), timeout=10, source_address=(source, 0))
    return s


@pytest.mark.parametrize("where, want", (("IMAP_STARTTLS_PORT", b"* BYE [LIMIT]"), ("SUBMISSION_PORT", b"421 4.7.0")))
def test_one_address_cannot_take_all_places(calm, where, want):
    """The 51st connection of an address that has not logged in is told so, another address is not; room comes back."""
    source = "127.9.0.1" if where == "SUBMISSION_PORT" else "127.9.0.2"
    held = [ask(where, source) for _ in range(50)]
    assert all(s.recv(100)[:3] in (b"* O", b"220") for s in held)
    with ask(where, source) as one_more, ask(where, "127.9.0.3") as other:
        assert one_more.recv(200).startswith(want)
        assert one_more.recv(200) == b""
        assert other.recv(100)[:3] in (b"* O", b"220")
    silent = [ask(where, source) for _ in range(100)]
    for s in silent:                    # however many: a line or the end, at once
        s.settimeout(5)
        try:
            assert s.recv(200)[:3] in (want[:3], b"")
        except ConnectionError:
            pass
        s.close()
    for s in held[:10]:
        s.close()
    hostile.wait_until(lambda: ask(where, source).recv(3) in (b"* O", b"220"))
    for s in held:
        s.close()


def status_of(s, head):
    """The status of the answer; None: the connection was ended without one."""
    try:
        if head:
            s.sendall(head)
        answer = s.recv(2000)
    except OSError:
        return None
    return int(answer.split()[1]) if answer else None


def test_one_address_cannot_take_all_places_of_the_api(calm):
    """The same in HTTP; a connection on which somebody has signed in counts no more."""
    token = base64.b64encode((hostile.ENV["ADMIN_TOKEN"] + ":").encode())
    signed_in = b"GET /v1/account HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + token + b"\r\n\r\n"
    known = [ask("API_PORT", "127.9.0.5") for _ in range(40)]
    assert all(status_of(s, signed_in) == 200 for s in known)
    held = [ask("API_PORT", "127.9.0.5") for _ in range(50)]
    assert all(status_of(s, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 200 for s in held)
    with ask("API_PORT", "127.9.0.5") as one_more, ask("API_PORT", "127.9.0.6") as other:
        assert status_of(one_more, b"") == 429
        assert status_of(other, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 200
    assert all(status_of(s, signed_in) == 200 for s in known)
    for s in held:
        s.close()
    hostile.wait_until(lambda: status_of(ask("API_PORT", "127.9.0.5"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 200)
    for s in known:
        s.close()


def test_who_logged_in_is_not_counted(calm):
    """Behind one address many may be logged in."""
    held = [hostile.Imap(f"u{1 + i % 15}@bench.test", source="127.9.0.4") for i in range(60)]
    for c in held:
        c.ok(b"NOOP")
    for c in held:
        c.close()
