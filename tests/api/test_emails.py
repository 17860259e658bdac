"""/v1/emails: composed and raw messages into the queue, read back byte for byte by Python's parser; who may send as whom; lists, cancelling, limits."""
import base64
import datetime
import email
import email.policy
import email.utils
import http.client
import json
import queue
import subprocess
import time
import uuid

import pytest
from aiosmtpd.controller import Controller

import rest
from rest import ADMIN, ENV, PASSWORD, api, fectl, new_domain, new_mailbox, new_user, pid_of, raw, unique

WAIT_S = 20
MX_PORT = int(ENV["MX_PORT"])
FRIEND = "friend@outside.test"


class Sink:
    """Other people's mail server, at 127.0.0.2 on the port of our MX."""

    def __init__(self):
        self.mails = queue.Queue()
        self.server = Controller(self, hostname="127.0.0.2", port=MX_PORT, ident="outside", decode_data=False, enable_SMTPUTF8=True, data_size_limit=64 << 20)

    async def handle_DATA(self, server, session, envelope):
        self.mails.put(envelope)
        return "250 2.0.0 taken"

    def get(self, mark):
        until = time.monotonic() + WAIT_S
        while True:
            got = self.mails.get(timeout=max(0.1, until - time.monotonic()))
            if mark.encode() in got.content:
                return got


@pytest.fixture(scope="module")
def sink():
    s = Sink()
    s.server.start()
    yield s
    s.server.stop()


@pytest.fixture(scope="module")
def box():
    return new_mailbox()


@pytest.fixture(scope="module")
def sender(owner, domain):
    """An address of the account `owner`."""
    address = "jane@" + domain
    fectl("alias", "add", address, "--recipient", "x@outside.test")
    return address


def later(days=1):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parsed(got):
    assert got.status == 200, got
    text = got.json["message"].encode()
    assert b"\n" not in text.replace(b"\r\n", b"") and b"\r" not in text.replace(b"\r\n", b"")
    assert max(map(len, text.split(b"\r\n"))) <= 998
    return email.message_from_bytes(text, policy=email.policy.default)


def content(part):
    return part.get_content().replace("\r\n", "\n")


def send(box, **body):
    return api("POST", "/v1/emails", auth=(box, PASSWORD), json={"to": FRIEND, "date": later(), **body})


def until_status(token_or_auth, id, status):
    until = time.monotonic() + WAIT_S
    while True:
        got = api("GET", "/v1/emails/" + id, **token_or_auth).json
        if got["status"] == status:
            return got
        assert time.monotonic() < until, got
        time.sleep(0.1)


# ---- what goes in comes out -----------------------------------------------------------------------------------------------------

