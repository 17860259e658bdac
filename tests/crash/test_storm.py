"""The storm in its short form; tests/crash/run is the long one. CRASH_SEED repeats one."""
import os
import random

from storm import Storm


def seed():
    return int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 31))


def test_everybody_is_killed():
    assert Storm(400, 200, 48, seed()).run() == {}


def test_sessions_while_the_mailbox_server_is_killed():
    """Two IMAP sessions and MX on one mailbox: no UID twice, UIDVALIDITY the same, MODSEQ rises, QRESYNC tells what changed."""
    assert Storm(400, 0, 20, seed(), victims=["sqlite"], one_mailbox=True).run() == {}
