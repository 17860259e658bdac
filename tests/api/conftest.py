"""Fixtures of the REST tests: accounts of their own, and the daemons' last words when one ends."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import rest  # noqa: E402


@pytest.fixture(scope="module")
def owner():
    """(address, token) of an account that only this file of tests uses."""
    return rest.new_user()


@pytest.fixture(scope="module")
def domain(owner):
    """A domain of `owner`, who administers it."""
    return rest.new_domain(owner[0])


@pytest.fixture(autouse=True)
def the_api_runs():
    yield
    assert rest.raw("GET", "/").status == 200, "fe-api has died"
