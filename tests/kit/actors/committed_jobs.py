"""The tests of services that commit use these: claimed jobs, all rows of the database, and work that fails half-way."""

from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    everything,
    seats,
)
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.database import transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, ClaimedRow
from workers.ops.reconciliation import find_drift
from workers.reading.jobs import show_job
from workers.requests.enrollment import Enroll
from workers.requests.queues import Queue


def claimed(queue: Queue = Queue.ENROLLMENTS) -> list[ClaimedRow]:
    """Makes all unfinished jobs of a queue due, and claims them."""
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL"))
        return ledger.claim(session, JOBS, queue, size=50, lease=30, worker=new_id())


def all_rows() -> dict[str, list[str]]:
    """Returns all rows of all tables, after a check that the seats show no drift."""
    with transaction() as session:
        assert find_drift(session) == []
        return everything(session)


def done_twice(taken: list[ClaimedRow]) -> dict[str, list[str]]:
    """Does claimed jobs twice, checks that the second time changes nothing, and returns all rows."""
    assert BatchRun(JOBS, do_jobs).run(taken)
    done = all_rows()
    assert BatchRun(JOBS, do_jobs).run(taken)
    assert all_rows() == done
    return done


def fail_half_way(
    monkeypatch: pytest.MonkeyPatch, service: ModuleType, step: str, queue: Queue = Queue.ENROLLMENTS
) -> None:
    """Does the due jobs while one step of the service raises; only the job and its attempt may have changed."""
    before = all_rows()

    def fail(*_: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(service, step, fail)
        assert not BatchRun(JOBS, do_jobs).run(claimed(queue))
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "job_attempt"}


def contract(seats: int = 100, *references: str) -> None:
    """Creates contracts with this many seats each."""
    with transaction() as session:
        for reference in references or ("C-1",):
            add_contract(session, reference, seats)


def seats_used(reference: str = "C-1") -> int:
    """Returns the seats used on a contract, after a check that counter, enrollments and seat ledger agree."""
    with transaction() as session:
        assert find_drift(session) == []
        return seats(session, reference)


def accept_all(*requests: Enroll) -> list[UUID]:
    """Accepts these requests in one transaction, each under its own key, and returns their jobs."""
    with transaction() as session:
        return [accepted(session, request, f"key-{number}") for number, request in enumerate(requests)]


def job(job_id: UUID) -> dict[str, Any]:
    """Returns a job as its portal sees it."""
    with transaction() as session:
        return show_job(session, job_id) or {}


def people_codes(job_id: UUID) -> list[str]:
    """Returns the code of each person of a large request, in the order of the request."""
    return [
        str(code) for (code,) in rows("SELECT code FROM job_person WHERE job_id = :id ORDER BY position", id=job_id)
    ]
