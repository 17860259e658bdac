"""Locked means locked: nothing on the server's disk, with every secret of the server, shows mail of an alias that is not logged in."""
import base64
import contextlib
import ctypes
import glob
import hashlib
import hmac
import imaplib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

import pytest
from suite import (DAEMON_ENV, MX_PORT, PASSWORD, REDIS_PORT, STATE, STRANGER, all_messages, end, eventually, fectl, imap, mail, mx, new_mailbox, ok, read_env, start,
                   subjects, tls, user)

# ---- looking through everything on disk -----------------------------------------------------------------------------------------


def zstd_frames(data):
    """What every zstd frame in data decompresses to, as far as it does."""
    out, at = [], data.find(b"\x28\xb5\x2f\xfd")
    while at >= 0:
        run = subprocess.run(["zstd", "-dcq"], input=data[at:at + (8 << 20)], capture_output=True)
        out.append(run.stdout)
        at = data.find(b"\x28\xb5\x2f\xfd", at + 4)
    return out


def forms(canary):
    """The canary as it is, in any of base64's three phases, in hex, in UTF-16."""
    raw = canary.encode()
    out = [raw, raw.lower(), raw.hex().encode(), raw.decode().encode("utf-16-le")]
    for phase in range(3):
        coded = base64.b64encode(b"\0" * phase + raw)
        out.append(coded[4 if phase else 0:-4])
    return out


def everything():
    """(name, bytes) of every file of the suite, the streams inside, and the document store opened with its key."""
    for path in glob.glob(STATE + "/**", recursive=True, include_hidden=True):
        if os.path.isfile(path) and not os.path.islink(path):
            data = open(path, "rb").read()
            yield path, data
            for frame in zstd_frames(data):
                yield path + " (zstd)", frame
    for path in glob.glob(STATE + "/store*.sqlite*"):
        if not path.endswith(("-wal", "-shm")):
            rows = open_cipher(path, candidate_keys())
            assert rows is not None, "the document store opens with its key"
            yield path + " (decrypted)", rows


SQLITE_ROW, SQLITE_DONE, READ_ONLY = 100, 101, 1
PAGE_SIZES = (4096, 8192, 16384)


def open_cipher(path, keys):
    """All text and blobs of the database, when one of the keys opens it; else None."""
    lib = ctypes.CDLL("libsqlcipher.so.1")
    lib.sqlite3_column_blob.restype = ctypes.c_void_p
    for key in keys:
        for page in PAGE_SIZES:
            db = ctypes.c_void_p()
            assert lib.sqlite3_open_v2(path.encode(), ctypes.byref(db), READ_ONLY, None) == 0
            lib.sqlite3_key(db, key, len(key))
            lib.sqlite3_exec(db, b"PRAGMA cipher_log_level=NONE; PRAGMA cipher_page_size=%d; PRAGMA cipher_hmac_algorithm=HMAC_SHA256" % page, None, None, None)
            rows = _rows(lib, db)
            lib.sqlite3_close_v2(db)
            if rows is not None:
                return rows
    return None


def _rows(lib, db):
    def query(sql):
        statement = ctypes.c_void_p()
        if lib.sqlite3_prepare_v2(db, sql, -1, ctypes.byref(statement), None) != 0:
            return None
        out = []
        while (rc := lib.sqlite3_step(statement)) == SQLITE_ROW:
            for i in range(lib.sqlite3_column_count(statement)):
                n = lib.sqlite3_column_bytes(statement, i)
                out.append(ctypes.string_at(lib.sqlite3_column_blob(statement, i), n) if n else b"")
        lib.sqlite3_finalize(statement)
        return out if rc == SQLITE_DONE else None
    tables = query(b"SELECT name FROM sqlite_master WHERE type='table'")
    if tables is None:
        return None
    return b"\n".join(b"\n".join(query(b'SELECT * FROM "' + t + b'"') or []) for t in tables)


def candidate_keys():
    """Every secret of the server, as passphrase, raw key, and hashed in the usual ways."""
    out = []
    secrets = [v.encode() for v in read_env(STATE + "/secrets.env").values() if len(v) >= 32]
    secrets += [open(STATE + "/store.key").read().strip().encode(), open(STATE + "/tls.key", "rb").read()]
    for s in secrets:
        raws = [hashlib.sha256(s).digest(), hmac.new(s, b"", "sha256").digest()]
        with contextlib.suppress(ValueError):
            raws.append(bytes.fromhex(s.decode()))
        out.append(s)
        out += [b"x'%s'" % r.hex().encode() for r in raws]
    return out


def assert_hidden(canary, recipient):
    subprocess.run(["redis-cli", "-p", str(REDIS_PORT), "SAVE"], env={**os.environ, "REDISCLI_AUTH": DAEMON_ENV["REDIS_PASSWORD"]}, check=True, capture_output=True)
    wanted = forms(canary)
    envelope, seen_at = recipient.encode(), []
    for name, data in everything():
        for form in wanted:
            assert form not in data, "a canary of locked mail is readable in %s" % name
        if envelope in data:
            seen_at.append(name)
    # what does stay readable shows that the search can find something: the envelope, in the log and in the store
    assert any("/log/mx" in name for name in seen_at) and any("(decrypted)" in name for name in seen_at), seen_at


