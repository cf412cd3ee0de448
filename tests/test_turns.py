"""Serial tests run in one process, because they share what they start."""

import os

import pytest


@pytest.mark.serial
def test_a_serial_test_is_in_the_group_of_serial_tests(request: pytest.FixtureRequest) -> None:
    several = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@serial") is several