TEXTS = ["plain", "two\nlines\n", "ünïcödé 🎉\n" * 50, "x" * 5000, ".\n..\nFrom me\n", "a = b; c=\t\nblank at the end  \n", "日本語" * 1000, " \n\n \n"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("how", [None, "base64", "quoted-printable"])
def test_texts(box, text, how):
    m = parsed(send(box, text=text, html="<p>" + text, **({"textEncoding": how} if how else {})))
    got = [content(m.get_body((kind,))) for kind in ("plain", "html")]
    assert [g.rstrip("\n") for g in got] == [text.rstrip("\n"), "<p>" + text.rstrip("\n")]


NAMES = ["Jane Doe", "Doe, Jane \"J\" \\ (x)", "Jörg 🎈 Müller", "a.b@c", "=?utf-8?q?x?=", "名前" * 5]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_people(box, name):
    people = [{"name": name, "address": "a@outside.test"}, "plain@outside.test", {"name": name, "address": "b@outside.test"}]
    m = parsed(send(box, to=people, cc=people[0], replyTo=people, text="x", **{"from": {"name": name, "address": box}}))
    for field in ("From", "To", "Cc", "Reply-To"):
        assert name in [a.display_name for a in m[field].addresses], (field, m[field])
    assert [a.addr_spec for a in m["To"].addresses] == ["a@outside.test", "plain@outside.test", "b@outside.test"]


@pytest.mark.parametrize("subject", ["Hi", "Grüße 🎉 " * 30 + "x", "long " * 100 + "x", "=?utf-8?q?not_a_word?=", "tabs and  blanks"])
def test_subjects(box, subject):
    got = send(box, subject=subject, text="x")
    assert parsed(got)["Subject"] == subject
    assert got.json["subject"] == subject


FILES = ["a.txt", "weird \"quoted\" ; name.pdf", "übergröße 🎉.bin", "x" * 150 + ".dat", "100%*'.zip", "日本.txt"]


def test_attachments(box):
    files = {name: bytes(range(256)) * (i + 1) for i, name in enumerate(FILES)}
    m = parsed(send(box, text="see", html="<img src='cid:i@x'>", attachments=[
        *({"filename": n, "content": base64.b64encode(c).decode(), "encoding": "base64"} for n, c in files.items()),
        {"filename": "t.txt", "content": "grün\n", "contentType": "text/plain; charset=utf-8"},
        {"filename": "h.bin", "content": "00ff10", "encoding": "hex", "headers": {"X-Part": "ü"}},
        {"filename": "i.png", "content": "aGk=", "encoding": "base64", "cid": "i@x"}]))
    got = {a.get_filename(): a.get_payload(decode=True) for a in m.iter_attachments()}
    assert {n: got[n] for n in files} == files
    assert got["t.txt"] == "grün\n".encode() and got["h.bin"] == b"\x00\xff\x10"
    assert [p["X-Part"] for p in m.walk() if p["X-Part"]] == ["ü"]
    image = next(p for p in m.walk() if p["Content-ID"] == "<i@x>")
    assert image.get_content_type() == "image/png" and image.get_payload(decode=True) == b"hi" and image.get_content_disposition() == "inline"
    assert m.get_content_type() == "multipart/mixed"


def test_an_invitation_and_other_forms(box):
    m = parsed(send(box, text="t", html="h", amp="<html amp4email>", icalEvent={"method": "REQUEST", "content": "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"},
                    alternatives=[{"contentType": "text/x-web-markdown", "content": "**md**"}]))
    kinds = {p.get_content_type(): p for p in m.walk()}
    assert kinds["text/calendar"].get_param("method") == "REQUEST" and "VCALENDAR" in kinds["text/calendar"].get_content()
    assert kinds["text/x-web-markdown"].get_payload(decode=True) == b"**md**" and "text/x-amp-html" in kinds
    assert m.get_content_type() == "multipart/alternative"


def test_more_fields(box):
    got = send(box, text="x", priority="high", headers={"X-One": "1", "X-Two": "zwölf"}, messageId="<own@id.test>", inReplyTo="a@b.test",
               references=["<a@b.test>", "c@d.test"], list={"unsubscribe": ["https://x.test/u?a=1", "u@x.test"], "id": "list.x.test"}, sender=box,
               requireTLS="yes", dsn={"id": "abc", "return": "headers", "notify": ["failure", "delay"], "recipient": FRIEND})
    m = parsed(got)
    assert (m["X-One"], m["X-Two"], m["X-Priority"], m["Importance"]) == ("1", "zwölf", "1 (Highest)", "High")
    assert (m["Message-ID"], m["In-Reply-To"], m["References"]) == ("<own@id.test>", "<a@b.test>", "<a@b.test> <c@d.test>")
    assert m["List-Unsubscribe"] == "<https://x.test/u?a=1>, <mailto:u@x.test>" and m["List-ID"] == "<list.x.test>"
    assert got.json["messageId"] == "own@id.test" and got.json["headers"]["X-Two"] == "zwölf"


@pytest.mark.parametrize("how", ["json", "form", "fields"])
def test_all_forms_of_a_body(box, how):
    got = api("POST", "/v1/emails", auth=(box, PASSWORD), **{how: {"to": ["a@outside.test", "b@outside.test"], "subject": "Grüße", "text": "hällo\n", "date": later()}})
    m = parsed(got)
    assert m["Subject"] == "Grüße" and m["From"] == box and content(m) == "hällo\n"
    assert got.json["envelope"] == {"from": box, "to": ["a@outside.test", "b@outside.test"]}
    assert got.json["link"].endswith("/my-account/emails/" + got.json["id"]) and got.json["status"] == "queued"


def test_empty_values_are_absent(box):
    nothing = {k: "" for k in "cc bcc replyTo sender subject html inReplyTo references messageId priority encoding textEncoding headers".split()}
    for how in ("json", "form", "fields"):
        got = api("POST", "/v1/emails", auth=(box, PASSWORD), **{how: {"to": FRIEND, "from": box, "text": "x", "date": later(), **nothing}})
        assert not {"Cc", "Reply-To", "Sender", "In-Reply-To", "References", "X-Priority"} & set(parsed(got).keys())
    got = send(box, text="x", date="", cc=[], bcc=None, attachments=[], headers={}, references=[], html=None)
    assert got.status == 200 and got.json["envelope"]["to"] == [FRIEND]


# ---- files as multipart -----------------------------------------------------------------------------------------------------------

def upload(box, files, fields=()):
    """files: (field, name, bytes)."""
    mark = uuid.uuid4().hex
    parts = [b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (mark.encode(), k.encode(), v.encode()) for k, v in fields]
    parts += [b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: application/x-thing\r\n\r\n%s\r\n' %
              (mark.encode(), k.encode(), n.encode(), c) for k, n, c in files]
    body = b"".join(parts) + b"--%s--\r\n" % mark.encode()
    got = raw("POST", "/v1/emails", {"Authorization": rest.basic(box, PASSWORD), "Content-Type": "multipart/form-data; boundary=" + mark}, body)
    rest.check("POST", "/v1/emails", got)
    return got


FIELDS = [("to", FRIEND), ("subject", "files"), ("text", "hi"), ("date", later())]


def test_uploaded_files(box):
    tricky = b"\r\n--" + b"x" * 32 + b"\r\n--\r\n" + bytes(range(256)) * 600
    m = parsed(upload(box, [("attachment", "one ü.bin", tricky), ("attachments", "two.bin", b""), ("attachments", "three.bin", b"\r\n")], FIELDS))
    assert {a.get_filename(): a.get_payload(decode=True) for a in m.iter_attachments()} == {"one ü.bin": tricky, "two.bin": b"", "three.bin": b"\r\n"}
    assert all(a.get_content_type() == "application/x-thing" for a in m.iter_attachments()) and m["Subject"] == "files"


def test_bad_uploads(box):
    assert upload(box, [("picture", "a", b"x")], FIELDS).status == 400
    assert upload(box, [("attachment", "a", b"x"), ("attachment", "b", b"x")], FIELDS).status == 400
    assert upload(box, [("attachments", "%d" % i, b"x") for i in range(60)], FIELDS).status == 400


def rss_kb(field):
    with open("/proc/%d/status" % pid_of("api")) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def forget_peak():
    with open("/proc/%d/clear_refs" % pid_of("api"), "w") as f:
        f.write("5")


def test_a_large_file_in_flat_memory(box):
    content = uuid.uuid4().bytes * ((36 << 20) // 16)
    api("GET", "/v1/emails", auth=(box, PASSWORD))        # the first login's Argon2id takes 19 MiB of its own
    forget_peak()
    before = rss_kb("VmRSS")
    got = upload(box, [("attachment", "large.bin", content)], FIELDS)
    assert got.status == 200 and rss_kb("VmHWM") - before < 12 << 10, rss_kb("VmHWM") - before
    m = email.message_from_bytes(got.json["message"].encode())
    assert next(p for p in m.walk() if p.get_filename() == "large.bin").get_payload(decode=True) == content
    again = api("GET", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD))
    assert again.json["message"] == got.json["message"] and rss_kb("VmHWM") - before < 12 << 10
    same = api("GET", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD), headers={"If-None-Match": again.headers["ETag"]})
    assert same.status == 304
    assert api("DELETE", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD)).json["status"] == "rejected"


