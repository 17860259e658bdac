"""suite.py - what the end-to-end tests share: the running suite's settings, its daemons (kill, start again), clients, another mail server.

The suite is one that scripts/up --detach left running; STATE_DIR says where. A daemon that is started again gets the environment of
STATE_DIR/daemon.env, and its pid takes the old one's place in STATE_DIR/pids, so that scripts/up --stop ends it.
"""
import contextlib
import imaplib
import os
import queue
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import time
import uuid

from aiosmtpd.controller import Controller

WAIT_S = 30
STATE = os.environ["STATE_DIR"]
STRANGER = "someone@stranger.test"


def read_env(path):
    """Variables that a shell sees after reading the file."""
    out = subprocess.run(["bash", "-c", 'set -a; . "$1"; env -0', "_", path], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    return dict(item.split("=", 1) for item in out.stdout.decode().split("\0") if item)


ENV = read_env(STATE + "/suite.env")
DAEMON_ENV = {**os.environ, **read_env(STATE + "/daemon.env")}
BIN = ENV["BUILD_DIR"] + "/bin/"
MX_PORT, SMTPS_PORT = int(ENV["MX_PORT"]), int(ENV["SMTPS_PORT"])
SUBMISSION_PORT, IMAPS_PORT = int(ENV["SUBMISSION_PORT"]), int(ENV["IMAPS_PORT"])
REDIS_PORT = int(ENV["REDIS_PORT"])
PASSWORD = ENV["FIXTURE_PASSWORD"]


def user(n):
    return "u%d@bench.test" % n


def eventually(condition, what, seconds=WAIT_S):
    """What condition() returned, once that is true."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, "did not happen in %d s: %s" % (seconds, what)
        time.sleep(0.05)


def tls():
    context = ssl.create_default_context(cafile=STATE + "/tls.crt")
    context.check_hostname = False
    return context


def fectl(*args, stdin=None):
    return subprocess.run([BIN + "fectl", *args], env=DAEMON_ENV, input=stdin, capture_output=True, text=True, check=True).stdout


def new_mailbox():
    """The address of a mailbox nobody has logged in to; its password is PASSWORD."""
    address = "new-%s@bench.test" % uuid.uuid4().hex[:12]
    fectl("alias", "add", address, "--imap")
    fectl("alias", "password", address, "--password-stdin", stdin=PASSWORD + "\n")
    return address


# ---- daemons --------------------------------------------------------------------------------------------------------------

OTHER = {}                                     # name of a process that is none of ours -> its command line
_pid = {name[4:].replace("_", "-"): int(value) for name, value in ENV.items() if name.startswith("PID_")}
_child = {}


def pid_of(name):
    return _pid[name]


def is_running(pid):
    """False once all its threads are gone: until then a killed process still holds its ports."""
    try:
        state = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0]
        return state != "Z" or len(os.listdir("/proc/%d/task" % pid)) > 1
    except OSError:
        return False


def end(name, how=signal.SIGKILL):
    os.kill(_pid[name], how)
    if name in _child:
        _child[name].wait(WAIT_S)
    eventually(lambda: not is_running(_pid[name]), name + " ends")


def launch(name, **more_env):
    """Starts it and does not wait. Its command line."""
    env = {**DAEMON_ENV, **more_env}
    if name in OTHER:
        command = OTHER[name]
    elif name == "redis":
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(REDIS_PORT), "--dir", STATE + "/redis", "--save", "", "--appendonly", "no",
                   "--requirepass", env["REDIS_PASSWORD"]]
    else:
        command = [BIN + "fe-" + name]
    with open(STATE + "/log/" + name, "ab") as log:
        _child[name] = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    _remember(name, _child[name].pid)
    return command, env


def start(name, health=True, **more_env):
    command, env = launch(name, **more_env)
    if name == "redis":
        eventually(lambda: _accepts(REDIS_PORT), "redis is back")
    elif health and name != "smtp-bree":
        eventually(lambda: subprocess.run(command + ["--health"], env=env, capture_output=True).returncode == 0, name + " is healthy again")


def _remember(name, pid):
    with open(STATE + "/pids") as f:
        pids = [line.strip() for line in f]
    with open(STATE + "/pids", "w") as f:
        f.write("".join("%s\n" % (pid if old == str(_pid[name]) else old) for old in pids))
    _pid[name] = pid
    with open(STATE + "/suite.env", "a") as f:
        f.write("PID_%s=%d\n" % (name.replace("-", "_"), pid))


def _accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def memory_kb(name, field):
    for line in open("/proc/%d/status" % _pid[name]):
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)


def forget_peak(name):
    """VmHWM begins again at VmRSS."""
    with open("/proc/%d/clear_refs" % _pid[name], "w") as f:
        f.write("5")


# ---- clients ----------------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def imap(address, password=PASSWORD, folder="INBOX"):
    box = imaplib.IMAP4_SSL("127.0.0.1", IMAPS_PORT, ssl_context=tls(), timeout=WAIT_S * 4)
    try:
        box.login(address, password)
        if folder:
            ok(box.select(folder))
        yield box
        box.logout()
    finally:
        with contextlib.suppress(OSError):
            box.shutdown()


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


def all_messages(box, items="(UID INTERNALDATE BODY.PEEK[])", of="1:*"):
    """[(attributes, bytes)] of the selected folder, in order."""
    if not ok(box.search(None, "ALL"))[0]:
        return []
    return [(part[0].decode(), part[1]) for part in ok(box.fetch(of, items)) if isinstance(part, tuple)]


def subjects(address):
    """Subjects in INBOX, in order of arrival."""
    with imap(address) as box:
        return [re.sub(rb"\s+", b" ", h.split(b":", 1)[1]).strip().decode() if h.strip() else "" for _, h in all_messages(box, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")]


def mail(subject, body="A line of text.\r\n", to="somebody@bench.test", sender=STRANGER):
    return ("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@stranger.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n\r\n%s"
            % (sender, to, subject, re.sub(r"\W+", ".", subject), body)).encode()


def mx():
    return smtplib.SMTP("127.0.0.1", MX_PORT, local_hostname="mx.stranger.test", timeout=WAIT_S * 2)


def rcpt_code(address, sender=STRANGER):
    """What MX says to RCPT."""
    with mx() as s:
        s.ehlo()
        assert s.mail(sender)[0] == 250
        return s.rcpt(address)[0]


def submission(address, password=PASSWORD):
    s = smtplib.SMTP_SSL("127.0.0.1", SMTPS_PORT, context=tls(), timeout=WAIT_S)
    s.login(address, password)
    return s


class Sink:
    """Other people's mail server, at 127.0.0.2 on the same port: keeps what it is given."""

    def __init__(self):
        self.mails = queue.Queue()
        self.server = Controller(self, hostname="127.0.0.2", port=MX_PORT, ident="outside", decode_data=False, enable_SMTPUTF8=True,
                                 data_size_limit=64 << 20)

    async def handle_DATA(self, server, session, envelope):
        self.mails.put(envelope)
        return "250 2.0.0 taken"

    def get(self, mark, seconds=WAIT_S):
        """The next mail that contains mark."""
        until = time.monotonic() + seconds
        while True:
            got = self.mails.get(timeout=max(0.1, until - time.monotonic()))
            if mark.encode() in got.content:
                return got
