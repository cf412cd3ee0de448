"""Two operators change the same portal at the same moment; both orders end in one portal and no key too many."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from models.words import Scope
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import WAITING
from workers.database import Session, transaction
from workers.portals.changes import IssuedKey, KeyRights, create_portal, revoke_keys, rotate_key

Change = Callable[[Session], Any]
LIVE = "SELECT count(*) FROM portal_key WHERE revoked_at IS NULL"


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def create(session: Session) -> IssuedKey:
    return create_portal(session, "acme", KeyRights(list(Scope)), requested_by="ops")


def rotate(session: Session) -> IssuedKey | None:
    return rotate_key(session, "acme", requested_by="ops")


def revoke(session: Session) -> Any:
    return revoke_keys(session, "acme", requested_by="ops")


class _Undo(Exception):
    """Undoes the transaction of the first operator."""


def meanwhile(first: Change, second: Change, *, undo: bool = False) -> Any:
    """Does the second change while the first is not committed, and waits; returns the answer of the second."""

    def run() -> Any:
        with transaction() as session:
            return second(session)

    with ThreadPoolExecutor(1) as pool:
        future: Future[Any] | None = None
        try:
            with transaction() as session:
                first(session)
                future = pool.submit(run)
                wait_until(lambda: rows(WAITING) == [(1,)])
                if undo:
                    raise _Undo
        except _Undo:
            pass
        assert future is not None
        return future.result(timeout=30)


@pytest.mark.parametrize(("undo", "keys"), [(False, 2), (True, 1)])
def test_a_portal_created_twice_at_once_is_one(undo: bool, keys: int) -> None:
    assert meanwhile(create, create, undo=undo).portal == "acme"
    assert rows("SELECT count(*) FROM portal WHERE name = 'acme'") == [(1,)]
    assert rows(LIVE) == [(keys,)]
    assert rows("SELECT count(*) FROM audit WHERE action = 'create_portal'") == [(1,)]


def test_a_rotation_waits_for_a_revocation_and_revives_nothing() -> None:
    with transaction() as session:
        create(session)
    assert meanwhile(revoke, rotate) is None
    assert rows(LIVE) == [(0,)]


def test_a_revocation_waits_for_a_rotation_and_ends_its_key_too() -> None:
    with transaction() as session:
        create(session)
    assert len(meanwhile(rotate, revoke)) == 2
    assert rows(LIVE) == [(0,)]