def test_a_large_json_body_in_three_times_its_size(box):
    content = base64.b64encode(b"\0" * (36 << 20)).decode()
    api("GET", "/v1/emails", auth=(box, PASSWORD))
    forget_peak()
    before = rss_kb("VmRSS")
    got = send(box, attachments=[{"filename": "z", "content": content, "encoding": "base64"}])
    assert got.status == 200 and rss_kb("VmHWM") - before < 3 * (len(content) >> 10) + (8 << 10), rss_kb("VmHWM") - before
    api("DELETE", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD))


def test_what_is_too_large(box):
    assert upload(box, [("attachment", "a", b"x" * (40 << 20))], FIELDS).status == 413
    out = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", box + ":" + PASSWORD, "-H", "Content-Type: application/json", "--data-binary", "@-",
                          "http://127.0.0.1:%d/v1/emails" % rest.PORT], input=json.dumps({"to": FRIEND, "text": "x" * (52 << 20)}).encode(), capture_output=True)
    assert out.stdout == b"413"


# ---- raw -----------------------------------------------------------------------------------------------------------------------

def test_raw(box):
    text = "From: Jöhn 🎉 <%s>\nTo: %s\nBcc: secret@outside.test\nSubject: Grüße\nDate: Tue, 1 Dec 2020 00:00:00 +0000\n\nbödy\r\nx\n" % (box, FRIEND)
    got = send(box, raw=text)
    m = parsed(got)
    assert m["From"].addresses[0].display_name == "Jöhn 🎉" and m["Subject"] == "Grüße" and m["Bcc"] is None and m["Message-ID"]
    assert got.json["envelope"]["to"] == [FRIEND, "secret@outside.test"]
    assert got.json["message"].endswith("\r\n\r\nbödy\r\nx\r\n")
    assert parsed(send(box, raw={"content": base64.b64encode(text.encode()).decode(), "encoding": "base64"}))["Subject"] == "Grüße"


