"""Deleting a domain, killed halfway and repeated: nothing of it stays. Restarts daemons, so it stands behind the tests that remember their pids."""
import http.client
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e"))
import suite  # noqa: E402
from rest import STATE, api, new_mailbox  # noqa: E402
from test_domains import at, create, owner  # noqa: E402,F401


def mailboxes():
    """Of whom there is any file."""
    return {f[:24] for f in os.listdir(STATE + "/mailboxes") if re.match(r"[0-9a-f]{24}", f)}


@pytest.mark.parametrize("victim, after_ms", [("api", 5), ("api", 15), ("api", 40), ("sqlite", 10), ("sqlite", 30)])
def test_killed_while_deleting(owner, victim, after_ms):
    before = mailboxes()
    d = create(owner[1])
    for _ in range(4):
        new_mailbox(d["name"])
    assert len(mailboxes() - before) >= 4

    def attempt():
        try:
            return api("DELETE", at(d["name"]), token=owner[1]).status
        except (OSError, http.client.HTTPException):
            return 0

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(attempt)
        time.sleep(after_ms / 1000)
        suite.end(victim)
        suite.start(victim)
        seen = [first.result()]
    for _ in range(60):
        if seen[-1] in (200, 404):
            break
        time.sleep(0.25)
        seen.append(attempt())
    assert seen[-1] in (200, 404) and set(seen) <= {0, 200, 404, 408, 500, 503}, seen
    assert api("GET", at(d["id"]), token=owner[1]).status == 404
    assert mailboxes() == before
    again = api("POST", "/v1/domains", token=owner[1], json={"domain": d["name"], "catchall": False})
    assert again.status == 200 and again.json["alias_count"] == 0
