"""The web application runs on a real socket."""

from collections.abc import Iterator

import httpx
import pytest

from tests.kit.processes.serving import serving


@pytest.fixture
def site(fresh_database: str) -> Iterator[httpx.Client]:
    """Serves the application from a thread of this process, on the test's own database; yields a client of it."""
    with serving() as client:
        yield client
