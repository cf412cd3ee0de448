"""The moment of a test holds in its database, in the rows written there, and in its process."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.contracts import add_contract
from tests.kit.processes.support import rows
from workers.database import Session, transaction

NEAR = timedelta(seconds=30)


def near(moment: datetime, times: list[datetime]) -> bool:
    return all(abs(time - moment) < NEAR for time in times)


def time_of_id() -> datetime:
    return datetime.fromtimestamp((new_id().int >> 80) / 1000, UTC)


@pytest.mark.moment
def test_it_is_that_moment_for_a_session(session: Session, current_moment: datetime | None) -> None:
    moment = current_moment or datetime.now(UTC)
    add_contract(session)
    said = session.execute(text("SELECT now(), created_at FROM company")).one()
    assert near(moment, [*said, datetime.now(UTC), time_of_id()])


@pytest.mark.moment
def test_it_is_that_moment_for_a_database(fresh_database: str, current_moment: datetime | None) -> None:
    moment = current_moment or datetime.now(UTC)
    with transaction() as session:
        session.execute(text("INSERT INTO process (id, kind, host, pid) VALUES (:id, 'k', 'h', 1)"), {"id": new_id()})
    [said] = rows("SELECT now(), started_at FROM process")
    assert near(moment, [time for time in said if isinstance(time, datetime)])
