"""rest.py - what the tests of the REST API share: the running suite, accounts, and api(), which checks every answer against the description.

The suite is one that scripts/up --detach left running; STATE_DIR says where. Every answer that api() gets is held against the served
/openapi.json: the route is described, its status is, and the body fits the schema. So each test checks the contract on its way.

    got = api("POST", "/v1/domains", token=admin(), json={"domain": "a.test"})
    assert got.status == 200 and got.json["name"] == "a.test"
"""
import base64
import functools
import http.client
import json as jsonlib
import os
import re
import subprocess
import urllib.parse
import uuid

import jsonschema

STATE = os.environ["STATE_DIR"]
TIMEOUT_S = 60


def read_env(path):
    """Variables that a shell sees after reading the file."""
    out = subprocess.run(["bash", "-c", 'set -a; . "$1"; env -0', "_", path], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    return dict(item.split("=", 1) for item in out.stdout.decode().split("\0") if item)


ENV = read_env(STATE + "/suite.env")
DAEMON_ENV = {**os.environ, **read_env(STATE + "/daemon.env")}
BIN = ENV["BUILD_DIR"] + "/bin/"
PORT = int(ENV["API_PORT"])
ADMIN = ENV["ADMIN_TOKEN"]          # of admin@demo.test, group admin: domains demo.test and bench.test are theirs
PASSWORD = ENV["FIXTURE_PASSWORD"]  # of u1@bench.test, u2@bench.test, ...


def fectl(*args, stdin=None):
    return subprocess.run([BIN + "fectl", *args], env=DAEMON_ENV, input=stdin, capture_output=True, text=True, check=True).stdout


def pid_of(daemon):
    """Of now: a test that killed it has written down the new one."""
    return int(read_env(STATE + "/suite.env")["PID_" + daemon])


# ---- accounts and names that no other test has -----------------------------------------------------------------------------

def unique(prefix="t"):
    return prefix + "-" + uuid.uuid4().hex[:12]


def new_user(admin=False):
    """(address, token) of a new account."""
    address = unique("user") + "@people.test"
    out = fectl("user", "add", address, *(["--admin"] if admin else []))
    return address, re.search(r"^api_token (\S+)$", out, re.M).group(1)


def new_domain(owner):
    """The name of a new domain that belongs to the account `owner` (address)."""
    name = unique("d") + ".test"
    fectl("domain", "add", name, "--user", owner)
    return name


def new_mailbox(domain="bench.test"):
    """The address of a new mailbox; its password is PASSWORD."""
    address = "%s@%s" % (unique("box"), domain)
    fectl("alias", "add", address, "--imap")
    fectl("alias", "password", address, "--password-stdin", stdin=PASSWORD + "\n")
    return address


# ---- requests ------------------------------------------------------------------------------------------------------------------

class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return jsonlib.loads(self.body)

    def __repr__(self):
        return "<%d %s>" % (self.status, self.body[:300])


def basic(user, password=""):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


def raw(method, path, headers=None, body=None, port=PORT):
    """A request as it is; nothing is checked."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        link.request(method, path, body=body, headers=headers or {})
        r = link.getresponse()
        return Answer(r.status, r.headers, r.read())
    finally:
        link.close()


def multipart(fields):
    mark = uuid.uuid4().hex
    parts = ["--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n" % (mark, k, v) for k, v in fields]
    return "multipart/form-data; boundary=" + mark, ("".join(parts) + "--%s--\r\n" % mark).encode()


def pairs(form):
    """{"a": ["x", "y"]} as browsers and curl send it: a[]=x&a[]=y."""
    items = form.items() if isinstance(form, dict) else form
    return [(k + "[]" if isinstance(v, list) else k, one) for k, v in items for one in (v if isinstance(v, list) else [v])]


def api(method, path, token=None, auth=None, json=None, form=None, fields=None, query=None, headers=None, port=PORT):
    """One request. token: an account's; auth: (address, password); json, form (urlencoded) or fields (multipart): the body. Path parameters come escaped
    (see quote)."""
    headers = dict(headers or {})
    body = None
    if query:
        path += "?" + urllib.parse.urlencode(pairs(query))
    if token is not None:
        headers["Authorization"] = basic(token)
    if auth is not None:
        headers["Authorization"] = basic(*auth)
    if json is not None:
        headers["Content-Type"], body = "application/json", jsonlib.dumps(json).encode()
    if form is not None:
        headers["Content-Type"], body = "application/x-www-form-urlencoded", urllib.parse.urlencode(pairs(form)).encode()
    if fields is not None:
        headers["Content-Type"], body = multipart(pairs(fields))
    got = raw(method, path, headers, body, port)
    check(method, path, got)
    return got


def quote(part):
    return urllib.parse.quote(part, safe="")


# ---- the contract ----------------------------------------------------------------------------------------------------------------

@functools.lru_cache(maxsize=None)
def description():
    got = raw("GET", "/openapi.json")
    assert got.status == 200, got
    return got.json


def fits(template, segments):
    want = template[1:].split("/")
    return len(want) == len(segments) and all(w.startswith("{") or w == urllib.parse.unquote(s) for w, s in zip(want, segments))


def described(method, path):
    """(template, operation) of the description for a request, or (None, None); a literal segment wins over a parameter."""
    segments = path.split("?")[0][1:].split("/")
    for template in sorted((t for t in description()["paths"] if fits(t, segments)), key=lambda t: [s.startswith("{") for s in t.split("/")]):
        operation = description()["paths"][template].get("get" if method == "HEAD" else method.lower())
        if operation:
            return template, operation
    return None, None


ERROR = {"$ref": "#/components/schemas/Error"}


def validate(value, schema):
    root = {**schema, "components": description()["components"]}
    jsonschema.Draft202012Validator(root, format_checker=jsonschema.FormatChecker()).validate(value)


def check(method, path, got):
    """Holds an answer against the description."""
    assert got.headers["X-Request-Id"] and got.headers["X-Response-Time"], "%s %s: headers of every answer" % (method, path)
    template, operation = described(method, path)
    kind = (got.headers["Content-Type"] or "").split(";")[0]
    what = "%s %s -> %r" % (method, template or path, got)
    if operation is None:
        assert got.status in (204, 301, 400, 403, 404, 429), what
        if got.status >= 400 and method != "HEAD":
            validate(got.json, ERROR)
        return
    assert str(got.status) in operation["responses"], what + ": this status is not described"
    if method == "HEAD" or got.status in (204, 304):
        assert got.body == b"", what
        return
    content = operation["responses"][str(got.status)].get("content", {})
    assert kind in content, what + ": this type is not described"
    if kind == "application/json":
        try:
            validate(got.json, content[kind]["schema"])
        except jsonschema.ValidationError as error:
            raise AssertionError("%s does not fit its schema at %s: %s" % (what, list(error.absolute_path), error.message)) from error
    if got.status >= 400:
        assert got.json["statusCode"] == got.status and " " in got.json["message"], what + ": no sentence for people"
