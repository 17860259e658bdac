"""The MongoDB engine, on demand (tests/crash/mongo): its server stands still or is killed, alone and in the middle of a storm."""
import os
import time

import pytest
from hold import stopped
from probe import append, count, deliver, new_run, submit
from storm import VICTIMS, Storm
from suite import OTHER, end, eventually, imap, launch, ok, user
from supervisor import wait_healthy
from test_storm import seed

pytestmark = pytest.mark.skipif("MONGO_PORT" not in os.environ, reason="run by tests/crash/mongo")
if "MONGO_PORT" in os.environ:
    OTHER["mongo"] = [os.path.dirname(__file__) + "/../mongo/start", os.environ["MONGO_FILE"], os.environ["MONGO_PORT"]]


def while_away(who, run, box):
    time.sleep(2)                              # what the directory remembers
    began = time.monotonic()
    assert deliver(who, run + " during") == 451
    print("MX answered after %.1f s" % (time.monotonic() - began))
    began = time.monotonic()
    assert submit(user(8), run + " out") in (451, 454)
    print("submission answered after %.1f s" % (time.monotonic() - began))
    assert append(box, run + " append") == "OK", "an open session goes on"
    began = time.monotonic()
    with imap(who) as other:
        assert ok(other.noop())
    print("a login of a moment ago took %.1f s" % (time.monotonic() - began))


def afterwards(sink, who, run):
    eventually(lambda: deliver(who, run + " during") == 250, "mail is taken again")
    eventually(lambda: submit(user(8), run + " out") == 250, "submission works again")
    sink.get(run + " out")
    assert count(who, run) == {run + " during": 1, run + " append": 1}


def test_standing_still(sink):
    who, run = user(3), new_run()
    with imap(who) as box:
        with stopped("mongo"):
            while_away(who, run, box)
        afterwards(sink, who, run)


def test_killed(sink):
    who, run = user(3), new_run()
    with imap(who) as box:
        end("mongo")
        while_away(who, run, box)
        launch("mongo")
        wait_healthy("mongo")
        afterwards(sink, who, run)


def test_storm():
    """The remote's answer may come while the store is away: then the queue cannot write it down, and a second copy is no fault."""
    assert Storm(400, 200, 24, seed(), victims=VICTIMS).run() == {}


def test_storm_with_the_store():
    problems = Storm(400, 200, 21, seed(), victims=VICTIMS + ["mongo"]).run()
    assert {what: found for what, found in problems.items() if what != "doubled"} == {}
