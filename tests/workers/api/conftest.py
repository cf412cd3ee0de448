"""Fixtures: the API on a real socket, with a portal of its own and keys for it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx2
import pytest

from models.portal import Portal
from models.words import Scope
from tests.kit.processes.serving import serving
from workers.database import transaction
from workers.portals.keys import add_key

MakeKey = Callable[..., str]


def make_portal(name: str, requests_per_minute: int | None = None) -> UUID:
    """Makes a portal without a limit, or finds it."""
    with transaction() as session:
        portal = Portal(name=name)
        session.add(portal)
        session.flush()
        portal.requests_per_minute = requests_per_minute  # None in the INSERT would stand for the default
        session.add(portal)
        return portal.id


def make_key(portal_id: UUID, scopes: Collection[Scope] = tuple(Scope), **options: object) -> str:
    """Makes a key for a portal, with all scopes unless told otherwise."""
    with transaction() as session:
        return add_key(session, portal_id, scopes=scopes, **options).text  # type: ignore[arg-type]


@contextmanager
def client_of(base_url: str, key: str | None) -> Iterator[httpx2.Client]:
    """Opens a client that sends this key with each call."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=f"{base_url}/v1", headers=headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes the portal `acme`."""
    return make_portal("acme")


@pytest.fixture
def base_url(fresh_database: str) -> Iterator[str]:
    """Serves the web process; returns its address."""
    with serving() as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture
def api(base_url: str, portal: UUID) -> Iterator[httpx2.Client]:
    """Opens a client of the portal `acme` with all scopes."""
    with client_of(base_url, make_key(portal)) as client:
        yield client
