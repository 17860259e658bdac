"""killed.py STATE - each container killed in turn, databases included, while mail and documents come in: by SIGKILL to its main process,
as the kernel would, and by `docker kill`, for which Docker applies no restart policy; the two keepers too.

Each has to come back by itself. Afterwards everything that was acknowledged (250 of MX, 250 of submission, 200 of the REST API) must
be found. Last, `docker stop` is somebody's wish: what it ended stays so.
"""
import base64
import functools
import http.client
import imaplib
import json
import os
import queue
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time
import uuid

from aiosmtpd.controller import Controller

VICTIMS = ["mongodb", "redis", "sqlite", "mx", "smtp", "smtp_bree", "imap", "api"]
KEEPERS = ["keeper/1", "keeper/2"]
BACK_S = 60
env = dict(line.strip().split("=", 1) for line in open(sys.argv[1] + "/suite.env"))
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
stop = threading.Event()


class Sink:
    """The outside server: keeps the subjects."""

    def __init__(self):
        self.seen = queue.Queue()

    async def handle_DATA(self, server, session, envelope):
        for line in envelope.content.split(b"\r\n"):
            if line.startswith(b"Subject: "):
                self.seen.put(line[9:].decode())
        return "250 2.0.0 taken"


def fail(text):
    print("FAILED: " + text, flush=True)
    os._exit(1)


def docker(*words):
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@functools.cache                               # a container that comes back is the same one
def container(service):
    """The id of a service's container; name/2 is the second one."""
    name, _, number = service.partition("/")
    labels = {"project": env["PROJECT"], "service": name, "container-number": number or "1"}
    return docker("ps", "-a", "-q", *[w for k, v in labels.items() for w in ("--filter", "label=com.docker.compose.%s=%s" % (k, v))])


def inspect(service, form):
    return docker("inspect", "-f", form, container(service))


class Load(threading.Thread):
    """Does `act` again and again; keeps the marks of those that were acknowledged. A failed one is not tried again."""

    def __init__(self, act):
        super().__init__(daemon=True)
        self.act, self.acked, self.refused = act, [], 0

    def run(self):
        while not stop.is_set():
            mark = "d" + uuid.uuid4().hex[:20]
            try:
                self.act(mark)
                self.acked.append(mark)
            except (OSError, smtplib.SMTPException, http.client.HTTPException):
                self.refused += 1
                stop.wait(0.2)

    def wait_more(self, n, what):
        want, until = len(self.acked) + n, time.monotonic() + BACK_S
        while len(self.acked) < want:
            if time.monotonic() > until:
                fail("no %s is taken any more after %s" % (self.act.__name__, what))
            stop.wait(0.05)


def mail_in(mark):
    with smtplib.SMTP("127.0.0.1", int(env["MX_PORT"]), timeout=20) as s:
        s.sendmail("someone@stranger.test", [env["DEMO_ADDRESS"]], "From: someone@stranger.test\r\nSubject: %s\r\n\r\nText.\r\n" % mark)


def mail_out(mark):
    with smtplib.SMTP_SSL("127.0.0.1", int(env["SMTPS_PORT"]), timeout=20, context=context) as s:
        s.login(env["DEMO_ADDRESS"], env["DEMO_PASSWORD"])
        s.sendmail(env["DEMO_ADDRESS"], ["friend@outside.test"], "From: %s\r\nTo: friend@outside.test\r\nSubject: %s\r\n\r\nText.\r\n" % (env["DEMO_ADDRESS"], mark))


def fectl(*words):
    return docker("exec", container("mx"), "fectl", *words)


