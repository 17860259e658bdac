"""conftest.py - around every hostile test: the daemons are the same processes before and after, memory stays bounded, a neighbour is not
held up. The suite under test is named by STATE_DIR (see run)."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pytest

import hostile


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="10,000 slow connections, all sizes of odd mail: minutes instead of seconds")


@pytest.fixture(scope="session")
def long(request):
    return request.config.getoption("--long")


@pytest.fixture(autouse=True)
def alive():
    yield
    dead = [d for d in hostile.DAEMONS if not hostile.is_alive(d)]
    assert not dead, f"ended: {dead}"


@pytest.fixture(scope="session")
def judge():
    judge = hostile.Judge()
    yield judge
    judge.neighbour.end()


@pytest.fixture(scope="module")
def pool(judge):
    """Probes of rows that had too few of their own."""
    waits, control = [], []
    yield waits, control
    complaint = judge.verdict(waits, control)
    print(f"\npool: neighbour p99 {hostile.p99(waits) if waits else 0:.1f} ms of {len(waits)}, machine's own {hostile.p99(control) if control else 0:.1f}")
    assert not complaint, complaint


@pytest.fixture
def calm(judge, pool, request):
    """A neighbour works during the test; memory and the neighbour's waits are judged after it (hostile.Judge says how). calm["mib"] is
    what a daemon may grow."""
    allowed = {"mib": 64}
    judge.stalls.new()
    peak, from_s = hostile.Peak(), time.monotonic()
    peak.start()
    yield allowed
    waits, control = judge.neighbour.between(from_s, time.monotonic())
    grown, stalls = peak.end(), judge.stalls.new()
    print(f"{request.node.name}: neighbour p99 {hostile.p99(waits):.1f} ms of {len(waits)}, machine's own {hostile.p99(control):.1f}, most {max(waits, default=0):.1f}; "
          "grown MiB " + " ".join(f"{d} {g:.1f}" for d, g in grown.items() if g >= 0.1))
    if len(waits) < judge.PROBES_LEAST:
        pool[0].extend(waits)
        pool[1].extend(control)
    assert max(grown.values()) <= allowed["mib"], grown
    assert not stalls, f"loops that computed for long: {stalls}"
    complaint = judge.verdict(waits, control, judge.PROBES_LEAST)
    assert not complaint, complaint
