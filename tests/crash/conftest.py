"""Fixtures of the crash tests: a running suite (STATE_DIR), and the daemons' last words when one fails."""
import os
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../e2e")]
import suite  # noqa: E402

DAEMONS = ("redis", "dns", "sqlite", "mx", "smtp", "smtp-bree", "imap")


@pytest.fixture
def sink():
    s = suite.Sink()
    s.server.start()
    yield s
    s.server.stop()


@pytest.fixture(autouse=True)
def all_daemons_run():
    yield
    for name in DAEMONS:
        assert suite.is_running(suite.pid_of(name)), name + " has died"
