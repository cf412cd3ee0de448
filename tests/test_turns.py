"""Heavy and serial tests have processes of their own, because they share what they start."""

import os

import pytest


@pytest.mark.parametrize(
    "group", [pytest.param("systems", marks=pytest.mark.heavy), pytest.param("serial", marks=pytest.mark.serial)]
)
def test_a_test_that_needs_room_is_in_the_group_of_its_kind(request: pytest.FixtureRequest, group: str) -> None:
    several = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith(f"@{group}") is several
