"""hostile.py - what the hostile tests share: raw connections, a watch over the daemons, a second client whose waits are timed."""
import glob
import os
import socket
import ssl
import statistics
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
DAEMONS = ("sqlite", "mx", "smtp", "smtp_bree", "imap")


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
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * 0.99))]


class Neighbour(threading.Thread):
    """Another user, who does NOOP and SELECT all the time; waits in ms."""

    def __init__(self, user):
        super().__init__(daemon=True)
        self.imap = Imap(user)
        self.imap.ok(b"SELECT INBOX")
        self.waits, self.error, self.done = [], None, threading.Event()

    def once(self):
        for command in (b"NOOP", b"SELECT INBOX"):
            from_s = time.monotonic()
            self.imap.ok(command)
            self.waits.append((time.monotonic() - from_s) * 1000)

    def run(self):
        try:
            while not self.done.is_set():
                self.once()
                self.done.wait(0.005)
        except Exception as error:       # shown by end()
            self.error = error

    def end(self):
        self.done.set()
        self.join(60)
        self.imap.close()
        if self.error:
            raise self.error
        return p99(self.waits)


def quiet_p99(user, seconds=1.0):
    n = Neighbour(user)
    n.start()
    time.sleep(seconds)
    return n.end()


def logs():
    out = ""
    for path in glob.glob(STATE + "/log/*"):
        with open(path, encoding="utf-8", errors="replace") as file:
            out += file.read()
    return out


def median(values):
    return statistics.median(values)
