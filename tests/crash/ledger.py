"""ledger.py - the messages of a storm: made again from seed and number at any time, so that only what was answered is kept.

A message names itself in X-Crash-Id. What the sender saw decides what must be found: a 250 means all its places, once.
"""
import collections
import random
import re
import threading

OPEN = ["u%d@bench.test" % n for n in (1, 2, 3, 4)]            # somebody is logged in
LOCKED = ["u%d@bench.test" % n for n in (5, 6, 7, 8)]          # nobody is, until the end
OUTSIDE = ["friend@outside.test", "other@outside.test"]
SUBMITTERS = ["u%d@bench.test" % n for n in (9, 10)]
ID = re.compile(rb"^X-Crash-Id: (\w+) (\w+) (\d+)\r\n", re.M)
OURS = re.compile(rb"^X-Forward-Email-(ID|Sender): .*\r\n", re.M)     # what the queue runner adds, last in the header

SMALL, MIDDLE, LARGE = (200, 6000), (20000, 180000), (300000, 900000)  # the last do not stay in memory


class Message:
    """Number `i` of its kind: from whom to whom, and its bytes."""

    def __init__(self, run, seed, kind, i, aliases):
        r = random.Random("%d %s %d" % (seed, kind, i))
        self.run, self.kind, self.i = run, kind, i
        self.key = (kind, i)
        if kind == "mx":
            self.sender = "someone@stranger.test"
            how = r.choices(["open", "locked", "forward", "both", "two"], [45, 25, 10, 10, 10])[0]
            self.rcpts = {"open": lambda: [r.choice(OPEN)], "locked": lambda: [r.choice(LOCKED)], "forward": lambda: [aliases["forward"]],
                          "both": lambda: [aliases["both"]], "two": lambda: [r.choice(OPEN), r.choice(LOCKED)]}[how]()
            if aliases["one mailbox"]:
                self.rcpts = [OPEN[0]]
        else:
            self.sender = r.choice(SUBMITTERS)
            self.rcpts = r.choices([[OUTSIDE[0]], OUTSIDE, [OUTSIDE[0], r.choice(OPEN)], [r.choice(LOCKED)]], [50, 20, 20, 10])[0]
        self.places = set()
        for rcpt in self.rcpts:
            self.places |= {aliases["forward"]: {("out", OUTSIDE[0])},
                            aliases["both"]: {("out", OUTSIDE[0]), ("box", aliases["both"])}}.get(rcpt) or \
                {("out" if rcpt in OUTSIDE else "box", rcpt)}
        low, high = r.choices([SMALL, MIDDLE, LARGE], [90, 8, 2])[0]
        self.size, self.noise = r.randint(low, high), r.randbytes(600)

    def data(self):
        head = ("From: <%s>\r\nTo: %s\r\nSubject: %s %d\r\nMessage-ID: <%s.%s.%d@crash.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
                "X-Crash-Id: %s %s %d\r\n\r\n" % (self.sender, ", ".join(self.rcpts), self.kind, self.i, self.run, self.kind, self.i, self.run, self.kind, self.i))
        text = self.noise.hex().encode()
        lines = [b".dot", b"", text[:70], text[70:140], b"..", text[140:900], b"8 bits: \xe4\xf6\xfc \xf0\x9f\x93\xa7"] + [text[at:at + 76] for at in range(900, 1200, 76)]
        block = b"\r\n".join(lines) + b"\r\n"
        body = block * (self.size // len(block) + 1)
        return head.encode() + body[:self.size].rstrip(b"\r\n") + b"\r\n"


class Ledger:
    def __init__(self, run, seed, count, aliases):
        self.run, self.seed, self.count, self.aliases = run, seed, count, aliases     # count: {"mx": N, "smtp": M}
        self.changed = threading.Condition()
        self.next = dict.fromkeys(count, 0)
        self.taken, self.tries, self.lost = 0, 0, collections.Counter()              # lost: final dot sent, no answer came
        self.out = collections.defaultdict(list)                                     # (key, address) -> times of arrival
        self.damaged, self.failures = [], []

    def message(self, kind, i):
        return Message(self.run, self.seed, kind, i, self.aliases)

    def take(self, kind):
        """The next message to send, or None."""
        with self.changed:
            i = self.next[kind]
            if i >= self.count[kind] or self.failures:
                return None
            self.next[kind] = i + 1
        return self.message(kind, i)

    def done(self):
        with self.changed:
            self.taken += 1
            self.changed.notify_all()

    def failed(self, error):
        with self.changed:
            self.failures.append(error)
            self.changed.notify_all()

    @property
    def total(self):
        return sum(self.count.values())

    def wait_taken(self, n, seconds):
        with self.changed:
            assert self.changed.wait_for(lambda: self.taken >= n or self.failures, seconds), "%d of %d messages taken, then nothing for %d s" % (self.taken, self.total, seconds)
            assert not self.failures, self.failures[0]

    def identify(self, content):
        """(message, True when its bytes are those that were sent, behind added fields); None for a message of something else."""
        found = ID.search(content)
        if not found or found[1].decode() != self.run or found[2].decode() not in self.count:
            return None
        m = self.message(found[2].decode(), int(found[3]))
        return m, OURS.sub(b"", content, 2).endswith(m.data())
