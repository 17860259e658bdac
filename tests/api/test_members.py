"""Members of a domain and invitations into it: who may, who gets in, whose the aliases are afterwards."""
import datetime
import email
import queue
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiosmtpd.controller import Controller

from rest import ENV, api, fectl, new_domain, new_mailbox, new_user, unique
from test_domains import wait_for
from test_limits import Server


def at(name, more=""):
    return "/v1/domains/%s%s" % (name, more)


def get(name, token):
    return api("GET", at(name), token=token).json


def invite(name, token, address, group="user"):
    got = api("POST", at(name, "/invites"), token=token, json={"email": address, "group": group})
    assert got.status == 200, got
    return got.json


def token_for(name, owner_token, address):
    return next(i["token"] for i in get(name, owner_token)["invites"] if i["email"] == address)


def add_member(name, address, *flags):
    return fectl("domain", "member", name, "--user", address, *flags).split()[1]


def key(got):
    return got.status, got.json["message"].split()[0]


@pytest.fixture
def mine(owner):
    return new_domain(owner[0])


# ---- invitations ------------------------------------------------------------------------------------------------------------

class Sink:
    def __init__(self):
        self.mails = queue.Queue()

    async def handle_DATA(self, server, session, envelope):
        self.mails.put((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 taken"


def test_an_invitation_is_mailed_and_taken_up(owner, mine):
    """The link in the mail is what lets the invited account in."""
    sink = Sink()
    server = Controller(sink, hostname="127.0.0.2", port=int(ENV["MX_PORT"]), ident="outside")
    server.start()
    try:
        address = unique("friend") + "@outside.test"
        friend = fectl("user", "add", address).split("api_token ")[1].split()[0]
        shown = invite(mine, owner[1], address)
        assert [(i["email"], i["group"]) for i in shown["invites"]] == [(address, "user")]
        mail_from, rcpt, content = sink.mails.get(timeout=30)
    finally:
        server.stop()
    mail = email.message_from_bytes(content)
    assert rcpt == [address] and mail_from in ("", "<>") and mail["Auto-Submitted"] == "auto-generated" and "no-reply@" + mine in mail["From"]
    text = mail.get_payload(decode=True).decode()
    path = next(w for w in text.split() if "/invites/" in w)[len(ENV["API_URL"]):]
    assert owner[0] in text and path == at(shown["id"], "/invites/" + token_for(mine, owner[1], address))
    got = api("GET", path, token=friend)
    assert got.status == 200 and "joined" in got.body.decode()
    now = get(mine, owner[1])
    assert now["invites"] == [] and sorted(m["group"] for m in now["members"]) == ["admin", "user"]
    assert get(mine, friend)["group"] == "user" and "invites" not in get(mine, friend)
    again = api("GET", path, token=friend)
    assert again.status == 200 and "already" in again.body.decode()


def test_an_invitation_is_for_one_address(owner, mine):
    (address, friend), (_, stranger) = new_user(), new_user()
    shown = invite(mine, owner[1], address)
    token = token_for(mine, owner[1], address)
    assert api("GET", at(shown["id"], "/invites/" + token), token=stranger).status == 403
    assert api("GET", at(shown["id"], "/invites"), token=stranger).status == 404
    assert api("GET", at(shown["id"], "/invites/" + "0" * 48), token=friend).status == 404
    assert api("GET", at(mine, "/invites/" + token), token=friend).status == 404       # the id, not the name
    assert api("GET", at("0" * 24, "/invites/" + token), token=friend).status == 404
    assert api("GET", at(shown["id"], "/invites"), token=friend).status == 200
    assert [m["user"]["email"] for m in get(mine, owner[1])["members"]] == [owner[0], address]


def test_an_admins_invitation_does_not_show_its_token(owner, mine):
    address, friend = new_user()
    shown = invite(mine, owner[1], address, "admin")
    assert "token" not in shown["invites"][0]
    assert api("GET", at(shown["id"], "/invites"), token=friend).status == 200
    assert get(mine, friend)["group"] == "admin"


def test_what_an_invitation_needs(owner, mine):
    address, friend = new_user()
    for body, status in (({"email": "nobody", "group": "user"}, 400), ({"group": "user"}, 400), ({"email": address}, 400), ({"email": address, "group": "owner"}, 400),
                         ({"email": owner[0], "group": "user"}, 400)):
        assert api("POST", at(mine, "/invites"), token=owner[1], json=body).status == status, body
    invite(mine, owner[1], address)
    assert api("POST", at(mine, "/invites"), token=owner[1], json={"email": address.upper(), "group": "admin"}).status == 400   # sent already
    assert api("POST", at(mine, "/invites"), token=friend, json={"email": address, "group": "user"}).status == 404              # no member
    add_member(mine, address)
    assert api("POST", at(mine, "/invites"), token=friend, json={"email": unique("x") + "@people.test", "group": "user"}).status == 400      # IS_NOT_ADMIN
    assert api("POST", at(mine, "/invites"), json={"email": address, "group": "user"}).status == 401


def test_taken_back(owner, mine):
    address, friend = new_user()
    shown = invite(mine, owner[1], address)
    token = token_for(mine, owner[1], address)
    assert api("DELETE", at(mine, "/invites"), token=owner[1], json={"email": address}).json["invites"] == []
    assert api("DELETE", at(mine, "/invites?email=" + address), token=owner[1]).status == 200
    assert api("DELETE", at(mine, "/invites"), token=owner[1]).status == 400
    assert api("GET", at(shown["id"], "/invites/" + token), token=friend).status == 404
    invite(mine, owner[1], address)                                                     # another one may be sent


def test_many_at_once_send_one(owner, mine):
    address, _ = new_user()
    with ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda _: api("POST", at(mine, "/invites"), token=owner[1], json={"email": address, "group": "user"}).status, range(20)))
    assert got.count(200) == 1 and set(got) <= {200, 400, 409}, got
    assert len(get(mine, owner[1])["invites"]) == 1