def alias_id(address):
    return next(line.split()[0] for line in fectl("alias", "list", address.split("@")[1]).splitlines() if " %s " % address in line)


def mailbox_file(address):
    return glob.glob(STATE + "/mailboxes/**/%s.sqlite" % alias_id(address), recursive=True)[0]


# ---- mail -----------------------------------------------------------------------------------------------------------------------------

def with_attachment(canary, size, to):
    head = ("From: %s\r\nTo: %s\r\nSubject: %s subject\r\nMessage-ID: <%s@stranger.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            "--b\r\n\r\n%s body\r\n--b\r\nContent-Type: application/x; name=\"%s.pdf\"\r\n\r\n" % (STRANGER, to, canary, uuid.uuid4().hex, canary, canary))
    line = "%s again\r\n" % canary
    return (head + line * ((size - len(head)) // len(line)) + "--b--\r\n").encode()


def deliver(recipient, data):
    with mx() as s:
        s.sendmail(STRANGER, [recipient], data)


def half_delivered(recipient, data):
    """DATA of which only a part comes."""
    s = socket.create_connection(("127.0.0.1", MX_PORT), timeout=30)
    f = s.makefile("rb")
    for command in (b"HELO mx.stranger.test", b"MAIL FROM:<%s>" % STRANGER.encode(), b"RCPT TO:<%s>" % recipient.encode(), b"DATA"):
        f.readline()
        s.sendall(command + b"\r\n")
    assert f.readline().startswith(b"354")
    s.sendall(data)
    return s


def test_nothing_readable_then_all_there():
    canary = "Canary%s" % uuid.uuid4().hex
    who = new_mailbox()
    sent = [with_attachment(canary + "0", 1000, who), with_attachment(canary + "1", 5 << 20, who), with_attachment(canary + "3", 300 << 10, who)]
    started = time.time()
    deliver(who, sent[0])
    deliver(who, sent[1])
    with half_delivered(who, with_attachment(canary + "2", 5 << 20, who)[:3 << 20]):
        time.sleep(0.3)                        # mx has taken it in
        end("mx")
        assert_hidden(canary, who)
        start("mx")
    deliver(who, sent[2])
    assert_hidden(canary, who)
    assert open_cipher(mailbox_file(who), candidate_keys()) is None, "a secret of the server opens the mailbox"
    ended = time.time()
    with imap(who) as box:
        def arrived():
            ok(box.noop())
            return len(ok(box.search(None, "ALL"))[0].split()) >= 3
        eventually(arrived, "sealed mail is in the mailbox")
        got = all_messages(box)
        assert [m.endswith(s) for (_, m), s in zip(got, sent)] == [True, True, True]
        assert len(got) == 3
        for attributes, _ in got:
            at = time.mktime(imaplib.Internaldate2tuple(attributes.encode()))
            assert started - 2 <= at <= ended + 2, attributes


def test_wrong_password():
    box = imaplib.IMAP4_SSL("127.0.0.1", int(DAEMON_ENV["IMAP_PORT"]), ssl_context=tls())
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        box.login(user(5), "not the password")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        box.login("nobody-here@bench.test", "x")
    box.shutdown()


def file_sum(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def flip(data):
    at = 40                                    # in the first page, which every open reads
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


@pytest.mark.parametrize("damage", [lambda d: d[:len(d) // 2 // 4096 * 4096], lambda d: d[:5000], flip, lambda d: b""],
                         ids=["half of it", "a page and a bit", "a flipped byte", "empty"])
def test_damaged_file(damage):
    """A damaged mailbox does not open, says so, and stays as it is for whoever repairs it."""
    path = mailbox_file(user(10))
    end("sqlite", signal.SIGTERM)
    good = {p: open(p, "rb").read() for p in glob.glob(path + "*")}
    try:
        for p in good:
            if p != path:
                os.unlink(p)
        with open(path, "wb") as f:
            f.write(damage(good[path]))
        damaged = file_sum(path)
        start("sqlite")
        with pytest.raises(imaplib.IMAP4.error) as error:
            with imap(user(10), folder=None) as box:
                answer = box.select("INBOX")
                raise imaplib.IMAP4.error(str(answer) if answer[0] != "OK" else "it opened")
        print(error.value)
        assert "it opened" not in str(error.value) and "AUTHENTICATIONFAILED" not in str(error.value)
        end("sqlite", signal.SIGTERM)
        assert file_sum(path) == damaged
    finally:
        with contextlib.suppress(OSError):
            end("sqlite", signal.SIGTERM)
        for p, data in good.items():
            with open(p, "wb") as f:
                f.write(data)
        start("sqlite")
    with imap(user(10)):
        pass


def test_missing_file_is_no_new_mailbox():
    path = mailbox_file(user(10))
    end("sqlite", signal.SIGTERM)
    os.rename(path, path + ".away")
    try:
        start("sqlite")
        with pytest.raises(imaplib.IMAP4.error):
            with imap(user(10)):
                pass
        assert not os.path.exists(path)
    finally:
        end("sqlite", signal.SIGTERM)
        os.rename(path + ".away", path)
        start("sqlite")


def test_replayed_segment():
    """An old copy of the sealed log put back brings nothing twice."""
    folder = STATE + "/mailboxes/sealed"
    who, run = new_mailbox(), uuid.uuid4().hex
    for i in range(5):
        deliver(who, mail("%s %d" % (run, i)))
    end("sqlite")
    copy = STATE + "/../sealed-copy-" + run
    shutil.copytree(folder, copy)
    start("sqlite")
    wanted = ["%s %d" % (run, i) for i in range(5)]
    eventually(lambda: [s for s in subjects(who) if s.startswith(run)] == wanted, "drained")
    end("sqlite", signal.SIGTERM)
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    shutil.rmtree(copy)
    start("sqlite")
    deliver(who, mail(run + " last"))
    eventually(lambda: run + " last" in subjects(who), "the next one arrives")
    assert [s for s in subjects(who) if s.startswith(run)] == wanted + [run + " last"]


def test_damaged_item_holds_up_nobody():
    """One sealed item is damaged on disk: the others arrive, in order, and the log says so."""
    who, run = new_mailbox(), uuid.uuid4().hex

    def size():
        return {p: os.path.getsize(p) for p in glob.glob(STATE + "/mailboxes/sealed/*") if os.path.isfile(p)}
    sizes = [size()]
    for i in range(5):
        deliver(who, mail("%s %d" % (run, i), "z" * 3000 + "\r\n"))
        sizes.append(size())
    path = next(p for p in sizes[3] if sizes[3][p] != sizes[2].get(p, 0))
    end("sqlite", signal.SIGTERM)
    with open(path, "r+b") as f:               # in the middle of the third
        f.seek((sizes[2].get(path, 0) + sizes[3][path]) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))
    start("sqlite")
    wanted = ["%s %d" % (run, i) for i in (0, 1, 3, 4)]
    eventually(lambda: [s for s in subjects(who) if s.startswith(run)] == wanted, "the others arrive")
    log = open(STATE + "/log/sqlite").read()
    assert "sealed.bad" in log or "sealed.damaged" in log


def test_kill_during_the_drain():
    who, run = new_mailbox(), uuid.uuid4().hex
    with mx() as s:
        for i in range(300):
            s.sendmail(STRANGER, [who], mail("%s %d" % (run, i), "y" * 20000))
    for _ in range(3):
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            with imap(who):
                pass                           # the drain has begun
        end("sqlite")
        start("sqlite")
    wanted = ["%s %d" % (run, i) for i in range(300)]
    eventually(lambda: [s for s in subjects(who) if s.startswith(run)][-1:] == wanted[-1:], "all are there")
    assert [s for s in subjects(who) if s.startswith(run)] == wanted


def test_delivery_goes_on_during_the_drain():
    who, run = new_mailbox(), uuid.uuid4().hex
    with mx() as s:
        for i in range(300):
            s.sendmail(STRANGER, [who], mail("%s %d" % (run, i), "y" * 20000))

        def more():
            for i in range(300, 400):
                s.sendmail(STRANGER, [who], mail("%s %d" % (run, i), "y" * 20000))
        with imap(who) as box:
            sender = threading.Thread(target=more)
            sender.start()

            def count():
                ok(box.noop())
                return len(ok(box.search(None, "SUBJECT", run))[0].split()) >= 400
            eventually(count, "all 400 are there")
            sender.join()
    assert [s for s in subjects(who) if s.startswith(run)] == ["%s %d" % (run, i) for i in range(400)]


def test_mail_that_keeps_coming_does_not_keep_the_key():
    """The key goes some time after the last session, whatever arrives; then mail is sealed to the public key."""
    who, run = new_mailbox(), uuid.uuid4().hex
    end("sqlite")
    start("sqlite", SQLITE_KEY_KEEP="2s")
    with imap(who):
        pass
    alias, sent = who.split("@")[0], 0
    with open(STATE + "/log/sqlite", encoding="utf-8", errors="replace") as log, mx() as s:
        log.seek(0, os.SEEK_END)

        def sealed_now():
            nonlocal sent
            s.sendmail(STRANGER, [who], mail("%s %d" % (run, sent), alias))
            sent += 1
            lines = [json.loads(line) for line in log.read().splitlines() if '"event":"deliver.done"' in line]
            return [d["sealed"] for d in lines][-1:] == [True]
        eventually(sealed_now, "the mailbox is locked")
    assert sent > 20                           # it was open at first
    assert [s for s in subjects(who) if s.startswith(run)] == ["%s %d" % (run, i) for i in range(sent)]
    end("sqlite")
    start("sqlite")
