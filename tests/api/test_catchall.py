"""Catch-all passwords of a domain: made, listed, taken back; they send as any address of the domain and open nothing."""
import imaplib
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest

from rest import ENV, PASSWORD, api, fectl, new_domain, new_mailbox, new_user, unique
from test_domains import wait_for


def at(name, more=""):
    return "/v1/domains/%s/catch-all-passwords%s" % (name, more)


def make(domain, token, **more):
    got = api("POST", at(domain), token=token, json=more)
    assert got.status == 200, got
    return got.json


@pytest.fixture
def mine(owner):
    """A domain of its own for one test, which may send (fectl grants that at once)."""
    return new_domain(owner[0])


# ---- made, listed, taken back ---------------------------------------------------------------------------------------------

def test_its_life(owner, mine):
    assert api("GET", at(mine), token=owner[1]).json == []
    one = make(mine, owner[1], description="printer")
    assert set(one) == {"id", "username", "password", "description"}
    assert one["username"] == "*@" + mine and len(one["password"]) == 24 and one["description"] == "printer"
    two = make(mine, owner[1])
    assert two["description"] == "" and two["password"] != one["password"]
    got = api("GET", at(mine), token=owner[1])
    assert got.json == [{"id": one["id"], "description": "printer"}, {"id": two["id"], "description": ""}]
    assert "tokens" not in api("GET", "/v1/domains/" + mine, token=owner[1]).json
    got = api("DELETE", at(mine, "/" + one["id"]), token=owner[1])
    assert got.status == 200 and got.json["object"] == "domain" and got.json["name"] == mine
    assert [t["id"] for t in api("GET", at(mine), token=owner[1]).json] == [two["id"]]
    assert api("DELETE", at(mine, "/" + one["id"]), token=owner[1]).status == 404
    assert api("DELETE", at(mine, "/nonsense"), token=owner[1]).status == 404


@pytest.mark.parametrize("how", ["json", "form", "fields"])
def test_a_chosen_password(owner, mine, how):
    got = api("POST", at(mine), token=owner[1], **{how: {"new_password": "tulip-canoe-Ridge-velvet", "description": "é" * 150}})
    assert got.status == 200 and got.json["password"] == "tulip-canoe-Ridge-velvet"


@pytest.mark.parametrize("password, word", [
    ("short", "guessed"), ("Password1", "guessed"), ("qwertyuiop12", "guessed"), ("aaaaaaaaaaaaaaaaaaaa", "guessed"), ("DOMAIN", "guessed"),
    ('tulip"canoe-ridge-velvet', "quotes"), ("tulip'canoe-ridge-velvet", "quotes"), (" tulip-canoe-ridge-velvet", "blank"), ("x" + "tulip-Canoe9" * 11, "128"),
    (1234567890123456, "guessed"), (["tulip-canoe-ridge-velvet"], "guessed"),
])
def test_bad_passwords(owner, mine, password, word):
    if password == "DOMAIN":
        password = mine
    got = api("POST", at(mine), token=owner[1], json={"new_password": password})
    assert got.status == 400 and word in got.json["message"], got
    assert api("GET", at(mine), token=owner[1]).json == []


def test_a_description_has_an_end(owner, mine):
    assert api("POST", at(mine), token=owner[1], json={"description": "x" * 151}).status == 400


def test_ten_at_most(owner, mine):
    made = [make(mine, owner[1]) for _ in range(10)]
    got = api("POST", at(mine), token=owner[1], json={})
    assert got.status == 400 and "10" in got.json["message"]
    assert api("DELETE", at(mine, "/" + made[3]["id"]), token=owner[1]).status == 200
    make(mine, owner[1])


def test_ten_at_most_also_at_once(owner, mine):
    with ThreadPoolExecutor(13) as pool:
        got = list(pool.map(lambda _: api("POST", at(mine), token=owner[1], json={}).status, range(13)))
    assert got.count(200) <= 10 and set(got) <= {200, 400, 409}, got
    assert len(api("GET", at(mine), token=owner[1]).json) == got.count(200)


def test_so_often_a_day():
    address, token = new_user()
    domain = new_domain(address)
    for _ in range(100):
        assert api("POST", at(domain), token=token, json={"new_password": "x"}).status == 400
    assert api("POST", at(domain), token=token, json={"new_password": "x"}).status == 429


EACH = [("GET", ""), ("POST", ""), ("DELETE", "/0123456789abcdef01234567")]


