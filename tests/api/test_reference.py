"""The examples of docs/api.md, run in their order; and no endpoint without one."""
import datetime
import os
import re
import subprocess

from rest import ENV, PASSWORD, api, new_user, unique

PAGE = os.path.join(os.path.dirname(__file__), "../../docs/api.md")


def examples():
    """[(shell text, status or None)] in order."""
    out = []
    for line in open(PAGE):
        if line.startswith("    "):
            text, _, status = line.strip().rpartition("# ")
            out.append((text.strip() or line.strip(), int(status) if text else None))
    return out


class Shell:
    """One bash for all of them, so that variables live on."""

    def __init__(self, env):
        self.process = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})

    def run(self, text):
        self.process.stdin.write(text + "\necho\necho '=== end'\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) and line != "=== end\n":
            lines.append(line)
        return "".join(lines).strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def test_every_example():
    _, token = new_user()
    friend_address, friend = new_user()
    tomorrow = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S +0000")
    shell = Shell({"API_URL": ENV["API_URL"], "TOKEN": token, "DOMAIN": unique("ref") + ".test", "FRIEND": friend, "FRIEND_ADDRESS": friend_address, "SENDER": "u1@bench.test", "SENDER_PASSWORD": PASSWORD,
                   "TOMORROW": tomorrow})
    try:
        for text, status in examples():
            if status is None:
                name = text.split("=", 1)[0]
                got = shell.run(text.replace("curl ", "curl -sS ") + '\necho "$%s"' % name)
                assert got and got != "null", text
            else:
                got = shell.run(text + " -sS -w '\\n%{http_code}'").splitlines()
                assert got and got[-1] == str(status), "%s\ngave %s" % (text, "\n".join(got)[:600])
    finally:
        shell.close()


def test_every_endpoint_has_one():
    paths = api("GET", "/openapi.json").json["paths"]
    shown = set()
    for text, _ in examples():
        url = re.search(r'"\$API_URL([^"?]*)', text).group(1)
        method = re.search(r"-X ([A-Z]+)", text)
        method = method.group(1) if method else "POST" if re.search(r" -(d|F|-data-urlencode) ", text) else "GET"
        for path in paths:
            if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", path), url) and method.lower() in paths[path]:
                shown.add((method, path))
    every = {(m.upper(), p) for p in paths for m in paths[p]}
    literal = {(m, p) for m, p in every if "{" not in p}
    assert not literal - shown and not every - shown, every - shown
