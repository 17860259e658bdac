"""/v1/domains/:domain/aliases: who may do what, every refusal of the reference, pages, fifty creations at once, what goes when an alias goes."""
import concurrent.futures
import glob
import os
import re
import sys

import pytest

import rest
from rest import api, fectl, new_domain, new_user, quote, unique

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e"))
import suite  # noqa: E402


def path(domain, alias=None, more=""):
    return "/v1/domains/%s/aliases%s%s" % (quote(domain), "/" + quote(alias) if alias is not None else "", more)


def add(owner, domain, **body):
    got = api("POST", path(domain), token=owner[1], json=body)
    assert got.status == 200, got
    return got.json


@pytest.fixture(scope="module")
def member(domain):
    """(address, token) of a member of the domain who is not an administrator."""
    user = new_user()
    fectl("domain", "member", domain, "--user", user[0])
    return user


# ---- creating ----------------------------------------------------------------------------------------------------------------

def test_an_alias_looks_as_the_reference_says(owner, domain):
    name = unique("Jane")
    got = add(owner, domain, name=name, recipients=["Jane@Gmail.test", "mail.gmail.test", "192.0.2.7", "https://hook.test/Path"],
              description="<b>Front</b> desk", labels=["Sales & Co", "sales-co"], has_imap=True)
    assert got["name"] == name.lower()
    assert got["recipients"] == ["jane@gmail.test", "mail.gmail.test", "192.0.2.7", "https://hook.test/Path"]
    assert got["description"] == "Front desk" and got["labels"] == ["sales-co"]
    assert got["user"]["email"] == owner[0] and got["domain"]["name"] == domain and got["group"] == "admin"
    assert (got["is_enabled"], got["error_code_if_disabled"], got["has_imap"], got["storage_used"]) == (True, 250, True, 0)
    assert not {"wraps", "tokens", "sealing_public_key", "wraps_revision", "is_api", "aps"} & set(got)
    assert api("GET", path(domain, name), token=owner[1]).json == got
    assert api("GET", path(domain, got["id"]), token=owner[1]).json == got


@pytest.mark.parametrize("how", ["json", "form", "fields"])
def test_every_form_of_a_body_gives_the_same_alias(owner, domain, how):
    name = unique()
    got = api("POST", path(domain), token=owner[1], **{how: {"name": name, "recipients": ["a@x.test", "b@x.test"], "has_imap": "on", "is_enabled": "no"}})
    assert got.status == 200, got
    assert (got.json["recipients"], got.json["has_imap"], got.json["is_enabled"]) == (["a@x.test", "b@x.test"], True, False)


def test_what_is_left_out_gets_defaults(owner, domain):
    got = add(owner, domain)
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{4}", got["name"]) and got["recipients"] == [owner[0]]
    assert add(owner, domain, name=unique(), recipients="")["recipients"] == [owner[0]]
    assert add(owner, domain, name=unique(), recipients="a@x.test, b@x.test\nA@x.test")["recipients"] == ["a@x.test", "b@x.test"]