@pytest.mark.parametrize("method, more", EACH)
def test_for_admins_of_the_domain_only(owner, mine, method, more):
    address, token = new_user()
    assert api(method, at(mine, more), token=token, json={}).status == 404
    assert api(method, at("nowhere.test", more), token=owner[1], json={}).status == 404
    assert api(method, at(mine, more), json={}).status == 401
    assert api(method, at(mine, more), token="wrong", json={}).status == 401


@pytest.mark.parametrize("method, more", EACH)
def test_members_are_no_admins(domain, method, more):
    address, token = new_user()
    fectl("domain", "member", domain, "--user", address)
    wait_for(lambda: api("GET", "/v1/domains/" + domain, token=token).status == 200)
    got = api(method, at(domain, more), token=token, json={})
    assert got.status == 400 and "administrator" in got.json["message"]


# ---- what it is good for ----------------------------------------------------------------------------------------------------

def submission():
    s = smtplib.SMTP("127.0.0.1", int(ENV["SUBMISSION_PORT"]), timeout=60)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    s.starttls(context=context)
    return s


def send(s, sender, header_from):
    return s.sendmail(sender, ["friend@outside.test"], "From: %s\r\nTo: friend@outside.test\r\nSubject: x\r\n\r\nx\r\n" % header_from)


def test_it_sends_as_any_address_of_the_domain(owner, mine):
    word = make(mine, owner[1])
    for user in ("*@" + mine, "nobody@" + mine):
        s = submission()
        s.login(user, word["password"])
        send(s, "a@" + mine, "B <b+c@%s>" % mine.upper())
        for sender, header_from, want in [("x@demo.test", "x@" + mine, "MAIL FROM"), ("x@" + mine, "x@demo.test", "From header"), ("x@sub." + mine, "x@" + mine, "MAIL FROM")]:
            with pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPDataError)) as no:
                send(s, sender, header_from)
            assert no.value.smtp_code == 550 and want in no.value.smtp_error.decode()
            s.rset()
        s.quit()


def test_an_alias_of_the_domain_keeps_its_own_password_and_address(owner, mine):
    make(mine, owner[1])
    box = new_mailbox(mine)
    s = submission()
    s.login(box, PASSWORD)
    with pytest.raises(smtplib.SMTPSenderRefused):
        send(s, "other@" + mine, "other@" + mine)
    s.quit()


def test_taken_back_it_sends_no_more_even_on_an_open_connection(owner, mine):
    word = make(mine, owner[1])
    s = submission()
    s.login(word["username"], word["password"])
    send(s, "a@" + mine, "a@" + mine)
    assert api("DELETE", at(mine, "/" + word["id"]), token=owner[1]).status == 200
    with pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPServerDisconnected)) as no:
        send(s, "a@" + mine, "a@" + mine)
    assert getattr(no.value, "smtp_code", 421) in (421, 535)
    s.close()
    s = submission()
    with pytest.raises(smtplib.SMTPAuthenticationError):
        s.login(word["username"], word["password"])
    s.close()


def test_a_domain_that_may_not_send_stays_silent():
    address, token = new_user()
    name = unique("silent") + ".test"
    assert api("POST", "/v1/domains", token=token, json={"domain": name}).status == 200
    word = make(name, token)
    s = submission()
    s.login(word["username"], word["password"])
    with pytest.raises(smtplib.SMTPSenderRefused) as no:
        send(s, "a@" + name, "a@" + name)
    assert no.value.smtp_code == 550 and "not configured" in no.value.smtp_error.decode()
    s.quit()


def test_it_opens_no_mailbox(owner, mine):
    word = make(mine, owner[1])
    box = new_mailbox(mine)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for user in (box, word["username"]):
        m = imaplib.IMAP4_SSL("127.0.0.1", int(ENV["IMAPS_PORT"]), ssl_context=context)
        with pytest.raises(imaplib.IMAP4.error):
            m.login(user, word["password"])
        m.shutdown()
        assert api("GET", "/v1/account", auth=(user, word["password"])).status == 401
        assert api("PUT", "/v1/account", auth=(user, word["password"]), json={"settings": {}}).status == 401


def test_it_is_in_no_log(owner, mine):
    word = make(mine, owner[1])
    with open(ENV["STATE_DIR"] + "/log/api") as log:
        assert word["password"] not in log.read()
