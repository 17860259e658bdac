"""hostile.py - what the hostile tests share: raw connections, a watch over the daemons, a second client whose waits are timed."""
import glob
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time

STATE = os.environ["STATE_DIR"]
WAIT_S = 20
QUIET_P99_MS = 50           # what a neighbour may wait while somebody misbehaves, unless three times its quiet wait is more


def settings():
    out = {}
    with open(STATE + "/suite.env", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            out[name] = value.strip("'\"")
    return out


ENV = settings()
PASSWORD = ENV["FIXTURE_PASSWORD"]
DAEMONS = ("sqlite", "mx", "smtp", "smtp_bree", "imap", "api")


def port(name):
    return int(ENV[name])


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Line:
    """A connection to a line protocol: bytes out, lines in."""

    def __init__(self, where, tls=False, source=None, seconds=WAIT_S, greeting=True):
        self.socket = socket.create_connection(("127.0.0.1", port(where)), timeout=seconds, source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if tls:
            self.start_tls()
        self.greeting = self.line() if greeting else None

    def start_tls(self):
        self.socket = tls_context().wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next line without its CRLF; None when the server closed."""
        while b"\n" not in self.buffer:
            try:
                piece = self.socket.recv(262144)
            except (ConnectionError, ssl.SSLError):
                piece = b""
            if not piece:
                return None
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def exactly(self, n):
        while len(self.buffer) < n:
            piece = self.socket.recv(1 << 20)
            assert piece, "closed inside a literal"
            self.buffer += piece
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def rest(self):
        """Everything until the server closes."""
        try:
            while True:
                piece = self.socket.recv(262144)
                if not piece:
                    break
                self.buffer += piece
        except (ConnectionError, ssl.SSLError):
            pass
        out, self.buffer = self.buffer, b""
        return out

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Smtp(Line):
    def reply(self):
        """Code and text of one reply; (0, b"") when the server closed."""
        lines = []
        while True:
            line = self.line()
            if line is None:
                return 0, b"\n".join(lines)
            lines.append(line)
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def say(self, data):
        self.send(data + b"\r\n")
        return self.reply()

    def mail(self, sender, recipient):
        assert self.say(b"MAIL FROM:<%s>" % sender.encode())[0] == 250
        assert self.say(b"RCPT TO:<%s>" % recipient.encode())[0] == 250

    def data(self, content):
        """DATA with content as it is; its reply."""
        assert self.say(b"DATA")[0] == 354
        self.send(content)
        return self.reply()

    def login(self, user):
        import base64
        text = base64.b64encode(f"\0{user}\0{PASSWORD}".encode())
        assert self.say(b"AUTH PLAIN " + text)[0] == 235


def mx(source=None):
    c = Smtp("MX_PORT", source=source)
    c.say(b"EHLO stranger.test")
    return c


def submission(where, user=None):
    c = Smtp(where, tls=where == "SMTPS_PORT")
    c.say(b"EHLO client.test")
    if where == "SUBMISSION_PORT":
        assert c.say(b"STARTTLS")[0] == 220
        c.start_tls()
        c.say(b"EHLO client.test")
    if user:
        c.login(user)
    return c


class Imap(Line):
    def __init__(self, user=None, source=None, seconds=WAIT_S, password=PASSWORD):
        super().__init__("IMAPS_PORT", tls=True, source=source, seconds=seconds)
        self.n = 0
        if user:
            answer = self.do(b"LOGIN %s %s" % (user.encode(), password.encode()))[-1]
            assert b" OK" in answer, answer

    def tag(self):
        self.n += 1
        return b"h%d" % self.n

    def do(self, command):
        """Sends a command; its lines, literals inside them, up to the tagged one. The last is None when the server closed."""
        tag = self.tag()
        self.send(tag + b" " + command + b"\r\n")
        return self.answer(tag)

    def answer(self, tag):
        lines = []
        while True:
            line = self.whole_line()
            lines.append(line)
            if line is None or line.startswith(tag + b" "):
                return lines

    def whole_line(self):
        line = self.line()
        while line is not None and line.endswith(b"}") and b"{" in line:
            literal = self.exactly(int(line[line.rindex(b"{") + 1:-1]))
            line += b"\r\n" + literal + (self.line() or b"")
        return line

    def ok(self, command):
        lines = self.do(command)
        assert lines[-1] is not None and b" OK" in lines[-1], lines[-1]
        return lines[:-1]

    def append(self, folder, message):
        tag = self.tag()
        self.send(b"%s APPEND %s {%d+}\r\n" % (tag, folder.encode(), len(message)))
        self.send(message + b"\r\n")
        return self.answer(tag)[-1]


# ---- the daemons -----------------------------------------------------------------------------------------------------------

def rss_mib(daemon):
    with open(f"/proc/{ENV['PID_' + daemon]}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


def is_alive(daemon):
    try:
        with open(f"/proc/{ENV['PID_' + daemon]}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Peak(threading.Thread):
    """Watches memory while a test runs: highest VmRSS less the first, MiB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.first = {d: rss_mib(d) for d in DAEMONS}
        self.most = dict(self.first)
        self.done = threading.Event()

    def look(self):
        for d in DAEMONS:
            if is_alive(d):
                self.most[d] = max(self.most[d], rss_mib(d))

    def run(self):
        while not self.done.wait(0.02):
            self.look()

    def end(self):
        self.done.set()
        self.join()
        self.look()
        return {d: self.most[d] - self.first[d] for d in DAEMONS}


def p99(values):
    values = sorted(values) or [0.0]
    return values[min(len(values) - 1, int(len(values) * 0.99))]


class Neighbour:
    """Another user, who does NOOP and SELECT all the time in a process of its own (probe.py)."""

    def __init__(self, user):
        self.seen, self.child, self.user = [], None, user
        self.start()

    def start(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.py")
        self.child = subprocess.Popen([sys.executable, path, self.user], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            at, name, ms = line.split()
            self.seen.append((float(at), name, float(ms)))

    def between(self, from_s, to_s):
        """Waits in ms: probes, and the machine's own."""
        assert self.child.poll() is None, "the neighbour was thrown out"
        end = time.monotonic() + 10
        while (not self.seen or self.seen[-1][0] < to_s) and time.monotonic() < end:
            time.sleep(0.005)
        assert self.seen and self.seen[-1][0] >= to_s, "the neighbour waited more than 10 s"
        some = [x for x in self.seen[:] if from_s <= x[0] + x[2] / 1000 and x[0] <= to_s]
        return [ms for _, name, ms in some if name == "probe"], [ms for _, name, ms in some if name == "control"]

    def end(self):
        self.child.kill()
        self.child.wait()


class Judge:
    """What a neighbour may wait: p99 at most 50 ms, or three times the quiet p99, or three times what the machine made a PING to Redis
    wait at the same time, and all of that times the load on each CPU where that is above one: other work on the machine is not what these
    tests are about. A row with few probes is judged together with the others of its file. And no daemon may compute for 50 ms without letting others run (loop.stall, by CPU time), whatever the load."""
    PROBES_LEAST = 200

    def __init__(self):
        self.neighbour, self.stalls = Neighbour("u20@bench.test"), Stalls()
        time.sleep(0.5)
        from_s = time.monotonic()
        time.sleep(1.5)
        self.quiet = p99(self.neighbour.between(from_s, time.monotonic())[0])

    def allowed(self, control):
        return max(1, os.getloadavg()[0] / os.cpu_count()) * max(QUIET_P99_MS, 3 * self.quiet, 3 * p99(control))

    def verdict(self, waits, control, least=1):
        if len(waits) < least:
            return None
        got, most = p99(waits), self.allowed(control)
        return None if got <= most else f"a neighbour's p99 was {got:.1f} ms of {len(waits)} (quiet {self.quiet:.1f}, allowed {most:.1f})"


class Stalls:
    """loop.stall events of daemons that were computing all the while. Logs are read once."""

    def __init__(self):
        self.at = {}
        self.new()

    def new(self):
        found = []
        for path in sorted(glob.glob(STATE + "/log/*")):
            with open(path, "rb") as file:
                file.seek(self.at.get(path, 0))
                text = file.read()
            whole = text.rfind(b"\n") + 1
            self.at[path] = self.at.get(path, 0) + whole
            for line in text[:whole].split(b"\n"):
                if b'"loop.stall"' in line:
                    event = json.loads(line)
                    if event.get("cpu_ms", 0) >= 50:
                        found.append((event["at"], event["service"], event["fiber"], event["ms"], event["cpu_ms"]))
        return found


def log(daemon):
    with open(f"{STATE}/log/{daemon}", encoding="utf-8", errors="replace") as file:
        return file.read()


def logs():
    out = ""
    for path in glob.glob(STATE + "/log/*"):
        with open(path, encoding="utf-8", errors="replace") as file:
            out += file.read()
    return out


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def median(values):
    return statistics.median(values)
