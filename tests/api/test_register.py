"""POST /v1/account: closed unless the operator opens it; one account for an address, however many ask at once."""
import threading
import time

import pytest

from rest import api, fectl, unique
from test_limits import Server

GOOD = "correct-horse-battery-9"


@pytest.fixture(scope="module")
def server():
    s = Server(API_REGISTRATION_ENABLED="true", API_RATELIMIT_MAX="100000", RATELIMIT_ALLOWLIST="127.0.0.1")
    yield s
    s.end()


def post(server, **body):
    return api("POST", "/v1/account", json=body, port=server.port)


def test_it_is_closed():
    s = Server(RATELIMIT_ALLOWLIST="127.0.0.1")
    try:
        got = post(s, email="a@b.test", password=GOOD)
        assert got.status == 403 and "closed" in got.json["message"]
    finally:
        s.end()


def test_an_account_waits_for_its_verification(server):
    address = unique("New") + "@people.test"
    got = post(server, email=address, password=GOOD)
    assert got.status == 200 and got.json["email"] == address.lower() and got.json["group"] == "user"
    waiting = api("GET", "/v1/account", token=got.json["api_token"])
    assert waiting.status == 401 and "confirmed" in waiting.json["message"]
    assert got.json["api_token"] not in fectl("user", "list")


@pytest.mark.parametrize("body", [{}, {"email": "x"}, {"email": "a@b.test"}, {"email": "a@b.test", "password": "password"}, {"email": "a@b.test", "password": 7},
                                  {"email": "a@b.test", "password": GOOD + '"'}, {"email": "a@[127.0.0.1]", "password": GOOD},
                                  {"email": "a" * 300 + "@b.test", "password": GOOD}, {"email": "jane.example@b.test", "password": "jane.example1"}])
def test_bad_accounts(server, body):
    assert post(server, **body).status == 400


def test_one_account_for_an_address(server):
    address, codes = unique("race") + "@people.test", []
    threads = [threading.Thread(target=lambda: codes.append(post(server, email=address, password=GOOD).status)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(codes) == [200] + [400] * 7
    assert post(server, email=address.upper(), password=GOOD).status == 400
    assert fectl("user", "list").count(address) == 1


def test_it_works_once_verified(server):
    address = unique("ok") + "@people.test"
    token = post(server, email=address, password=GOOD).json["api_token"]
    fectl("user", "verify", address)
    assert eventually_200(token)


def eventually_200(token):
    """The API remembers an account for a second or two."""
    end = time.monotonic() + 10
    while api("GET", "/v1/account", token=token).status != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    return True
