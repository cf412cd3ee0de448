"""Small jobs in short transactions: work that is too much for one transaction continues in the next, in order."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import pytest

from tests.kit.builders.ledgers import (
    QUEUE,
    lane,
    look,
    owe,
)
from workers.actors import enrollments
from workers.actors.enrollments import MOST_ASKED, affordable
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.claimer import STOPPING, this_process
from workers.engine.ledger import JOBS, ClaimedRow, WorkOutcome
from workers.errors import Transient


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    STOPPING.clear()
    yield
    STOPPING.clear()


def claim() -> list[ClaimedRow]:
    with transaction() as session:
        return ledger.claim(session, JOBS, QUEUE, size=100, lease=30, worker=this_process())


def state(row_id: UUID) -> str:
    with transaction() as session:
        return str(look(session, JOBS, row_id)["state"])


def test_a_batch_is_no_longer_than_others_can_wait(fresh_database: str) -> None:
    large = '{"x": "' + "x" * (MOST_ASKED // 2) + '"}'
    with transaction() as session:
        made = [owe(session, JOBS, lane=lane(n + 1), request=large if n < 3 else "{}") for n in range(5)]
    mine = claim()
    assert [row.id for row in mine] == made
    assert (affordable(mine), affordable(mine[1:]), affordable(mine[2:])) == (1, 1, 3)


@pytest.fixture
def batches(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> list[list[UUID]]:
    """Prepares three jobs of which two are too much for one transaction; returns the batches in which they are done."""
    seen: list[list[UUID]] = []

    def keep(_: Session, held: Sequence[ClaimedRow]) -> list[WorkOutcome]:
        seen.append([row.id for row in held])
        return [WorkOutcome(row.id, row.claim, "succeeded") for row in held]

    monkeypatch.setattr(enrollments, "do_jobs", keep)
    with transaction() as session:
        for _ in range(3):
            owe(session, JOBS, request='{"x": "' + "x" * (MOST_ASKED // 2) + '"}')
    return seen


def test_jobs_too_many_for_one_transaction_are_done_in_the_next(batches: list[list[UUID]]) -> None:
    mine = claim()
    assert enrollments.do_batch(mine) is False
    assert batches == [[row.id] for row in mine]


def test_jobs_that_do_not_fit_in_half_a_second_are_given_back(
    batches: list[list[UUID]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrollments, "HOLD_SECONDS", -1.0)
    mine = claim()
    assert enrollments.do_batch(mine) is True
    assert batches == [[mine[0].id]]
    assert [state(row.id) for row in mine] == ["succeeded", "queued", "queued"]
    assert enrollments.do_batch(claim()) is True
    assert enrollments.do_batch(claim()) is False
    assert batches == [[row.id] for row in mine]


def test_behind_a_job_set_back_the_others_of_its_lane_wait(
    batches: list[list[UUID]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def held_elsewhere(*_: object) -> None:
        raise Transient("a contract is held")

    mine = claim()
    with monkeypatch.context() as during:
        during.setattr(enrollments, "do_jobs", held_elsewhere)
        assert enrollments.do_batch(mine) is True
    assert [state(row.id) for row in mine] == ["queued"] * 3
    assert claim() == []
