"""The web application on a real socket."""

from collections.abc import Iterator

import httpx
import pytest

from tests.kit.processes.serving import serving


@pytest.fixture
def site(fresh_database: str) -> Iterator[httpx.Client]:
    """A client of the application, served from a thread of this process on the test's own database."""
    with serving() as client:
        yield client
