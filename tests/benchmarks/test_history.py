"""The history of the benchmarks is one that the system could have made."""

import pytest

from tests.benchmarks.history import SMALL, add_history
from tests.kit.processes.support import rows
from workers.database import transaction
from workers.ops.reconciliation import find_drift

pytestmark = pytest.mark.usefixtures("fresh_database")


def test_counters_of_seats_agree_with_the_enrollments_of_the_history() -> None:
    add_history(SMALL)
    with transaction() as session:
        assert find_drift(session) == []
    assert rows("SELECT max(enrolled_count) >= :people FROM contract", people=SMALL.on_one_contract) == [(True,)]


def test_the_history_has_as_many_finished_and_dead_jobs_as_asked() -> None:
    add_history(SMALL)
    found = rows("SELECT state, count(*) FROM job WHERE finished_at IS NOT NULL GROUP BY state ORDER BY state")
    assert found == [("dead", SMALL.dead), ("succeeded", SMALL.jobs - SMALL.dead)]
    for table in ("account", "enrollment", "seat_movement", "link", "email", "idempotency", "job_person"):
        assert rows(f"SELECT count(*) FROM {table}") == [(SMALL.jobs,)]


def test_the_history_ends_before_today() -> None:
    add_history(SMALL)
    assert rows("SELECT max(finished_at) < now() FROM job") == [(True,)]
    assert rows("SELECT max(finished_at) < now() FROM email") == [(True,)]
