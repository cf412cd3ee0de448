"""The enrollment that Celery and dramatiq run does what it is said to do, so that the comparison is fair."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tests.benchmarks.alternatives import orm
from tests.benchmarks.alternatives.waiting import add_contracts, people


@pytest.fixture
def two_seats(fresh_database: str) -> Iterator[None]:
    """Creates a contract of two seats in the tables of the alternatives."""
    orm.engine.cache_clear()
    add_contracts(1, seats=2)
    yield
    orm.engine().dispose()
    orm.engine.cache_clear()


@pytest.mark.usefixtures("two_seats")
def test_a_full_contract_takes_nobody_else() -> None:
    enrolled = [orm.enroll(*person) for person in people(3, contracts=1)]
    assert [one is not None for one in enrolled] == [True, True, False]


@pytest.mark.usefixtures("two_seats")
def test_the_same_task_twice_takes_one_seat() -> None:
    [person] = people(1, contracts=1)
    assert orm.enroll(*person) == orm.enroll(*person)
    with Session(orm.engine()) as session:
        assert session.get_one(orm.PlainContract, 1).enrolled_count == 1
        assert session.scalar(select(func.count()).select_from(orm.PlainEnrollment)) == 1