REFUSED = [
    ({"name": "a+b"}, "plus"), ({"name": "!a"}, "exclamation"), ({"name": "a b"}, "@"), ({"name": ".a"}, "@"), ({"name": "a..b"}, "@"),
    ({"name": "x" * 65}, "@"), ({"name": "a@b"}, "@"), ({"name": "a*"}, "@"), ({"name": "/(/"}, "regular"), ({"name": "/a/q"}, "regular"),
    ({"recipients": ["nobody"]}, "recipient"), ({"recipients": ["a@"]}, "recipient"), ({"recipients": ["ftp://x.test/"]}, "recipient"),
    ({"recipients": ["a@[192.0.2.1]"]}, "recipient"), ({"recipients": ["u%d@x.test" % i for i in range(11)]}, "more recipients"),
    ({"name": "*", "is_enabled": False}, "disabled"), ({"name": "*", "has_imap": True}, "mailbox"), ({"name": "/^a/", "has_imap": True}, "mailbox"),
    ({"error_code_if_disabled": 451}, "250, 421"), ({"error_code_if_disabled": "x"}, "250, 421"),
    ({"max_quota": "much"}, "size"), ({"max_quota": "200 GB"}, "domain"), ({"retention": 366}, "0 to 365"), ({"retention": -1}, "0 to 365"),
    ({"retention": 30}, "does not delete"), ({"description": "x" * 151}, "150"), ({"labels": ["catch-all"]}, "catch-all"), ({"labels": ["x" * 151]}, "150"),
    ({"has_pgp": True}, "OpenPGP"), ({"public_key": "-----BEGIN PGP PUBLIC KEY BLOCK-----"}, "OpenPGP"), ({"has_smime": True}, "S/MIME"),
    ({"has_recipient_verification": True}, "consent"), ({"password": "x"}, "generate-password"), ({"new_password": "x"}, "generate-password"),
    ({"vacation_responder_is_enabled": True}, "vacation"), ({"name": "*", "vacation_responder_is_enabled": True}, "vacation"),
    ({"vacation_responder_start_date": "soon"}, "dates"), ({"vacation_responder_subject": "x" * 101}, "100"), ({"vacation_responder_message": "x" * 1001}, "1000"),
    ({"vacation_responder_start_date": "2027-01-02", "vacation_responder_end_date": "1/1/2027"}, "end after"),
]


