"""conftest.py - around every hostile test: the daemons are the same processes before and after, memory stays bounded, a neighbour is not
held up. The suite under test is named by STATE_DIR (see run)."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pytest

import hostile


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="10,000 slow connections instead of 2,000")


@pytest.fixture(autouse=True)
def alive():
    yield
    dead = [d for d in hostile.DAEMONS if not hostile.is_alive(d)]
    assert not dead, f"ended: {dead}"


@pytest.fixture(scope="session")
def quiet():
    """p99 of the neighbour's waits while nothing else happens, ms."""
    return hostile.quiet_p99("u19@bench.test")


@pytest.fixture
def calm(quiet, request):
    """A neighbour works during the test; memory and the neighbour's waits are judged after it. calm["mib"] is what a daemon may grow."""
    allowed = {"mib": 64, "ms": max(hostile.QUIET_P99_MS, 3 * quiet)}
    neighbour, peak = hostile.Neighbour("u20@bench.test"), hostile.Peak()
    neighbour.start()
    peak.start()
    yield allowed
    grown, waited = peak.end(), neighbour.end()
    print(f"{request.node.name}: neighbour p99 {waited:.1f} ms of {len(neighbour.waits)}, most {max(neighbour.waits):.1f}; grown MiB "
          + " ".join(f"{d} {g:.1f}" for d, g in grown.items()))
    assert max(grown.values()) <= allowed["mib"], grown
    assert waited <= allowed["ms"], f"a neighbour waited {waited:.1f} ms (quiet {quiet:.1f})"
