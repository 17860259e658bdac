"""What every route shares: who may call, forms of bodies and their limits, headers, CORS, pages' links, ETags, odd requests."""
import gzip
import json
import re
import socket
import threading

import pytest

from rest import ADMIN, ENV, PASSWORD, PORT, api, basic, check, new_mailbox, pid_of, raw, unique


def whole(request, pieces=1):
    """The raw answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=60) as s:
        for i in range(pieces):
            s.sendall(request[i * len(request) // pieces:(i + 1) * len(request) // pieces])
        out = b""
        while b"\r\n\r\n" not in out:
            got = s.recv(65536)
            if not got:
                break
            out += got
        return out


# ---- who -------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("authorization", [None, "", "Basic", "Basic !!", "Basic " + "A" * 4000, basic(""), basic("", "x"), basic("wrong"), "Bearer x",
                                           "Basic AAAA", "Basic /////w=="])
def test_without_an_account_nothing_opens(authorization):
    got = api("GET", "/v1/account", headers={"Authorization": authorization} if authorization is not None else {})
    assert got.status == 401
    assert got.json["statusCode"] == 401 and got.json["error"] == "Unauthorized" and " " in got.json["message"]


def test_schemes_are_case_insensitive():
    assert api("GET", "/v1/account", headers={"Authorization": basic(ADMIN).replace("Basic", "bAsIc")}).status == 200


# ---- paths -------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method,path", [("GET", "/v2"), ("GET", "/v1/nothing"), ("PATCH", "/v1/account"), ("GET", "/v1//account"), ("GET", "/v1/acc%"),
                                         ("GET", "/v1/account%00"), ("GET", "/v1/../v1/account"), ("OPTIONS", "/v1/account"), ("POST", "/")])
def test_what_is_not_there(method, path):
    assert api(method, path).status == 404


def test_a_slash_too_many_is_taken_off():
    got = api("GET", "/v1/account/?a=b")
    assert got.status == 301 and got.headers["Location"] == "/v1/account?a=b"
    for path in ("//evil.test/", "/\\evil.test/"):
        assert api("GET", path).headers["Location"] is None


def test_health_and_head():
    assert api("GET", "/").text == "OK"
    got = api("HEAD", "/")
    assert got.status == 200 and got.headers["Content-Length"] == "2"
    assert api("HEAD", "/v1/account").status == 401


def test_an_address_for_testing():
    assert api("GET", "/v1/test", query={"label": "My Label!"}).text.startswith("my-label+")
    assert "+" in api("GET", "/v1/test").text


# ---- bodies -------------------------------------------------------------------------------------------------------------------

BAD_JSON = [b"{", b"[]", b"1", b"null", b'{"a":1,"a":2}', b'{"a":"\\u0000"}', b'{"a":"\xff"}', b"[" * 100000, b'{"a":' * 200 + b"1" + b"}" * 200, b"{} {}",
            b'{"a":1e999}', b"\xef\xbb\xbf{}"]


@pytest.mark.parametrize("body", BAD_JSON)
def test_bad_json_is_a_400(body):
    got = raw("PUT", "/v1/account", {"Authorization": basic(ADMIN), "Content-Type": "application/json"}, body)
    check("PUT", "/v1/account", got)
    assert got.status == 400


@pytest.mark.parametrize("body", ["a=%", "a=%00", "a=%ff", "a[b]=1&a=2", "&".join("k%d=1" % i for i in range(1001)), "&".join("a[]=1" for i in range(1001)),
                                  "a" * 600 + "=1"])
def test_bad_forms_are_a_400(body):
    got = raw("PUT", "/v1/account", {"Authorization": basic(ADMIN), "Content-Type": "application/x-www-form-urlencoded"}, body)
    check("PUT", "/v1/account", got)
    assert got.status == 400


@pytest.mark.parametrize("kind,body", [("multipart/form-data", b"--\r\n"), ("multipart/form-data; boundary=", b"x"), ("multipart/form-data; boundary=x", b"--x"),
                                       ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="f"; filename="g"\r\n\r\n1\r\n--x--')])
def test_bad_multipart_is_a_400(kind, body):
    got = raw("PUT", "/v1/account", {"Authorization": basic(ADMIN), "Content-Type": kind}, body)
    check("PUT", "/v1/account", got)
    assert got.status == 400


def test_other_types_are_a_415():
    got = raw("PUT", "/v1/account", {"Authorization": basic(ADMIN), "Content-Type": "text/xml"}, b"<a/>")
    check("PUT", "/v1/account", got)
    assert got.status == 415


def test_clients_that_always_say_json(owner):
    """The webmail sends Content-Type: application/json with every request."""
    got = raw("GET", "/v1/account", {"Authorization": basic(owner[1]), "Content-Type": "application/json"})
    assert got.status == 200
    assert raw("PUT", "/v1/account", {"Authorization": basic(owner[1]), "Content-Type": "application/json; charset=utf-8"}, b"").status == 200


def test_a_malformed_query_is_a_400():
    for query in ("a=%", "a=%00", "a=%ff", "a[b]=1&a=2"):
        assert api("GET", "/v1/account?" + query, token=ADMIN).status == 400


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(chunked):
    size = (1 << 20) + 1
    head = "PUT /v1/account HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nContent-Type: application/json\r\n" % basic(ADMIN)
    if chunked:
        body = b'{"a":"' + b"x" * size + b'"}'
        request = (head + "Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)).encode() + body + b"\r\n0\r\n\r\n"
    else:
        request = (head + "Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % size).encode()
    got = whole(request)
    assert got.startswith(b"HTTP/1.1 413 "), got[:100]
    assert b'"statusCode":413' in got


def test_a_body_that_ends_early_leaves_the_server_alone():
    head = "PUT /v1/account HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{" % basic(ADMIN)
    with socket.create_connection(("127.0.0.1", PORT), timeout=60) as s:
        s.sendall(head.encode())
    assert api("GET", "/").status == 200


def test_a_request_may_come_in_any_pieces(owner):
    body = b'{"given_name":"Piece"}'
    request = ("PUT /v1/account HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
               % (basic(owner[1]), len(body))).encode() + body
    assert whole(request, pieces=len(request)).startswith(b"HTTP/1.1 200 ")


# ---- headers -------------------------------------------------------------------------------------------------------------------

def test_a_request_id_is_echoed_or_made():
    assert api("GET", "/", headers={"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"
    for odd in ("x" * 65, "a b", "é".encode(), "<script>"):
        made = api("GET", "/", headers={"X-Request-Id": odd}).headers["X-Request-Id"]
        assert made and made != odd
    assert api("GET", "/").headers["X-Robots-Tag"] == "none"


def test_cors():
    got = api("GET", "/v1/account", headers={"Origin": "https://mail.example.test"})
    assert got.status == 401
    assert got.headers["Access-Control-Allow-Origin"] == "https://mail.example.test" and got.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in got.headers
    for name in ("X-Page-Count", "X-Item-Count", "X-RateLimit-Remaining", "Retry-After", "ETag", "Link"):
        assert name in got.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in api("GET", "/").headers and api("GET", "/").headers["Vary"] == "Origin"


def test_preflight():
    got = api("OPTIONS", "/v1/domains", headers={"Origin": "https://a.test", "Access-Control-Request-Method": "PUT",
                                                 "Access-Control-Request-Headers": "authorization,content-type"})
    assert got.status == 204
    assert got.headers["Access-Control-Allow-Methods"] == "GET,HEAD,PUT,POST,DELETE,PATCH"
    assert got.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    assert int(got.headers["Access-Control-Max-Age"]) >= 600


def test_etag(owner):
    first = api("GET", "/v1/account", token=owner[1])
    tag = first.headers["ETag"]
    for known in (tag, '"x", ' + tag, tag.removeprefix("W/"), "*"):
        got = api("GET", "/v1/account", token=owner[1], headers={"If-None-Match": known})
        assert got.status == 304 and got.body == b"" and got.headers["ETag"] == tag
    assert api("GET", "/v1/account", token=owner[1], headers={"If-None-Match": '"x"'}).status == 200
    assert api("PUT", "/v1/account", token=owner[1], json={"given_name": unique()}).status == 200
    assert api("GET", "/v1/account", token=owner[1], headers={"If-None-Match": tag}).status == 200


def test_pretty_and_compressed():
    assert b"\n" in api("GET", "/v1/account?pretty=true", token=ADMIN).body
    assert b"\n" not in api("GET", "/v1/account", token=ADMIN).body
    got = raw("GET", "/openapi.json", {"Accept-Encoding": "gzip"})
    assert got.headers["Content-Encoding"] == "gzip" and json.loads(gzip.decompress(got.body))["openapi"]
    assert raw("GET", "/openapi.json", {"Accept-Encoding": "gzip", "If-None-Match": got.headers["ETag"]}).status == 304


def test_limits_are_told(owner):
    got = api("GET", "/v1/account", token=owner[1])
    assert int(got.headers["X-RateLimit-Limit"]) > int(got.headers["X-RateLimit-Remaining"]) >= 0
    assert int(got.headers["X-RateLimit-Reset"]) > 1_000_000_000


# ---- pages ----------------------------------------------------------------------------------------------------------------------

def links(got):
    return {m[2]: m[1] for m in re.finditer(r'<([^<>"]*)>; rel="(\w+)"', got.headers["Link"] or "")}


def test_pages_are_walked_by_their_links(owner, domain):
    for i in range(5):
        assert api("POST", "/v1/domains/%s/aliases" % domain, token=owner[1], form={"name": "page%d" % i}).status == 200
    first = api("GET", "/v1/domains/%s/aliases" % domain, token=owner[1], query={"name": "page", "limit": 2, "sort": "name"})
    assert [first.headers["X-" + h] for h in ("Page-Count", "Page-Current", "Page-Size", "Item-Count")] == ["3", "1", "2", "5"]
    assert set(links(first)) == {"next", "last", "first"}
    names, got = [], first
    while True:
        names += [a["name"] for a in got.json]
        if "next" not in links(got):
            break
        assert links(got)["next"].startswith(ENV["API_URL"] + "/v1/domains/")
        got = api("GET", links(got)["next"].removeprefix(ENV["API_URL"]), token=owner[1])
    assert names == ["page%d" % i for i in range(5)] and got.headers["X-Page-Size"] == "1"
    assert set(links(got)) == {"prev", "last", "first"}
    far = api("GET", "/v1/domains/%s/aliases?page=99&limit=2&name=page" % domain, token=owner[1])
    assert far.json == [] and far.headers["X-Item-Count"] == "5" and "page=3&" in links(far)["prev"]


@pytest.mark.parametrize("page,limit", [("0", "0"), ("-1", "-1"), ("x", "y"), ("", ""), ("99999999999999999999", "99999999999999999999"), ("1.5", "1e3")])
def test_odd_pages(owner, page, limit):
    assert api("GET", "/v1/domains", token=owner[1], query={"page": page, "limit": limit, "sort": "-nonsense"}).status == 200


def test_a_link_cannot_be_broken_out_of(owner, domain):
    got = api("GET", "/v1/domains/%s/aliases?limit=1&x=%%3E&y=>;rel=\"next\"<" % domain, token=owner[1])
    assert set(links(got)) <= {"next", "last", "first"} and "y=%3E;rel=%22next%22%3C" in got.headers["Link"]


# ---- large bodies ---------------------------------------------------------------------------------------------------------------

def memory_kb(field):
    with open("/proc/%d/status" % pid_of("api")) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def test_two_large_bodies_at_once_the_others_wait():
    """Six of 8 MB, nothing to send in them: memory holds two, each as text and as values."""
    box, codes = new_mailbox(), []
    body = json.dumps({"subject": "x" * (8 << 20)}).encode()
    assert api("GET", "/v1/account", auth=(box, PASSWORD)).status == 200

    def work():
        got = raw("POST", "/v1/emails", {"Authorization": basic(box, PASSWORD), "Content-Type": "application/json"}, body)
        check("POST", "/v1/emails", got)
        codes.append(got.status)

    with open("/proc/%d/clear_refs" % pid_of("api"), "w") as f:
        f.write("5")
    before = memory_kb("VmRSS")
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert codes == [400] * 6
    assert memory_kb("VmHWM") - before < 2 * 3 * (8 << 10) + (12 << 10), memory_kb("VmHWM") - before


# ---- many at once --------------------------------------------------------------------------------------------------------------

def test_many_at_once():
    box, wrong = new_mailbox(), []

    def work(n):
        for _ in range(20):
            got = api("GET", "/v1/account", auth=(box, PASSWORD)) if n % 2 else api("GET", "/v1/account", token=ADMIN)
            if got.status != 200:
                wrong.append(got)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