@pytest.mark.parametrize("body,says", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_is_refused(owner, domain, body, says):
    body = {"name": unique(), **body}
    got = api("POST", path(domain), token=owner[1], json=body)
    assert got.status == 400 and says in got.json["message"], got
    assert not [a for a in api("GET", path(domain), token=owner[1]).json if a["name"] == body["name"].lower()]


def test_a_name_exists_once(owner, domain):
    name = add(owner, domain, name=unique())["name"]
    got = api("POST", path(domain), token=owner[1], json={"name": name.upper()})
    assert got.status == 400 and "already" in got.json["message"]
    other = add(owner, domain, name=unique())["name"]
    assert api("PUT", path(domain, other), token=owner[1], json={"name": name}).status == 400
    assert api("GET", path(domain, other), token=owner[1]).status == 200


def test_fifty_at_once_make_one(owner, domain):
    for _ in range(3):
        name = unique()
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            got = list(pool.map(lambda _: api("POST", path(domain), token=owner[1], json={"name": name}), range(50)))
        assert sorted(g.status for g in got) == [200] + [400] * 49
        assert all("already" in g.json["message"] for g in got if g.status == 400)
        assert [a["name"] for a in api("GET", path(domain), token=owner[1], query={"name": name}).json] == [name]


# ---- catch-alls and patterns -----------------------------------------------------------------------------------------------------

def test_a_catch_all(owner):
    domain = new_domain(owner[0])
    got = add(owner, domain, name="***", labels=["rest"])
    assert got["name"] == "*" and got["labels"] == ["catch-all", "rest"]
    assert api("PUT", path(domain, "*"), token=owner[1], json={"is_enabled": False}).status == 400
    assert api("GET", path(domain, "*"), token=owner[1]).json["is_enabled"] is True
    assert api("POST", path(domain, "*", "/generate-password"), token=owner[1], json={}).status == 400
    assert api("DELETE", path(domain, "*"), token=owner[1]).status == 200
    assert api("GET", path(domain, "*"), token=owner[1]).status == 404


def test_a_pattern_keeps_its_case_and_may_hold_a_plus(owner, domain):
    got = add(owner, domain, name="/^Sales\\+(.*)$/gi")
    assert got["name"] == "/^Sales\\+(.*)$/gi"
    assert api("GET", path(domain, got["name"]), token=owner[1]).json["id"] == got["id"]
    assert api("POST", path(domain, got["id"], "/generate-password"), token=owner[1], json={}).status == 400


# ---- changing ---------------------------------------------------------------------------------------------------------------------

def test_an_update_keeps_what_is_not_sent_but_description_and_labels(owner, domain):
    was = add(owner, domain, name=unique(), recipients=["a@x.test"], description="d", labels=["l"], has_imap=True, max_quota="1 GB",
              vacation_responder_subject="away", vacation_responder_start_date="2027-01-01")
    assert was["max_quota"] == 1 << 30 and was["vacation_responder"]["subject"] == "away"
    assert was["vacation_responder"]["start_date"] == "2027-01-01T00:00:00.000Z" and was["vacation_responder"]["is_enabled"] is False
    got = api("PUT", path(domain, was["name"]), token=owner[1], json={"is_enabled": False, "error_code_if_disabled": 550})
    assert got.status == 200, got
    kept = {k: v for k, v in got.json.items() if k not in ("updated_at", "description", "labels", "is_enabled", "error_code_if_disabled")}
    assert kept == {k: was[k] for k in kept} and got.json["updated_at"] > was["updated_at"]
    assert (got.json["description"], got.json["labels"], got.json["is_enabled"], got.json["error_code_if_disabled"]) == ("", [], False, 550)
    renamed = unique()
    got = api("PUT", path(domain, was["id"]), token=owner[1], json={"name": renamed, "max_quota": "", "recipients": [], "vacation_responder_subject": ""})
    assert (got.json["name"], got.json["max_quota"], got.json["recipients"], got.json["vacation_responder"]["subject"]) == (renamed, None, [], None)
    assert api("GET", path(domain, was["name"]), token=owner[1]).status == 404


def test_an_alias_needs_somewhere_to_go(owner, domain):
    name = add(owner, domain, name=unique())["name"]
    for body in ({"recipients": []}, {"recipients": ""}):
        assert api("PUT", path(domain, name), token=owner[1], json=body).status == 400
    assert api("PUT", path(domain, name), token=owner[1], json={"recipients": [], "has_imap": True}).status == 200
    assert api("PUT", path(domain, name), token=owner[1], json={"has_imap": False}).status == 400


def test_a_name_that_becomes_a_catch_all_and_back(owner):
    domain = new_domain(owner[0])
    alias = add(owner, domain, name=unique())
    assert api("PUT", path(domain, alias["id"]), token=owner[1], json={"name": "*"}).json["labels"] == ["catch-all"]
    assert api("PUT", path(domain, alias["id"]), token=owner[1], json={"name": "back"}).json["name"] == "back"


# ---- who -----------------------------------------------------------------------------------------------------------------------------

def test_nobody_else_sees_anything(owner, domain):
    stranger = new_user()
    name = add(owner, domain, name=unique())["name"]
    for method, where, body in [("GET", path(domain), None), ("POST", path(domain), {"name": "x"}), ("GET", path(domain, name), None),
                                ("PUT", path(domain, name), {}), ("DELETE", path(domain, name), None), ("POST", path(domain, name, "/generate-password"), {})]:
        assert api(method, where, token=stranger[1], json=body).status == 404, (method, where)
        assert api(method, where, json=body).status == 401
    assert api("GET", path(domain, "nothing-here"), token=owner[1]).status == 404
    assert api("GET", path(domain, "0123456789abcdef01234567"), token=owner[1]).status == 404


def test_an_alias_of_another_domain_is_not_found_by_its_id(owner, domain):
    other = new_domain(owner[0])
    alias = add(owner, other, name=unique())
    assert api("GET", path(domain, alias["id"]), token=owner[1]).status == 404


def test_members_see_and_change_their_own(owner, domain, member):
    theirs, mine = add(owner, domain, name=unique()), add(member, domain, name=unique(), recipients=["m@x.test"])
    assert mine["user"]["email"] == member[0] and mine["group"] == "user"
    assert {a["user"]["email"] for a in api("GET", path(domain), token=member[1]).json} == {member[0]}
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
        assert api(method, path(domain, theirs["name"]), token=member[1], json=body).status == 404
        assert api(method, path(domain, theirs["id"]), token=member[1], json=body).status == 404
    assert api("PUT", path(domain, mine["id"]), token=member[1], json={"description": "mine"}).json["description"] == "mine"
    got = api("PUT", path(domain, mine["id"]), token=member[1], json={"max_quota": "1 GB"})
    assert got.status == 400 and "administrator" in got.json["message"]
    emails = {a["id"]: a["user"]["email"] for a in api("GET", path(domain), token=owner[1]).json}
    assert emails[mine["id"]] == member[0] and emails[theirs["id"]] == owner[0]
    assert api("DELETE", path(domain, mine["id"]), token=member[1]).status == 200


@pytest.mark.parametrize("name", ["*", "/^a/", "admin", "administrator", "hostmaster", "postmaster", "webmaster", "abuse", "security", "root", "Postmaster"])
def test_reserved_names_need_an_administrator(owner, domain, member, name):
    got = api("POST", path(domain), token=member[1], json={"name": name})
    assert got.status == 400 and "administrator" in got.json["message"], got
    got = api("POST", path(domain), token=owner[1], json={"name": name})
    assert got.status == 200 or "already" in got.json["message"]


# ---- lists ---------------------------------------------------------------------------------------------------------------------------------

def test_pages_search_and_order(owner):
    domain = new_domain(owner[0])
    for i in range(7):
        add(owner, domain, name="list%d" % i, recipients=["to%d@x.test" % i], description="about %d" % i, labels=["even" if i % 2 == 0 else "odd"])
    names = lambda **query: [a["name"] for a in api("GET", path(domain), token=owner[1], query=query).json]
    assert names() == ["list%d" % i for i in range(7)]
    assert names(sort="-name", limit=3) == ["list6", "list5", "list4"]
    assert names(sort="name", limit=3, page=3) == ["list6"] and names(limit=3, page=4) == []
    assert names(q="LIST3") == ["list3"] and names(q="about 4") == ["list4"] and names(q="to5@") == ["list5"] and names(q="even", sort="name") == ["list0", "list2", "list4", "list6"]
    assert names(name="list", recipient="to1@x.test") == ["list1"] and names(q=".*") == [] and names(sort="wraps") == names()
    got = api("GET", path(domain), token=owner[1], query={"limit": 3, "page": 2, "sort": "name"})
    assert [got.headers["X-" + h] for h in ("Page-Count", "Page-Current", "Page-Size", "Item-Count")] == ["3", "2", "3", "7"]
    assert 'rel="next"' in got.headers["Link"] and 'rel="prev"' in got.headers["Link"] and "limit=3" in got.headers["Link"]
    again = api("GET", path(domain), token=owner[1], query={"limit": 3, "page": 2, "sort": "name"}, headers={"If-None-Match": got.headers["ETag"]})
    assert again.status == 304
    assert len(names(limit=100000)) == 7 and len(names(limit="x")) == 7


# ---- the end --------------------------------------------------------------------------------------------------------------------------------

def files_of(alias_id):
    return [os.path.basename(p) for p in glob.glob("%s/mailboxes/%s*" % (rest.STATE, alias_id))]


def test_a_deleted_alias_leaves_no_mailbox(owner, domain):
    alias = add(owner, domain, name=unique(), has_imap=True)
    assert api("POST", path(domain, alias["id"], "/generate-password"), token=owner[1], json={}).status == 200
    assert files_of(alias["id"])
    got = api("DELETE", path(domain, alias["name"]), token=owner[1])
    assert got.status == 200 and got.json["id"] == alias["id"]
    assert files_of(alias["id"]) == []
    assert api("DELETE", path(domain, alias["id"]), token=owner[1]).status == 404
    again = add(owner, domain, name=alias["name"])
    assert again["id"] != alias["id"]


def test_a_deletion_that_was_killed_is_finished_at_the_next_start(owner, domain):
    alias = add(owner, domain, name=unique(), has_imap=True, recipients=["a@x.test"])
    assert api("POST", path(domain, alias["id"], "/generate-password"), token=owner[1], json={}).status == 200
    suite.end("sqlite")
    where = "%s/mailboxes/%s.sqlite" % (rest.STATE, alias["id"])
    os.rename(where, where + ".deleted")       # its first step
    suite.start("sqlite")
    suite.eventually(lambda: files_of(alias["id"]) == [], "nothing of the mailbox is left")
    assert api("DELETE", path(domain, alias["id"]), token=owner[1]).status == 200


def test_a_day_has_three_hundred_creations():
    user = new_user()
    domain = new_domain(user[0])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: api("POST", path(domain), token=user[1], json={"name": "!"}), range(301)))
    assert sorted(g.status for g in got) == [400] * 300 + [429]
    late = api("POST", path(domain), token=user[1], json={"name": "late"})
    assert late.status == 429 and int(late.headers["Retry-After"]) > 0
