"""Tests marked ``heavy`` run two at a time, one marked ``serial`` alone, even when several processes run tests.

A heavy test starts and kills whole systems; a serial one takes times as well. Each test holds a lock while it runs: a
serial test an exclusive one, every other test a shared one. The locked file is this file itself, so nothing has to be
created or removed. Heavy tests come behind all others and serial ones last, when few others are left to wait for.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.nodeid import NodeId


def heavy_last(items: list[pytest.Item]) -> None:
    """Moves heavy tests behind the others and serial ones to the end, in their order.

    Two processes share the heavy ones: one has those that kill, the other those of whole systems. One process has the
    serial ones. What such tests start is shared by those of one process.
    """
    items.sort(key=_weight)
    for item in items:
        if _is_serial(item):
            item.add_marker(pytest.mark.xdist_group("serial"))
        elif _is_heavy(item):
            item.add_marker(pytest.mark.xdist_group("kills" if "chaos" in item.path.parts else "systems"))


def name_groups(items: list[pytest.Item]) -> None:
    """Puts the group of each test into its identifier, where xdist's scheduler reads it.

    pytest-xdist 3.8 does so itself, in an attribute that pytest 9.2 has no longer.
    """
    for item in items:
        for mark in item.iter_markers("xdist_group"):
            item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")


@contextmanager
def turn(item: pytest.Item) -> Iterator[None]:
    """Runs the block alone if the test is serial, otherwise beside tests that are not serial."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if _is_serial(item) else fcntl.LOCK_SH)
        yield


def processes_for(arguments: list[str], only: str) -> int:
    """Returns how many processes run the tests that were asked for, 0 for this process alone.

    Twice the processors, because most tests wait for half of their time; this process alone for a few files or for a
    keyword, because such tests end before other processes would have started.
    """
    few = bool(only) or (bool(arguments) and all(argument.split("::")[0].endswith(".py") for argument in arguments))
    return 0 if few else 2 * (os.cpu_count() or 1)


def _weight(item: pytest.Item) -> int:
    return 2 if _is_serial(item) else int(_is_heavy(item))


def _is_heavy(item: pytest.Item) -> bool:
    return item.get_closest_marker("heavy") is not None


def _is_serial(item: pytest.Item) -> bool:
    return item.get_closest_marker("serial") is not None
