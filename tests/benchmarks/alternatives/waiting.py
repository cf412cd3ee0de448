"""Prepares a run of one alternative, in its virtual environment: tables, contracts, and work that waits.

python -m tests.benchmarks.alternatives.waiting NAME COUNT CONTRACTS SEATS
"""

import sys
from collections.abc import Iterator

from sqlalchemy.orm import Session

from tests.benchmarks.alternatives import orm

Person = tuple[int, str, str, str]


def people(count: int, contracts: int) -> Iterator[Person]:
    """Yields the arguments of a task for each person, on each contract in turn."""
    for number in range(count):
        yield 1 + number % contracts, f"salarie.{number}@societe.example", "Zoé", "Müller"


def add_contracts(contracts: int, seats: int) -> None:
    """Creates the tables and the contracts."""
    orm.Base.metadata.create_all(orm.engine())
    with Session(orm.engine()) as session, session.begin():
        session.add_all(orm.PlainContract(id=1 + number, seats=seats) for number in range(contracts))


def wait_for_celery(count: int, contracts: int) -> None:
    from tests.benchmarks.alternatives.celery_tasks import enroll_person  # noqa: PLC0415  # one broker at a time

    for person in people(count, contracts):
        enroll_person.delay(*person)


def wait_for_dramatiq(count: int, contracts: int) -> None:
    from tests.benchmarks.alternatives.dramatiq_tasks import enroll_person  # noqa: PLC0415

    for person in people(count, contracts):
        enroll_person.send(*person)


def wait_for_procrastinate(count: int, _contracts: int) -> None:
    from tests.benchmarks.alternatives.procrastinate_tasks import app, noop  # noqa: PLC0415

    with app.open():
        app.schema_manager.apply_schema()
        noop.batch_defer(*({"number": number} for number in range(count)))


WAITING = {"celery": wait_for_celery, "dramatiq": wait_for_dramatiq, "procrastinate": wait_for_procrastinate}


if __name__ == "__main__":
    name, count, contracts, seats = sys.argv[1], *map(int, sys.argv[2:])
    add_contracts(contracts, seats)
    WAITING[name](count, contracts)
