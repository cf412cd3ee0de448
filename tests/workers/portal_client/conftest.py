"""Fixtures: a client of the portal `demo` over HTTP and through the queue, on real servers."""

import os
from collections.abc import Iterator

import pytest

from tests.kit.builders.portals import PortalCredentials, make_portal
from tests.kit.processes.serving import serving
from tests.kit.processes.support import Processes
from workers.portal_client import Portal


@pytest.fixture
def credentials(fresh_database: str) -> PortalCredentials:
    """Makes the portal `demo`, with a key for everything."""
    return make_portal("demo")


@pytest.fixture
def url(fresh_database: str) -> Iterator[str]:
    """Serves the API; returns the address of `/v1`."""
    with serving() as client:
        yield f"{str(client.base_url).rstrip('/')}/v1"


@pytest.fixture
def by_http(url: str, credentials: PortalCredentials) -> Iterator[Portal]:
    """Opens the client over HTTP."""
    with Portal(url, key=credentials.key, patience=20) as portal:
        yield portal


@pytest.fixture
def by_queue(credentials: PortalCredentials) -> Iterator[Portal]:
    """Opens the client through the queue; a worker that reads it is for the test to start."""
    with queue_portal(credentials) as portal:
        yield portal


def queue_portal(credentials: PortalCredentials, *, patience: float = 30) -> Portal:
    """Makes a client through the queue."""
    return Portal(
        os.environ["REDIS_URL"],
        portal=credentials.portal,
        key_id=credentials.key_id,
        secret=credentials.secret,
        namespace=os.environ["REDIS_NAMESPACE"],
        patience=patience,
    )


@pytest.fixture
def workers(processes: Processes, credentials: PortalCredentials) -> Processes:
    """Starts a worker that records and does requests."""
    processes.worker("requests", "enrollments")
    return processes
