"""watcher.py - an IMAP session that watches one mailbox through all kills, appends to it, sets flags, and holds the server to its word.

No UID is given twice, none changes its message, UIDs and MODSEQs only rise, UIDVALIDITY stays; what was appended or flagged with OK is
there; a session that comes back is told by QRESYNC only what changed meanwhile (RFC 7162 3.2.5).
"""
import re
import threading
import time

from imapclient import Gone, Imap, Refused
from suite import eventually

ITEMS = "(UID MODSEQ FLAGS BODY.PEEK[HEADER.FIELDS (X-CRASH-ID)])"
FETCH = re.compile(rb"\* \d+ FETCH \(")


def number(pattern, lines):
    for line in lines:
        found = re.search(pattern, line)
        if found:
            return int(found[1])
    return None


class Watcher(threading.Thread):
    def __init__(self, address, run, n):
        super().__init__(daemon=True)
        self.address, self.run_id, self.n = address, run, n
        self.link, self.uidvalidity, self.modseq, self.last_uid = None, None, 0, 0
        self.message = {}                      # UID -> its X-Crash-Id
        self.seen = {}                         # UID -> highest MODSEQ told
        self.flagged, self.appended = set(), []        # confirmed with OK
        self.tried, self.resyncs, self.errors = 0, 0, []
        self.stopping = threading.Event()
        self.start()

    # ---- what it checks ---------------------------------------------------------------------------------------------------------

    def check(self, condition, text):
        if not condition:
            self.errors.append(text)

    def note_fetch(self, line):
        """One FETCH with UID; what it says about the message must agree with all that was said before."""
        uid, modseq = number(rb"UID (\d+)", [line]), number(rb"MODSEQ \((\d+)\)", [line])
        name = re.search(rb"X-Crash-Id: ([^\r]*)\r\n", line, re.I)
        if uid is None:
            return
        if modseq is not None:
            self.check(modseq >= self.seen.get(uid, 0), "MODSEQ of UID %d went from %d to %s" % (uid, self.seen.get(uid, 0), modseq))
            self.seen[uid] = max(modseq, self.seen.get(uid, 0))
        if b"BODY[" in line:
            name = name[1] if name else b""
            self.check(self.message.get(uid, name) == name, "UID %d was %r, is %r" % (uid, self.message.get(uid), name))
            self.message[uid] = name
            self.last_uid = max(self.last_uid, uid)
        return uid

    def note_modseq(self, lines):
        now = number(rb"HIGHESTMODSEQ (\d+)", lines)
        if now is not None:
            self.check(now >= self.modseq, "HIGHESTMODSEQ went from %d to %d" % (self.modseq, now))
            self.modseq = now

    # ---- what it does -----------------------------------------------------------------------------------------------------------

    def connect(self):
        link = Imap(self.address)
        link.command("ENABLE QRESYNC")
        known = " (QRESYNC (%d %d))" % (self.uidvalidity, self.modseq) if self.uidvalidity else ""
        before = self.modseq
        told = link.command("SELECT INBOX" + known)
        validity = number(rb"UIDVALIDITY (\d+)", told)
        self.check(self.uidvalidity in (None, validity), "UIDVALIDITY was %s, is %s" % (self.uidvalidity, validity))
        self.uidvalidity = validity
        if known:
            self.resyncs += 1
            self.check(not any(line.startswith(b"* VANISHED") for line in told), "VANISHED, though nothing was removed")
            for line in told:
                if FETCH.match(line):
                    uid, modseq = number(rb"UID (\d+)", [line]), number(rb"MODSEQ \((\d+)\)", [line])
                    self.check(modseq is not None and modseq > before, "QRESYNC since %d told UID %s with MODSEQ %s" % (before, uid, modseq))
                    self.note_fetch(line)
        self.note_modseq(told)
        self.link = link
        self.look()

    def look(self):
        """New messages. HIGHESTMODSEQ is taken only with all of them, so that the next QRESYNC asks for what is not known yet."""
        known = set(self.message)
        told = self.link.command("UID FETCH %d:* %s" % (self.last_uid + 1, ITEMS))
        asked = [line for line in told if FETCH.match(line) and b"BODY[" in line]
        new = [uid for uid in map(self.note_fetch, asked) if uid and uid not in known]
        self.check(new == sorted(new), "UIDs came in the order %s" % new)
        if known and new:
            self.check(min(new) > max(known), "UID %d was given after %d" % (min(new), max(known)))

    def work(self):
        self.tried += 1
        name = "%s watcher%d %d" % (self.run_id, self.n, self.tried)
        data = ("From: <w@bench.test>\r\nSubject: watcher\r\nX-Crash-Id: %s\r\n\r\nappended\r\n" % name).encode()
        self.link.command("APPEND INBOX", data)
        self.appended.append(name.encode())
        if self.message:
            uid = max(self.message)
            self.link.command("UID STORE %d +FLAGS (watcher%d)" % (uid, self.n))
            self.flagged.add(uid)

    def step(self):
        if self.link is None:
            self.connect()
        told = self.link.idle(0.2)
        for line in filter(FETCH.match, told):
            self.note_fetch(line)
        self.look()
        self.work()

    def run(self):
        while not self.stopping.is_set():
            try:
                self.step()
            except Refused as refused:
                self.check("UNAVAILABLE" in str(refused), str(refused))
                if self.n == 2:
                    self.drop()                # one stays, the other comes back and asks what changed
                self.stopping.wait(0.05)
            except Gone:
                self.drop()
                self.stopping.wait(0.05)
            except Exception as error:
                self.errors.append(repr(error))
                raise

    def drop(self):
        if self.link is not None:
            self.link.close()
        self.link = None

    # ---- the end --------------------------------------------------------------------------------------------------------------------

    def stop(self):
        self.stopping.set()
        self.join(60)

    def finish(self):
        """With all daemons up and all watchers stopped: a last look; raises what was wrong, else says what it has seen."""
        def again():
            try:
                if self.link is None:
                    self.connect()
                self.link.command("NOOP")
                self.look()
                return True
            except (Gone, Refused):
                self.drop()
                return False
        eventually(again, "the session comes back")
        flags = {number(rb"UID (\d+)", [line]): line for line in self.link.command("UID FETCH 1:* (UID FLAGS)") if FETCH.match(line)}
        for uid in self.flagged:
            self.check(b"watcher%d" % self.n in flags.get(uid, b""), "the flag of UID %d, confirmed with OK, is not there" % uid)
        names = [name for name in self.message.values() if name.startswith(b"%s watcher%d " % (self.run_id.encode(), self.n))]
        self.check(len(names) == len(set(names)), "an APPEND is there twice")
        self.check(set(self.appended) <= set(names), "lost, though answered OK: %s" % (set(self.appended) - set(names)))
        self.check(set(self.message) == set(flags), "UIDs differ from a fresh look: %s" % sorted(set(self.message) ^ set(flags))[:10])
        self.drop()
        assert not self.errors, self.errors[:5]
        return "session %d: %d messages seen, %d of %d appended with OK, %d flags, %d times back by QRESYNC" % (
            self.n, len(self.message), len(self.appended), self.tried, len(self.flagged), self.resyncs)
