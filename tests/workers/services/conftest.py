"""Threads for tests of what happens at the same moment."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def threads(fresh_database: str) -> Iterator[ThreadPoolExecutor]:
    """Threads that each have sessions of their own, on this test's database."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
