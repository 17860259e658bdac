"""Fixtures of the end-to-end tests, and the daemons' last words when one fails."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import suite  # noqa: E402


@pytest.fixture(scope="session")
def sink():
    s = suite.Sink()
    s.server.start()
    yield s
    s.server.stop()


@pytest.fixture(autouse=True)
def all_daemons_run():
    """Whoever killed one has started it again; a daemon that died by itself fails the test in which it did."""
    yield
    for name in ("redis", "dns", "sqlite", "mx", "smtp", "smtp-bree", "imap", "api"):
        assert suite.is_running(suite.pid_of(name)), name + " has died"
