"""The /v1/domains family: every status of each endpoint, and the DNS checks failing and passing against a real name server."""
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rest import ADMIN, ENV, STATE, api, fectl, new_domain, new_mailbox, new_user, quote, unique

HIDDEN = {"dkim_private_key", "dkim_public_key", "dkim_key_selector", "return_path", "webhook_key", "tokens", "ns", "smtp_emails_blocked", "s3_access_key_id",
          "s3_secret_access_key", "_id", "is_global", "is_api"}


@pytest.fixture(scope="module")
def owner():
    """An admin of the installation: the limit per day of new domains does not hold them back."""
    return new_user(admin=True)


def wait_for(what, seconds=5):
    """fectl changes documents behind the API, which remembers them for a second or two."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)


def create(token, **more):
    got = api("POST", "/v1/domains", token=token, json={"domain": unique("d") + ".test", **more})
    assert got.status == 200, got
    return got.json


def said(got, status, word):
    assert got.status == status, got
    assert word.lower() in got.json["message"].lower(), got
    return got


def at(name, more=""):
    return "/v1/domains/" + name + more


# ---- create ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["json", "form", "fields"])
def test_a_new_domain_has_all_it_needs(owner, how):
    name = unique("New") + ".Test"
    got = api("POST", "/v1/domains", token=owner[1], **{how: {"domain": " %s. " % name}})
    assert got.status == 200, got
    d = got.json
    assert d["object"] == "domain" and d["name"] == name.lower() and d["group"] == "admin" and d["plan"] == "team"
    assert re.fullmatch(r"[0-9a-f]{24}", d["id"]) and len(d["verification_record"]) >= 10
    assert d["smtp_port"] == "25" and d["max_recipients_per_alias"] == 10 and d["max_quota_per_alias"] == 10 << 30 and d["retention_days"] == 0
    assert (d["has_smtp"], d["has_mx_record"], d["has_txt_record"], d["has_catchall"], d["alias_count"]) == (False, False, False, True, 1)
    assert d["smtp_verified_at"] is None and d["bounce_webhook"] is None and d["allowlist"] == [] and d["denylist"] == []
    assert [(m["object"], m["group"], m["user"]["email"]) for m in d["members"]] == [("member", "admin", owner[0])]
    records = d["smtp_dns_records"]
    assert re.fullmatch(r"fe-[0-9a-f]{10}\._domainkey", records["dkim"]["name"]) and len(records["dkim"]["value"]) > 390
    assert records["return_path"] == {"name": "fe-bounces", "value": "demo.test"}
    assert records["dmarc"]["name"] == "_dmarc" and records["dmarc"]["value"].startswith("v=DMARC1; p=reject; pct=100; rua=mailto:dmarc-" + d["id"])
    assert not HIDDEN & set(d)
    assert d["link"].endswith("/my-account/domains/" + d["name"])


def test_records_of_a_subdomain_are_named_from_the_root(owner):
    d = api("POST", "/v1/domains", token=owner[1], json={"domain": "mail." + unique("d") + ".test", "catchall": False}).json
    assert d["smtp_dns_records"]["return_path"]["name"] == "fe-bounces.mail" and d["smtp_dns_records"]["dmarc"]["name"] == "_dmarc.mail"


@pytest.mark.parametrize("name", ["", "localhost", "a b.test", "192.0.2.1", "-x.test", "x.123", "a..test", "ex_ample.test", "x" * 64 + ".test"])
def test_what_is_no_domain_is_refused(owner, name):
    said(api("POST", "/v1/domains", token=owner[1], json={"domain": name}), 400, "valid domain")


def test_the_name_is_needed(owner):
    assert api("POST", "/v1/domains", token=owner[1], json={}).status == 400


def test_names_are_punycode_and_found_in_either_form(owner):
    label = unique("bücher")
    d = api("POST", "/v1/domains", token=owner[1], json={"domain": label + ".test", "catchall": False}).json
    assert d["name"].startswith("xn--")
    for form in (d["name"], label + ".test", label.upper() + ".test"):
        assert api("GET", at(quote(form)), token=owner[1]).json == d


def test_a_domain_has_one_holder(owner):
    d = create(owner[1])
    for token in (owner[1], new_user()[1]):
        said(api("POST", "/v1/domains", token=token, json={"domain": d["name"].upper()}), 400, "already")


def test_of_two_at_once_one_gets_it(owner):
    name = unique("d") + ".test"
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda token: api("POST", "/v1/domains", token=token, json={"domain": name}), [owner[1], new_user()[1]] * 2))
    assert sorted(g.status for g in got) == [200, 400, 400, 400]
    winner = next(g.json for g in got if g.status == 200)
    assert winner["alias_count"] == 1


def test_names_below_a_domain_are_its_holders(domain, owner):
    other = new_user()
    for name in ("fe-bounces." + domain, "a.b.c." + domain):
        said(api("POST", "/v1/domains", token=other[1], json={"domain": name}), 400, "already")
    sub = "x." + domain
    assert api("POST", "/v1/domains", token=owner[1], json={"domain": sub, "catchall": False}).status == 200
    address, token = new_user()
    own = new_domain(address)
    assert api("POST", "/v1/domains", token=token, json={"domain": "sub." + own}).status == 200


@pytest.mark.parametrize("name", ["mx.demo.test", "mail.demo.test"])
def test_names_of_this_server_are_for_its_admins(name):
    said(api("POST", "/v1/domains", token=new_user()[1], json={"domain": name}), 400, "already")


@pytest.mark.parametrize("catchall, recipients", [(True, None), ("true", None), ("a@x.test, B@X.test\nc@x.test a@x.test", ["a@x.test", "b@x.test", "c@x.test"]),
                                                  (["a@x.test", "b@x.test"], ["a@x.test", "b@x.test"]), (False, []), ("false", []), ("0", [])])
def test_catchall_of_a_new_domain(owner, catchall, recipients):
    d = create(owner[1], catchall=catchall)
    assert d["has_catchall"] == (recipients != []) and d["alias_count"] == (0 if recipients == [] else 1)
    if "GET /v1/domains/{domain_id}/aliases" in routes():
        aliases = api("GET", at(d["id"], "/aliases"), token=owner[1]).json
        assert [a["recipients"] for a in aliases] == ([] if recipients == [] else [recipients or [owner[0]]])


def routes():
    from rest import description
    return {"%s %s" % (m.upper(), p) for p, item in description()["paths"].items() for m in item}


@pytest.mark.parametrize("body, word", [
    ({"plan": "gold"}, "plan"), ({"catchall": "nobody"}, "e-mail"), ({"catchall": [","]}, "e-mail"), ({"catchall": ["%d@x.test" % i for i in range(11)]}, "recipients"),
    ({"catchall": []}, "recipient"), ({"smtp_port": 0}, "port"), ({"smtp_port": "x"}, "port"), ({"smtp_port": 65536}, "port"), ({"retention_days": 31}, "retention"),
    ({"retention_days": -1}, "retention"), ({"retention_days": "soon"}, "retention"), ({"bounce_webhook": "ftp://a.test"}, "address"),
    ({"bounce_webhook": "http://localhost/x"}, "public"), ({"bounce_webhook": "http://10.0.0.1/x"}, "public"), ({"bounce_webhook": "http://[::1]/x"}, "public"),
    ({"bounce_webhook": "http://[::ffff:10.0.0.1]/"}, "public"), ({"bounce_webhook": "https://u:p@a.test/"}, "address"), ({"bounce_webhook": "x"}, "address"),
    ({"max_quota_per_alias": "much"}, "size"), ({"max_quota_per_alias": "101 GB"}, "size"), ({"max_quota_per_alias": "11 GB"}, "quota"), ({"has_custom_s3": True}, "bucket"),
])
def test_bad_values_make_no_domain_and_change_none(owner, domain, body, word):
    name = unique("d") + ".test"
    said(api("POST", "/v1/domains", token=owner[1], json={"domain": name, **body}), 400, word)
    assert api("GET", at(name), token=owner[1]).status == 404
    if not {"plan", "catchall"} & set(body):
        before = api("GET", at(domain), token=owner[1]).json
        said(api("PUT", at(domain), token=owner[1], json=body), 400, word)
        assert api("GET", at(domain), token=owner[1]).json == before


SETTINGS = {"smtp_port": 2525, "retention_days": 7, "bounce_webhook": "https://hooks.example.com/b?x=1", "max_quota_per_alias": "1 GB",
            "has_adult_content_protection": False, "has_phishing_protection": "false", "has_executable_protection": 0, "has_virus_protection": "no",
            "has_recipient_verification": "on", "ignore_mx_check": True, "has_delivery_logs": "y", "require_tls_inbound": 1}
SHOWN = {"smtp_port": "2525", "retention_days": 7, "bounce_webhook": "https://hooks.example.com/b?x=1", "max_quota_per_alias": 1 << 30,
         "has_adult_content_protection": False, "has_phishing_protection": False, "has_executable_protection": False, "has_virus_protection": False,
         "has_recipient_verification": True, "ignore_mx_check": True, "has_mx_record": True, "has_delivery_logs": True, "require_tls_inbound": True}


def test_settings_are_honoured_on_create(owner):
    d = create(owner[1], **SETTINGS)
    assert {k: d[k] for k in SHOWN} == SHOWN


def test_only_what_is_sent_changes(owner):
    d = create(owner[1])
    got = api("PUT", at(d["name"]), token=owner[1], json=SETTINGS)
    assert got.status == 200 and {k: got.json[k] for k in SHOWN} == SHOWN
    got = api("PUT", at(d["id"]), token=owner[1], form={"retention_days": "3", "bounce_webhook": "", "max_quota_per_alias": "0"})
    assert got.status == 200, got
    assert got.json["retention_days"] == 3 and got.json["bounce_webhook"] is None and got.json["max_quota_per_alias"] == 10 << 30
    assert got.json["smtp_port"] == "2525" and got.json["has_delivery_logs"] is True
    again = api("GET", at(d["id"]), token=owner[1]).json
    assert again == got.json and again["verification_record"] == d["verification_record"] and again["smtp_dns_records"] == d["smtp_dns_records"]


@pytest.mark.parametrize("method, path, most", [("POST", "/v1/domains", 50), ("PUT", "/v1/domains/%s/allowlist", 100), ("PUT", "/v1/domains/%s/denylist", 100)])
def test_so_often_a_day(method, path, most):
    address, token = new_user()
    path = path % new_domain(address) if "%" in path else path
    for _ in range(most):
        assert api(method, path, token=token, json={"domain": ""}).status != 429
    got = api(method, path, token=token, json={"domain": ""})
    assert got.status == 429 and int(got.headers["Retry-After"]) > 0 and got.headers["X-RateLimit-Limit"] == str(most)


# ---- read --------------------------------------------------------------------------------------------------------------------------

def test_list_find_sort_and_page():
    token = new_user()[1]
    names = sorted(create(token, catchall=False)["name"] for _ in range(3))
    got = api("GET", "/v1/domains", token=token)
    assert got.status == 200 and sorted(d["name"] for d in got.json) == names and got.headers["X-Item-Count"] == "3"
    assert not any({"members", "invites", "aliases"} & set(d) or HIDDEN & set(d) for d in got.json)
    assert [d["name"] for d in api("GET", "/v1/domains", token=token, query={"sort": "-name"}).json] == names[::-1]
    assert [d["name"] for d in api("GET", "/v1/domains", token=token, query={"q": names[1].upper()}).json] == [names[1]]
    assert [d["name"] for d in api("GET", "/v1/domains", token=token, query={"name": names[2][:-6]}).json] == [names[2]]
    assert api("GET", "/v1/domains", token=token, query={"q": "nothing.like.it"}).json == []
    got = api("GET", "/v1/domains", token=token, query={"limit": 2, "page": 2, "sort": "name"})
    assert [d["name"] for d in got.json] == names[2:] and got.headers["X-Page-Count"] == "2" and 'rel="prev"' in got.headers["Link"]


def test_the_same_domain_by_id_and_name(owner, domain):
    by_name = api("GET", at(domain), token=owner[1])
    assert by_name.status == 200 and api("GET", at(by_name.json["id"]), token=owner[1]).json == by_name.json
    assert api("GET", at(domain.upper()), token=owner[1]).json == by_name.json


def test_what_mailboxes_take_is_told(owner):
    d = create(owner[1], catchall=False)
    assert (d["storage_used"], d["alias_count"]) == (0, 0)
    new_mailbox(d["name"])
    seen = api("GET", at(d["name"]), token=owner[1]).json
    assert seen["storage_used"] > 4096 and seen["storage_used_by_aliases"] == seen["storage_used"] and seen["alias_count"] == 1
    listed = next(one for one in api("GET", "/v1/domains", token=owner[1]).json if one["id"] == d["id"])
    assert listed["storage_used"] == seen["storage_used"] and listed["alias_count"] == 1


EACH = [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/verify-records"), ("GET", "/verify-smtp"), ("PUT", "/allowlist"), ("PUT", "/denylist")]


@pytest.mark.parametrize("method, more", EACH)
def test_strangers_and_the_unknown(domain, method, more):
    other = new_user()[1]
    assert api(method, at(domain, more), token=other, json={}).status == 404
    assert api(method, at("0123456789abcdef01234567", more), token=other, json={}).status == 404
    assert api(method, at("nowhere.test", more), token=other, json={}).status == 404
    assert api(method, at(domain, more), token="wrong", json={}).status == 401
    assert api(method, at(domain, more), json={}).status == 401


def test_somebody_signed_out_has_no_domains():
    assert api("GET", "/v1/domains").status == 401
    assert api("POST", "/v1/domains", token="x", json={"domain": "a.test"}).status == 401


# ---- members who are no admins -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def member(owner, domain):
    """(address, token) of a plain member of `domain`."""
    address, token = new_user()
    fectl("domain", "member", domain, "--user", address)
    wait_for(lambda: api("GET", at(domain), token=token).status == 200)
    return address, token


def test_a_member_sees_less(owner, domain, member):
    got = api("GET", at(domain), token=member[1])
    assert got.status == 200 and got.json["group"] == "user"
    assert [m["user"]["email"] for m in got.json["members"]] == [member[0]]
    assert not {"bounce_webhook", "custom_verification", "allowlist", "denylist", "restricted_alias_names", "invites", "s3_endpoint"} & set(got.json)
    assert [d["name"] for d in api("GET", "/v1/domains", token=member[1]).json] == [domain]
    seen = {m["user"]["email"]: m["group"] for m in api("GET", at(domain), token=owner[1]).json["members"]}
    assert seen == {owner[0]: "admin", member[0]: "user"}


@pytest.mark.parametrize("method, more", [e for e in EACH if e[0] != "GET"])
def test_a_member_changes_nothing(domain, member, method, more):
    said(api(method, at(domain, more), token=member[1], json={}), 400, "administrator")
    assert api("GET", at(domain), token=member[1]).status == 200


# ---- lists of senders ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("which", ["allowlist", "denylist"])
def test_lists_keep_what_can_be_a_sender(owner, domain, which):
    got = api("PUT", at(domain, "/" + which), token=owner[1], json={which: "Good.Example, 192.0.2.1\n2001:DB8::1 Jane@Good.example good.example nonsense_ http://x -x.example"})
    assert got.status == 200 and got.json[which] == ["good.example", "192.0.2.1", "2001:db8::1", "jane@good.example"]
    assert api("PUT", at(domain, "/" + which), token=owner[1], form={which: ["a.example", "b.example"]}).json[which] == ["a.example", "b.example"]
    assert api("GET", at(domain), token=owner[1]).json[which] == ["a.example", "b.example"]
    assert api("PUT", at(domain, "/" + which), token=owner[1], json={which: ""}).json[which] == []


# ---- delete ------------------------------------------------------------------------------------------------------------------------

def test_deleting_takes_aliases_and_mailboxes(owner):
    d = create(owner[1])
    box = new_mailbox(d["name"])
    got = api("DELETE", at(d["name"]), token=owner[1])
    assert got.status == 200 and got.json["id"] == d["id"] and got.json["alias_count"] == 2
    assert api("GET", at(d["id"]), token=owner[1]).status == 404
    assert api("DELETE", at(d["id"]), token=owner[1]).status == 404
    assert api("GET", "/v1/account", auth=(box, "pass")).status == 401
    again = api("POST", "/v1/domains", token=owner[1], json={"domain": d["name"], "catchall": False})
    assert again.status == 200 and again.json["alias_count"] == 0 and again.json["id"] != d["id"]


# ---- DNS ---------------------------------------------------------------------------------------------------------------------------

def publish(name, kind, value):
    """One more record in the test DNS, there before this returns."""
    subprocess.run(["scripts/testdns", "--add", STATE, name + ".", kind, value], check=True)
    for _ in range(100):
        seen = subprocess.run(["kdig", "@127.0.0.1", "-p", ENV["DNS_PORT"], "+short", name, kind], capture_output=True, text=True).stdout
        if value.replace(" ", "").rstrip(".")[-20:] in seen.replace('" "', "").replace(" ", ""):
            return
        time.sleep(0.05)
    raise AssertionError("%s %s did not appear in DNS" % (name, kind))


def test_records_are_verified_once_they_are_right(owner):
    d = create(owner[1], catchall=False)
    name, value = d["name"], "forward-email-site-verification=" + d["verification_record"]
    where = at(name, "/verify-records")

    got = said(api("GET", where, token=owner[1]), 400, "does not exist")
    assert value in got.json["message"] and "mx.demo.test" in got.json["message"]
    publish(name, "TXT", "forward-email-site-verification=wrong")
    said(api("GET", where, token=owner[1]), 400, "wrong")
    publish(name, "TXT", value)
    got = said(api("GET", where, token=owner[1]), 400, "keep only")
    assert api("GET", at(name), token=owner[1]).json["last_checked_at"] is not None

    d = create(owner[1], catchall=False)
    name, value = d["name"], "forward-email-site-verification=" + d["verification_record"]
    where = at(name, "/verify-records")
    publish(name, "TXT", value)
    said(api("GET", where, token=owner[1]), 400, "MX record is missing")
    seen = api("GET", at(name), token=owner[1]).json
    assert (seen["has_txt_record"], seen["has_mx_record"]) == (True, False)
    publish(name, "MX", "10 mx.demo.test.")
    publish(name, "TXT", "forward-email=jane@example.com")
    got = api("GET", where, token=owner[1])
    assert got.status == 200 and "verified" in got.text and "not used" in got.text, got
    seen = api("GET", at(name), token=owner[1]).json
    assert (seen["has_txt_record"], seen["has_mx_record"]) == (True, True)
    publish(name, "MX", "20 mx.outside.test.")
    said(api("GET", where, token=owner[1]), 400, "mx.outside.test")
    assert api("PUT", at(name), token=owner[1], json={"ignore_mx_check": True}).json["has_mx_record"] is True
    assert api("GET", where, token=owner[1]).status == 200


def test_a_domain_may_send_once_its_records_are_right(owner):
    d = create(owner[1], catchall=False)
    name, records, where = d["name"], d["smtp_dns_records"], at(d["name"], "/verify-smtp")

    got = said(api("GET", where, token=owner[1]), 400, "DKIM")
    for part in (records["dkim"]["name"] + "." + name, records["dkim"]["value"], "fe-bounces." + name, "CNAME", "_dmarc." + name, "v=DMARC1"):
        assert part in got.json["message"], part
    publish("_dmarc." + name, "TXT", "v=DMARC1; p=none; pct=50")
    publish(records["dkim"]["name"] + "." + name, "TXT", records["dkim"]["value"])
    publish("fe-bounces." + name, "CNAME", "demo.test.")
    got = said(api("GET", where, token=owner[1]), 400, "DMARC")
    assert "DKIM" not in got.json["message"] and "return path" not in got.json["message"]
    seen = api("GET", at(name), token=owner[1]).json
    assert (seen["has_dkim_record"], seen["has_return_path_record"], seen["has_dmarc_record"], seen["has_smtp"]) == (True, True, False, False)

    d = create(owner[1], catchall=False)
    name, records, where = d["name"], d["smtp_dns_records"], at(d["name"], "/verify-smtp")
    publish(records["dkim"]["name"] + "." + name, "TXT", records["dkim"]["value"])
    publish("fe-bounces." + name, "TXT", "v=spf1 include:demo.test -all")
    publish("_dmarc." + name, "TXT", records["dmarc"]["value"])
    got = api("GET", where, token=owner[1])
    assert got.status == 200 and got.headers["Content-Type"].startswith("text/plain"), got
    seen = api("GET", at(name), token=owner[1]).json
    assert seen["has_smtp"] is True and seen["smtp_verified_at"] is not None
    assert (seen["has_dkim_record"], seen["has_return_path_record"], seen["has_dmarc_record"]) == (True, True, True)
    publish(records["dkim"]["name"] + "." + name, "TXT", "v=DKIM1; k=rsa; p=AAAA")
    said(api("GET", where, token=owner[1]), 400, "more than once")
    seen = api("GET", at(name), token=owner[1]).json
    assert seen["has_smtp"] is True and seen["smtp_verified_at"] is None


@pytest.mark.parametrize("check", ["/verify-records", "/verify-smtp"])
def test_a_name_server_that_fails_changes_nothing(owner, check):
    """The test DNS refuses whatever is not below test."""
    d = api("POST", "/v1/domains", token=owner[1], json={"domain": unique("d") + ".example.com", "catchall": False}).json
    said(api("GET", at(d["name"], check), token=owner[1]), 408, "DNS")
    assert api("GET", at(d["name"]), token=owner[1]).json == d


def test_the_admin_of_the_installation_is_a_stranger_too(domain):
    assert api("GET", at(domain), token=ADMIN).status == 404
