"""Mail programs people use: whatever a message looks like, it comes back byte for byte."""
import collections
import fcntl
import hashlib
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import corpus
from suite import IMAPS_PORT, PASSWORD, STATE, STRANGER, all_messages, imap, mail, mx, ok, user

MAILDIR_MESSAGES = 1000


def sums(messages):
    """What mbsync adds to know a message again is not part of it."""
    return collections.Counter(hashlib.sha256(re.sub(rb"(?m)^X-TUID: [^\r\n]*\r?\n", b"", m, count=1)).hexdigest() for m in messages)


def maildir(path):
    return [open(os.path.join(path, sub, name), "rb").read() for sub in ("new", "cur") for name in os.listdir(os.path.join(path, sub))]


def mbsync_config(tmp, up, down):
    path = str(tmp / "mbsyncrc")
    with open(path, "w") as f:
        f.write("IMAPAccount suite\nHost localhost\nPort %d\nUser %s\nPass %s\nSSLType IMAPS\nCertificateFile %s\n\n" % (IMAPS_PORT, user(1), PASSWORD, STATE + "/tls.crt"))
        f.write("IMAPStore far\nAccount suite\n\n")
        for name, folder, way in (("up", up, "Push"), ("down", down, "Pull")):
            f.write("MaildirStore %s-near\nPath %s/\nInbox %s\n\nChannel %s\nFar :far:\nNear :%s-near:\nPatterns INBOX\nSync %s\nSyncState *\n\n"
                    % (name, tmp, folder, name, name, way))
    return path


def mbsync(config, channel):
    run = subprocess.run(["mbsync", "-c", config, channel], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def test_mbsync_up_and_down(tmp_path):
    up, down = tmp_path / "up", tmp_path / "down"
    wanted = [m.replace(b"\r\n", b"\n") for m in corpus.messages(MAILDIR_MESSAGES)]
    for folder in (up, down):
        for sub in ("new", "cur", "tmp"):
            (folder / sub).mkdir(parents=True)
    for i, m in enumerate(wanted):
        (up / "cur" / ("%d.%d.host:2,S" % (1700000000 + i, i))).write_bytes(m)
    config = mbsync_config(tmp_path, up, down)
    with imap(user(1)) as box:                 # of an earlier run
        if ok(box.search(None, "ALL"))[0]:
            ok(box.store("1:*", "+FLAGS.SILENT", "\\Deleted"))
            ok(box.expunge())
    mbsync(config, "up")
    with imap(user(1)) as box:
        assert int(ok(box.select("INBOX"))[0]) == MAILDIR_MESSAGES
        assert len(ok(box.search(None, "SEEN"))[0].split()) == MAILDIR_MESSAGES
    mbsync(config, "down")
    assert sums(maildir(down)) == sums(wanted)
    before = sorted(os.listdir(down / "cur") + os.listdir(down / "new"))
    mbsync(config, "up")
    mbsync(config, "down")
    assert sorted(os.listdir(down / "cur") + os.listdir(down / "new")) == before
    with imap(user(1)) as box:
        assert int(ok(box.select("INBOX"))[0]) == MAILDIR_MESSAGES


def test_append_and_fetch():
    sent = corpus.messages(200, seed=2)
    with imap(user(2)) as box:
        first = int(ok(box.select("INBOX"))[0]) + 1
        for m in sent:
            ok(box.append("INBOX", None, None, m))
        ok(box.noop())
        got = [m for _, m in all_messages(box, of="%d:*" % first)]
        assert got == sent
        for i in (0, 7, 12, 99):               # in pieces, as some programs read
            answer = ok(box.fetch(str(first + i), "(BODY.PEEK[]<10.500>)"))
            assert answer[0][1] == sent[i][10:510]


def test_curl():
    marked = b"Subject: for curl\r\nFrom: a@stranger.test\r\n\r\nfetched\r\nby curl\r\n"
    with imap(user(2)) as box:
        uid = re.search(r"APPENDUID \d+ (\d+)", str(ok(box.append("INBOX", None, None, marked)))).group(1)
    out = subprocess.run(["curl", "-s", "--cacert", STATE + "/tls.crt", "--user", user(2) + ":" + PASSWORD,
                          "imaps://127.0.0.1:%d/INBOX;UID=%s" % (IMAPS_PORT, uid)], capture_output=True, timeout=30)
    assert (out.returncode, out.stdout) == (0, marked)


def test_mutt_reads_and_saves(tmp_path):
    marked = b"Subject: for mutt\r\nFrom: a@stranger.test\r\nMessage-ID: <mutt.%d@stranger.test>\r\n\r\nread by mutt\r\n" % time.time_ns()
    with imap(user(2)) as box:
        ok(box.append("INBOX", None, None, marked))
    out = tmp_path / "saved"
    rc = tmp_path / "muttrc"
    rc.write_text('set certificate_file=%s/tls.crt ssl_verify_host=no imap_pass=%s imap_user=%s folder=%s spoolfile= header_cache= confirmcreate=no\n'
                  'set quit=yes wait_key=no pipe_decode=no delete=no move=no\n'
                  % (STATE, PASSWORD, user(2), tmp_path))
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))     # newer ncurses opens no terminal without a size
        os.environ.update(TERM="vt100", HOME=str(tmp_path))
        os.execlp("mutt", "mutt", "-n", "-R", "-F", str(rc), "-f", "imaps://127.0.0.1:%d/INBOX" % IMAPS_PORT,
                  "-e", 'push "<last-entry><pipe-message>cat >%s<enter><exit>"' % out)
    end = time.monotonic() + 30
    screen = b""
    while time.monotonic() < end and not (out.exists() and out.stat().st_size):
        if select.select([fd], [], [], 0.1)[0]:
            try:
                screen += os.read(fd, 65536)
            except OSError:
                break
    os.close(fd)
    os.waitpid(pid, 0)
    assert out.exists(), screen.decode(errors="replace")
    assert out.read_bytes() == marked.replace(b"\r\n", b"\n")


def test_idle_hears_of_new_mail():
    with imap(user(9)) as box:
        before = int(ok(box.select("INBOX"))[0])
        box.send(b"i1 IDLE\r\n")
        assert box.readline().startswith(b"+")
        with mx() as s:
            s.sendmail(STRANGER, [user(9)], mail("to an idle one"))
        at = time.monotonic()
        while b"EXISTS" not in (line := box.readline()):
            pass
        assert line.split()[1] == b"%d" % (before + 1)
        assert time.monotonic() - at < 5
        box.send(b"DONE\r\n")
        while not (line := box.readline()).startswith(b"i1 "):
            pass
        assert line.startswith(b"i1 OK")