def test_a_long_text_read_back(box):
    text = "éß日🎉\"\\\t" * 80 + "\r\n"
    body = text * 400
    id = send(box, raw="From: %s\r\nTo: %s\r\n\r\n%s" % (box, FRIEND, body)).json["id"]
    assert api("GET", "/v1/emails/" + id, auth=(box, PASSWORD)).json["message"].split("\r\n\r\n", 1)[1] == body
    broken = {"content": base64.b64encode(b"From: %s\r\nTo: a@b.test\r\n\r\n" % box.encode() + b"\xff\xc3\x00\x01\r\n" * 100000).decode(), "encoding": "base64"}
    assert send(box, raw=broken).json["message"].endswith("\ufffd\ufffd\0\1\r\n")


@pytest.mark.parametrize("text", ["", "no header", "\n\nx", "From: %s\n\nnobody to send to", "From: a@b.test\nFrom: %s\nTo: x@outside.test\n\n",
                                  "From: %s\nTo: not an address\n\n", "From: %s\nTo: x@outside.test\nSubject: a\rb\n\n"])
def test_bad_raw(box, text):
    assert send(box, raw=text.replace("%s", box)).status == 400


def test_delivered(sink, box):
    mark = unique("mark")
    got = api("POST", "/v1/emails", auth=(box, PASSWORD), json={"to": FRIEND, "subject": mark, "text": "delivered ✓", "bcc": "hidden@outside.test"})
    assert got.status == 200
    arrived = sink.get(mark)
    assert sorted(arrived.rcpt_tos) == [FRIEND, "hidden@outside.test"]
    m = email.message_from_bytes(arrived.content, policy=email.policy.default)
    assert m["DKIM-Signature"] and m["Bcc"] is None and m.get_content().strip() == "delivered ✓"
    done = until_status({"auth": (box, PASSWORD)}, got.json["id"], "sent")
    assert sorted(done["accepted"]) == [FRIEND, "hidden@outside.test"]
    assert api("DELETE", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD)).status == 400


# ---- who may ---------------------------------------------------------------------------------------------------------------------

def test_without_credentials():
    assert api("POST", "/v1/emails", json={"to": FRIEND}).status == 401
    assert api("GET", "/v1/emails").status == 401


def test_an_account_sends_as_its_aliases(owner, sender, domain):
    body = {"from": "Jane <%s>" % sender.replace("@", "+tag@"), "to": FRIEND, "text": "x", "date": later()}
    got = api("POST", "/v1/emails", token=owner[1], json=body)
    assert got.status == 200 and got.json["envelope"]["from"] == sender.replace("@", "+tag@")
    assert api("POST", "/v1/emails", token=owner[1], json={**body, "from": "nobody@" + domain}).status == 400
    assert api("POST", "/v1/emails", token=owner[1], json={**body, "from": ""}).status == 400
    assert api("POST", "/v1/emails", token=owner[1], json={**body, "from": "u1@bench.test"}).status == 403
    assert api("POST", "/v1/emails", token=owner[1], json={**body, "from": "a@nowhere.test"}).status == 403