def test_an_old_invitation(owner, mine):
    """410; and it is in nobody's way."""
    address, friend = new_user()
    server = Server(API_INVITE_LIFE="1s", API_RATELIMIT_MAX="100000")
    try:
        got = api("POST", at(mine, "/invites"), token=owner[1], json={"email": address, "group": "user"}, port=server.port)
        assert got.status == 200, got
    finally:
        server.end()
    ends = datetime.datetime.fromisoformat(got.json["invites"][0]["expires_at"].replace("Z", "+00:00"))
    wait_for(lambda: datetime.datetime.now(datetime.timezone.utc) > ends)
    for path in ("/invites", "/invites/" + token_for(mine, owner[1], address)):
        assert api("GET", at(got.json["id"], path), token=friend).status == 410
    assert [m["group"] for m in get(mine, owner[1])["members"]] == ["admin"]
    invite(mine, owner[1], address)
    assert len(get(mine, owner[1])["invites"]) == 1
    assert api("GET", at(got.json["id"], "/invites"), token=friend).status == 200


def test_not_more_than_a_hundred():
    address, token = new_user(admin=True)                                               # no limit of calls a day
    name = new_domain(address)
    for i in range(100):
        invite(name, token, "n%d@people.test" % i)
    got = api("POST", at(name, "/invites"), token=token, json={"email": "one-more@people.test", "group": "user"})
    assert got.status == 400 and "100" in got.json["message"]
    assert len(get(name, token)["invites"]) == 100


# ---- roles --------------------------------------------------------------------------------------------------------------------

def test_roles(owner, mine):
    address, friend = new_user()
    ident = add_member(mine, address)
    put = lambda who, group, token=owner[1]: api("PUT", at(mine, "/members/" + who), token=token, json={"group": group})
    assert put(ident, "owner").status == 400 and put("0" * 24, "user").status == 404 and put("nobody", "user").status == 404
    assert put(ident, "admin", friend).status == 400                                    # IS_NOT_ADMIN
    assert {m["user"]["id"]: m["group"] for m in put(ident, "admin").json["members"]}[ident] == "admin"
    assert get(mine, friend)["group"] == "admin"
    assert put(ident, "user").status == 200 and get(mine, friend)["group"] == "user"