def document(mark):
    """An alias, made through the REST API."""
    api = http.client.HTTPSConnection("127.0.0.1", int(env["API_PORT"]), timeout=20, context=context)
    head = {"Authorization": "Basic " + base64.b64encode((env["ADMIN_TOKEN"] + ":").encode()).decode(), "Content-Type": "application/json"}
    api.request("POST", "/v1/domains/demo.test/aliases", json.dumps({"name": mark, "recipients": ["friend@outside.test"]}), head)
    answer = api.getresponse()
    answer.read()
    api.close()
    if answer.status != 200:
        raise OSError("HTTP %d" % answer.status)
    stop.wait(0.05)


def kill_process(victim):
    os.kill(int(inspect(victim, "{{.State.Pid}}")), signal.SIGKILL)


def kill_container(victim):
    docker("kill", container(victim))


def kill(victim, how, what, loads):
    pid, started = int(inspect(victim, "{{.State.Pid}}")), time.monotonic()
    how(victim)
    while True:
        now, status, health = inspect(victim, "{{.State.Pid}} {{.State.Status}} {{.State.Health.Status}}").split()
        if int(now) not in (0, pid) and status == "running" and health == "healthy":
            break
        if time.monotonic() - started > BACK_S:
            fail("%s did not come back after %s: %s %s" % (victim, what, status, health))
        time.sleep(0.1)
    healthy = time.monotonic() - started
    for load in loads:
        load.wait_more(2, victim)
    print("   ok: %-9s came back by itself after %s, healthy after %.1f s" % (victim, what, healthy), flush=True)


def stopped_stays_stopped(loads):
    """A later `docker kill` that was answered shows that the keeper had its chance."""
    docker("stop", container("smtp"))
    kill("redis", kill_container, "docker kill", [])
    if inspect("smtp", "{{.State.Status}}") != "exited":
        fail("smtp was started although somebody had stopped it")
    docker("start", container("smtp"))
    for load in loads:
        load.wait_more(1, "smtp started again")
    print("   ok: what docker stop ended stays so until somebody starts it", flush=True)


def inbox():
    """Subjects in INBOX; waits for what was sealed before the login."""
    box = imaplib.IMAP4_SSL("127.0.0.1", int(env["IMAPS_PORT"]), ssl_context=context)
    box.login(env["DEMO_ADDRESS"], env["DEMO_PASSWORD"])
    box.select("INBOX")
    rows = box.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    box.logout()
    return [row[1].decode().replace("Subject: ", "").strip() for row in rows if isinstance(row, tuple)]


def missing_after(acked, found, seconds):
    until = time.monotonic() + seconds
    while True:
        there = found()
        lost = [m for m in acked if m not in there]
        if not lost or time.monotonic() > until:
            return lost, sum(there.count(m) - 1 for m in acked if m in there)
        time.sleep(0.5)


def main():
    sink, seen = Sink(), []
    server = Controller(sink, hostname="127.0.0.2", port=int(env["OUT_PORT"]), ident="outside")
    server.start()
    loads = [Load(mail_in), Load(mail_out), Load(document)]
    for load in loads:
        load.start()
    for load in loads:
        load.wait_more(3, "the start")
    for victim in VICTIMS:
        kill(victim, kill_process, "SIGKILL", loads)
    for victim in VICTIMS + KEEPERS:
        kill(victim, kill_container, "docker kill", loads)
    stopped_stays_stopped(loads)
    stop.set()
    for load in loads:
        load.join()

    def sent():
        while not sink.seen.empty():
            seen.append(sink.seen.get())
        return seen

    def aliases():
        return [line.split("@")[0] for line in fectl("alias", "list", "demo.test").split() if "@demo.test" in line]

    for load, what, found in ((loads[0], "messages in", inbox), (loads[1], "messages out", sent), (loads[2], "documents", aliases)):
        lost, twice = missing_after(load.acked, found, 90)
        if lost:
            fail("%d of %d acknowledged %s are lost: %s" % (len(lost), len(load.acked), what, lost[:5]))
        print("   ok: %d acknowledged %s, all there (%d refused while something was down, %d doubled)" % (len(load.acked), what, load.refused, twice), flush=True)
    server.stop()


main()