def test_a_mailbox_sends_as_itself(box):
    assert send(box, text="x", **{"from": "u1@bench.test"}).status == 403
    assert send(box, raw="From: u1@bench.test\nTo: %s\n\n" % FRIEND).status == 403


def test_a_member_who_is_no_administrator(owner, domain, sender):
    address, token = new_user()
    fectl("domain", "member", domain, "--user", address)
    theirs = unique("member") + "@" + domain
    assert api("POST", "/v1/domains/%s/aliases" % domain, token=token, json={"name": theirs.split("@")[0], "recipients": ["x@outside.test"]}).status == 200
    mine = api("POST", "/v1/emails", token=token, json={"from": theirs, "to": FRIEND, "text": "x", "date": later()})
    assert mine.status == 200
    assert api("POST", "/v1/emails", token=token, json={"from": sender, "to": FRIEND, "text": "x"}).status == 403
    assert api("POST", "/v1/emails", token=token, json={"from": "nobody@" + domain, "to": FRIEND, "text": "x"}).status == 403
    for query in ({}, {"domain": domain}):
        assert [e["id"] for e in api("GET", "/v1/emails", token=token, query=query).json] == [mine.json["id"]]
    assert mine.json["id"] in [e["id"] for e in api("GET", "/v1/emails", token=owner[1], query={"limit": 100}).json]
    assert api("GET", "/v1/emails/" + mine.json["id"], token=owner[1]).status == 200


def test_a_switched_off_alias(owner, domain):
    address = "off@" + domain
    fectl("alias", "add", address, "--recipient", "x@outside.test")
    assert api("PUT", "/v1/domains/%s/aliases/off" % domain, token=owner[1], json={"is_enabled": False}).status == 200
    assert api("POST", "/v1/emails", token=owner[1], json={"from": address, "to": FRIEND, "text": "x"}).status == 400


def test_a_catch_all_password_sends_as_anybody_and_reads_nothing(owner, sender, domain):
    made = api("POST", "/v1/domains/%s/catch-all-passwords" % domain, token=owner[1]).json
    for user in ("*@" + domain, "anything@" + domain):
        auth = (user, made["password"])
        got = api("POST", "/v1/emails", auth=auth, json={"from": "Whoever <whoever@%s>" % domain, "to": FRIEND, "text": "x", "date": later()})
        assert got.status == 200 and "alias" not in got.json and got.json["envelope"]["from"] == "whoever@" + domain
        assert api("POST", "/v1/emails", auth=auth, json={"from": "u1@bench.test", "to": FRIEND}).status == 403
        assert api("GET", "/v1/emails", auth=auth).status == 401
        assert api("GET", "/v1/emails/" + got.json["id"], auth=auth).status == 401
        assert api("DELETE", "/v1/emails/" + got.json["id"], auth=auth).status == 401
    assert api("POST", "/v1/emails", auth=("*@" + domain, made["password"]), json={"to": FRIEND, "text": "x"}).status == 400
    got = api("POST", "/v1/emails", auth=("some@" + domain, made["password"]), json={"to": FRIEND, "text": "x", "date": later()})
    assert got.status == 200 and got.json["envelope"]["from"] == "some@" + domain
    assert api("GET", "/v1/emails/" + got.json["id"], token=owner[1]).status == 200


def test_a_domain_that_may_not_send(owner):
    name = api("POST", "/v1/domains", token=owner[1], json={"domain": unique("mute") + ".test"}).json["name"]
    assert api("POST", "/v1/emails", token=owner[1], json={"from": "a@" + name, "to": FRIEND, "text": "x"}).status == 403


def test_pictures_in_the_text_become_parts(box):
    picture = base64.b64encode(b"GIF89a...").decode()
    html = '<img src="data:image/gif;base64,%s"><img src=\'data:image/png;base64,%s\'><a href="data:text/html,x">' % (picture, picture)
    m = parsed(send(box, html=html, attachDataUrls=True))
    parts = [p for p in m.walk() if p["Content-ID"]]
    assert [p.get_content_type() for p in parts] == ["image/gif", "image/png"] and all(p.get_payload(decode=True) == b"GIF89a..." for p in parts)
    text = m.get_body(("html",)).get_content()
    assert all("cid:" + p["Content-ID"][1:-1] in text for p in parts) and "base64" not in text and "data:text/html,x" in text
    assert "base64," in parsed(send(box, html=html)).get_body(("html",)).get_content()