def test_an_admin_stays(owner, mine):
    me = get(mine, owner[1])["members"][0]["user"]["id"]
    put = lambda group: api("PUT", at(mine, "/members/" + me), token=owner[1], json={"group": group}).status
    assert put("user") == 404 and put("admin") == 404                                   # alone
    assert api("DELETE", at(mine, "/members/" + me), token=owner[1]).status == 404
    add_member(mine, new_user()[0])
    assert put("user") == 404 and put("admin") == 200                                   # nobody else is an admin
    assert api("POST", at(mine, "/aliases"), token=owner[1], json={"name": "jane", "recipients": ["r@outside.test"]}).status == 200
    assert api("DELETE", at(mine, "/members/" + me), token=owner[1]).status == 404
    assert owner_of(mine, "jane", owner[1]) == owner[0]                                 # what is refused deletes nothing
    assert get(mine, owner[1])["group"] == "admin"


def test_two_who_demote_each_other_leave_one(owner, mine):
    me = get(mine, owner[1])["members"][0]["user"]["id"]
    address, friend = new_user()
    ident = add_member(mine, address, "--admin")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(api, "PUT", at(mine, "/members/" + ident), token=owner[1], json={"group": "user"})
        two = pool.submit(api, "PUT", at(mine, "/members/" + me), token=friend, json={"group": "user"})
        assert 200 in (one.result().status, two.result().status)
    groups = [get(mine, t)["group"] for t in (owner[1], friend)]
    assert "admin" in groups, groups


def owner_of(name, alias, token):
    return api("GET", at(name, "/aliases/" + alias), token=token).json["user"]["email"]


def test_a_demoted_admin_keeps_ordinary_aliases(owner, mine):
    address, friend = new_user()
    ident = add_member(mine, address, "--admin")
    for name in ("*", "/^list-.*$/", "postmaster", "jane"):
        assert api("POST", at(mine, "/aliases"), token=friend, json={"name": name, "recipients": ["r@outside.test"]}).status == 200, name
    assert api("PUT", at(mine, "/members/" + ident), token=owner[1], json={"group": "user"}).status == 200
    owners = {a["name"]: a["user"]["email"] for a in api("GET", at(mine, "/aliases"), token=owner[1]).json}
    assert owners == {"*": owner[0], "/^list-.*$/": owner[0], "postmaster": owner[0], "jane": address}


# ---- leaving --------------------------------------------------------------------------------------------------------------------

def test_who_is_taken_out_leaves_the_aliases(owner, mine):
    address, friend = new_user()
    ident = add_member(mine, address)
    assert api("POST", at(mine, "/aliases"), token=friend, json={"name": "jane", "recipients": ["r@outside.test"]}).status == 200
    assert api("DELETE", at(mine, "/members/" + ident), token=friend).status == 400      # IS_NOT_ADMIN
    got = api("DELETE", at(mine, "/members/" + ident), token=owner[1])
    assert got.status == 200 and [m["user"]["email"] for m in got.json["members"]] == [owner[0]]
    assert owner_of(mine, "jane", owner[1]) == owner[0]
    assert api("GET", at(mine), token=friend).status == 404
    assert api("DELETE", at(mine, "/members/" + ident), token=owner[1]).status == 404


def test_who_leaves_takes_the_aliases_along(owner, mine):
    """And their mailboxes; those of others stay."""
    address, friend = new_user()
    ident = add_member(mine, address, "--admin")
    kept = new_mailbox(mine)                                                             # of the first member
    assert api("POST", at(mine, "/aliases"), token=friend, json={"name": "jane", "has_imap": True}).status == 200
    assert api("POST", at(mine, "/aliases/jane/generate-password"), token=friend).status == 200
    assert api("DELETE", at(mine, "/members/" + ident), token=friend).status == 200
    assert [a["name"] for a in api("GET", at(mine, "/aliases"), token=owner[1]).json] == [kept.split("@")[0]]
    wait_for(lambda: api("GET", at(mine), token=friend).status == 404)
