"""Limits, with an fe-api of its own whose window holds ten requests: 429 as the reference has it, and what is exempt."""
import os
import socket
import subprocess
import time

import pytest

from rest import ADMIN, BIN, DAEMON_ENV, api, basic, new_user

MOST = 10


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, **env):
        self.port = free_port()
        self.env = {**DAEMON_ENV, "API_PORT": str(self.port), "API_RATELIMIT_MAX": str(MOST), "API_RATELIMIT_DURATION": "60s", "METRICS_PORT": "0", **env}
        self.child = subprocess.Popen([BIN + "fe-api"], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while subprocess.run([BIN + "fe-api", "--health"], env=self.env, capture_output=True).returncode != 0:
            if time.monotonic() > until or self.child.poll() is not None:
                self.child.kill()
                raise AssertionError("fe-api does not start")
            time.sleep(0.05)

    def end(self):
        self.child.terminate()
        assert self.child.wait(20) == 0


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.end()


def get(server, **how):
    return api("GET", "/v1/account", port=server.port, **how)


def test_one_account_is_held_back_others_are_not(server):
    (_, token), (_, other) = new_user(), new_user()
    left = [int(get(server, token=token).headers["X-RateLimit-Remaining"]) for _ in range(MOST)]
    assert left == list(range(MOST - 1, -1, -1))
    for _ in range(3):
        got = get(server, token=token)
        assert got.status == 429 and got.json["error"] == "Too Many Requests"
        assert got.headers["X-RateLimit-Limit"] == str(MOST) and got.headers["X-RateLimit-Remaining"] == "0"
        assert 0 < int(got.headers["Retry-After"]) <= 60, "a delta in seconds"
        assert abs(int(got.headers["X-RateLimit-Reset"]) - time.time()) <= 61
    assert get(server, token=other).status == 200


@pytest.mark.parametrize("path", ["/v1/account", "/v1/emails"])      # the second has no such limit for those it knows
def test_guessing_tokens_is_held_back(path):
    s = Server(API_RATELIMIT_DURATION="2s")
    try:
        codes = [api("GET", path, port=s.port, token="wrong%d" % i).status for i in range(40)]
        assert set(codes) <= {401, 429} and codes[-1] == 429
        assert get(s, token=new_user()[1]).status == 200, "an account is not held back for what others do at its address"
    finally:
        s.end()


def test_routes_have_limits_of_their_own_except_for_administrators(server):
    _, token = new_user()
    s = Server(API_RATELIMIT_MAX="100000")
    try:
        codes = [api("GET", "/v1/logs/download", token=token, port=s.port).status for _ in range(21)]
        assert 429 not in codes[:20] and codes[20] == 429
        codes = [api("GET", "/v1/logs/download", token=ADMIN, query={"domain": "nobody.test"}, port=s.port).status for _ in range(25)]
        assert 429 not in codes
    finally:
        s.end()


def test_lists():
    (_, token), (_, banned) = new_user(), new_user()
    ids = [api("GET", "/v1/account", token=t).json["id"] for t in (token, banned)]
    s = Server(API_RATELIMIT_WHITELIST=ids[0], API_RATELIMIT_BLACKLIST=ids[1])
    try:
        assert {get(s, token=token).status for _ in range(MOST + 5)} == {200}
        assert get(s, token=banned).status == 403
    finally:
        s.end()


def test_exempt_addresses():
    _, token = new_user()
    s = Server(RATELIMIT_ALLOWLIST="192.0.2.1, 127.0.0.1")
    try:
        assert {get(s, token=token).status for _ in range(MOST + 5)} == {200}
    finally:
        s.end()


def test_a_name_that_does_not_lead_back_exempts_nobody():
    _, token = new_user()
    s = Server(RATELIMIT_ALLOWLIST="localhost, friends.test")
    try:
        assert get(s, token=token).status == 200 and {get(s, token=token).status for _ in range(MOST + 5)} == {200, 429}
    finally:
        s.end()


def test_a_body_that_stops_is_a_408():
    s = Server(API_TIMEOUT_MS="1s")
    try:
        with socket.create_connection(("127.0.0.1", s.port), timeout=60) as link:
            link.sendall(("PUT /v1/account HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
                          % basic(new_user()[1])).encode())
            assert link.recv(65536).startswith(b"HTTP/1.1 408 ")
    finally:
        s.end()


def test_without_redis_nobody_is_held_back():
    _, token = new_user()
    s = Server(REDIS_PORT=str(free_port()))
    try:
        assert {get(s, token=token).status for _ in range(MOST + 5)} == {200}
    finally:
        s.end()


def test_plain_http_stays_on_loopback():
    env = {**DAEMON_ENV, "BIND_ADDRESS": "0.0.0.0", "API_PORT": str(free_port())}
    got = subprocess.run([BIN + "fe-api", "--check-config"], env=env, capture_output=True, text=True)
    assert got.returncode != 0 and "API_SSL_KEY_PATH" in got.stdout + got.stderr


def test_tls():
    state = os.environ["STATE_DIR"]
    s = Server(API_SSL_KEY_PATH=state + "/tls.key", API_SSL_CERT_PATH=state + "/tls.crt")
    s.end()