@pytest.mark.parametrize("body", [
    {"to": ""}, {"to": "not an address"}, {"to": ["a@b.test"] * 2 + ["%d@b.test" % i for i in range(50)]}, {"to": "no-reply@outside.test"},
    {"to": "a@b.test\r\nBcc: x@y.test"}, {"subject": "a\r\nBcc: x@y.test"}, {"headers": {"X-A": "b\nBcc: c"}}, {"headers": {"X A": "b"}}, {"headers": {"From": "x@y.test"}},
    {"headers": {"Content-Type": "text/html"}}, {"attachments": "x"}, {"attachments": [{"path": "/etc/passwd"}]}, {"attachments": [{"filename": "x"}]},
    {"attachments": [{"content": {"href": "http://127.0.0.1/"}}]}, {"attachments": [{"content": "!!", "encoding": "base64"}]}, {"html": {"path": "/etc/passwd"}},
    {"attachments": [{"content": "x", "cid": "a\r\nb"}]}, {"date": later(31)}, {"date": "tomorrow"}, {"priority": "urgent"}, {"messageId": "<a> <b>\n"},
    {"attachments": [{"content": "x", "headers": {"Content-Type": "text/html"}}]}, {"attachments": [{"content": "x", "headers": {"X": "a\nb"}}]}, {"dsn": {"recipient": "a b"}},
    {"attachments": [{"content": "x", "contentType": "a/b\r\nX: y", "filename": "a\r\nb"}]}, {"list": {"unsubscribe": "a b"}}, {"dsn": {"notify": "sometimes"}}, {"icalEvent": {"method": "a\r\nb", "content": "x"}}, {"from": "a@b.test, c@d.test"}, {"raw": 7},
])
def test_what_is_refused(box, body):
    assert send(box, **{"text": "x", **body}).status == 400


def test_the_body_is_an_object(box):
    assert api("POST", "/v1/emails", auth=(box, PASSWORD), json=[1]).status == 400
    assert raw("POST", "/v1/emails", {"Authorization": rest.basic(box, PASSWORD), "Content-Type": "application/json"}, b"{").status == 400


def test_the_same_message_twice(box):
    body = {"text": "x", "messageId": unique("id") + "@x.test", "date": later()}
    assert send(box, **body).status == 200
    assert send(box, **body).status == 400
    assert send(box, **{**body, "to": "else@outside.test"}).status == 200
    text = "From: %s\nTo: %s\nMessage-ID: <%s@x.test>\nDate: Tue, 1 Dec 2020 00:00:00 +0000\n\nx" % (box, FRIEND, unique("id"))
    assert [send(box, raw=text).status for _ in range(2)] == [200, 400]


# ---- lists, cancelling, allowance -------------------------------------------------------------------------------------------------

def test_each_sees_its_own(owner, sender, box):
    mine, theirs = send(box, text="x").json["id"], api("POST", "/v1/emails", token=owner[1], json={"from": sender, "to": FRIEND, "date": later()}).json["id"]
    other = new_mailbox()
    for id, how in ((theirs, {"auth": (box, PASSWORD)}), (mine, {"auth": (other, PASSWORD)}), (mine, {"token": owner[1]}), ("0" * 24, {"token": ADMIN}), ("x", {"token": ADMIN})):
        assert api("GET", "/v1/emails/" + id, **how).status == 404
        assert api("DELETE", "/v1/emails/" + id, **how).status == 404
    assert api("GET", "/v1/emails", auth=(other, PASSWORD)).json == []
    assert {e["envelope"]["from"] for e in api("GET", "/v1/emails", auth=(box, PASSWORD)).json} == {box}
    assert mine in [e["id"] for e in api("GET", "/v1/emails", token=ADMIN, query={"domain": "bench.test", "sort": "-created_at"}).json]
    assert api("GET", "/v1/emails", token=owner[1], query={"domain": "bench.test"}).status == 404
    assert theirs in [e["id"] for e in api("GET", "/v1/emails", token=owner[1], query={"sort": "-id", "limit": 100}).json]


def test_pages_and_words():
    mine, mark = new_mailbox(), unique("word")
    ids = [send(mine, subject="%s %d" % (mark, i), text="x").json["id"] for i in range(3)]
    got = api("GET", "/v1/emails", auth=(mine, PASSWORD), query={"limit": 2})
    assert [e["id"] for e in got.json] == ids[:2] and got.headers["X-Item-Count"] == "3" and got.headers["X-Page-Count"] == "2"
    assert not {"message", "headers", "accepted", "rejectedErrors"} & set(got.json[0])
    assert [e["id"] for e in api("GET", "/v1/emails", auth=(mine, PASSWORD), query={"sort": "-subject"}).json] == ids[::-1]
    for q in (mark.upper() + " 1", ids[1] and got.json[1]["messageId"]):
        assert [e["id"] for e in api("GET", "/v1/emails", auth=(mine, PASSWORD), query={"q": q}).json] == [ids[1]]
    assert [e["id"] for e in api("GET", "/v1/emails", token=ADMIN, query={"q": mark + " 2"}).json] == [ids[2]]
    assert len(api("GET", "/v1/emails", auth=(mine, PASSWORD), query={"is_scheduled": "true"}).json) == 3
    assert api("GET", "/v1/emails", auth=(mine, PASSWORD), query={"is_scheduled": "false"}).json == []


def test_a_scheduled_message_is_cancelled(box):
    id = send(box, text="x").json["id"]
    got = api("DELETE", "/v1/emails/" + id, auth=(box, PASSWORD), json={})
    assert got.status == 200 and got.json["status"] == "rejected" and got.json["accepted"] == []
    assert api("DELETE", "/v1/emails/" + id, auth=(box, PASSWORD)).status == 400


def test_the_daily_limit():
    from test_limits import Server
    address, token = new_user()
    domain = new_domain(address)
    fectl("alias", "add", "a@" + domain, "--recipient", "x@outside.test")
    server = Server(SMTP_LIMIT_MESSAGES="2")
    try:
        body = {"from": "a@" + domain, "to": FRIEND, "text": "x", "date": later()}
        assert api("GET", "/v1/emails/limit", token=token, port=server.port).json == {"count": 0, "limit": 2}
        assert [api("POST", "/v1/emails", token=token, json=body, port=server.port).status for _ in range(3)] == [200, 200, 429]
        got = api("POST", "/v1/emails", token=token, json=body, port=server.port)
        assert 0 < int(got.headers["Retry-After"]) <= 86400
        assert api("GET", "/v1/emails/limit", token=token, port=server.port).json["limit"] == 2
        for _ in range(4):                   # an administrator's domain has none
            assert api("POST", "/v1/emails", token=ADMIN, json={**body, "from": "hello@demo.test"}, port=server.port).status == 200
    finally:
        server.end()


def test_one_count_for_submission_and_this(owner, domain):
    import smtplib
    import ssl
    address = "counted@" + domain
    fectl("alias", "add", address, "--imap")
    fectl("alias", "password", address, "--password-stdin", stdin=PASSWORD + "\n")
    context = ssl.create_default_context(cafile=rest.STATE + "/tls.crt")
    context.check_hostname = False
    before = api("GET", "/v1/emails/limit", token=owner[1]).json["count"]
    with smtplib.SMTP_SSL("127.0.0.1", int(ENV["SMTPS_PORT"]), context=context) as s:
        s.login(address, PASSWORD)
        s.sendmail(address, ["a@outside.test", "b@outside.test"], "From: %s\nDate: %s\n\nx" % (address, email.utils.format_datetime(datetime.datetime.now() + datetime.timedelta(2))))
    assert send(address, text="x").status == 200
    for how in ({"token": owner[1]}, {"auth": (address, PASSWORD)}):
        assert api("GET", "/v1/emails/limit", **how).json == {"count": before + 2, "limit": 300}


def test_a_reader_who_goes_away(box):
    got = send(box, attachments=[{"filename": "z", "content": "A" * (8 << 20), "encoding": "base64"}])
    for _ in range(3):
        link = http.client.HTTPConnection("127.0.0.1", rest.PORT)
        link.request("GET", "/v1/emails/" + got.json["id"], headers={"Authorization": rest.basic(box, PASSWORD)})
        assert link.sock.recv(1000).startswith(b"HTTP/1.1 200")
        link.close()
    assert api("HEAD", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD)).status == 200
    assert len(api("DELETE", "/v1/emails/" + got.json["id"], auth=(box, PASSWORD)).json["message"]) > 8 << 20
