"""What tests of services that commit share: claimed jobs, all there is, and work that fails half-way."""

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
from workers.actors.registry import do_jobs, show_job
from workers.database import transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, ClaimedRow
from workers.ops.reconciliation import find_drift
from workers.requests.enrollment import Enroll
from workers.requests.queues import Queue


def claimed(queue: Queue = Queue.ENROLLMENTS) -> list[ClaimedRow]:
    """The jobs of a queue that are not done, whenever they are due."""
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL"))
        return ledger.claim(session, JOBS, queue, size=50, lease=30, worker=new_id())


def all_rows() -> dict[str, list[str]]:
    """All rows of all tables; the seats add up."""
    with transaction() as session:
        assert find_drift(session) == []
        return everything(session)


def done_twice(taken: list[ClaimedRow]) -> dict[str, list[str]]:
    """Does claimed jobs, and once more, which changes nothing; returns all there is."""
    assert BatchRun(JOBS, do_jobs).run(taken)
    done = all_rows()
    assert BatchRun(JOBS, do_jobs).run(taken)
    assert all_rows() == done
    return done


def fail_half_way(
    monkeypatch: pytest.MonkeyPatch, service: ModuleType, step: str, queue: Queue = Queue.ENROLLMENTS
) -> None:
    """Does the due jobs with a service that dies at this step: nothing is left but the attempt; they are due again."""
    before = all_rows()

    def fail(*_: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(service, step, fail)
        assert not BatchRun(JOBS, do_jobs).run(claimed(queue))
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "job_attempt"}


def contract(seats: int = 100, *references: str) -> None:
    """Contracts with so many seats each."""
    with transaction() as session:
        for reference in references or ("C-1",):
            add_contract(session, reference, seats)


def seats_used(reference: str = "C-1") -> int:
    """The seats used, on which all there is agrees."""
    with transaction() as session:
        assert find_drift(session) == []
        return seats(session, reference)


def accept_all(*requests: Enroll) -> list[UUID]:
    """The jobs of these requests, each under a key of its own, accepted in one transaction."""
    with transaction() as session:
        return [accepted(session, request, f"key-{number}") for number, request in enumerate(requests)]


def job(job_id: UUID) -> dict[str, Any]:
    """A job as its portal sees it."""
    with transaction() as session:
        return show_job(session, job_id) or {}


def people_codes(job_id: UUID) -> list[str]:
    """What happened to each person of a large request, in its order."""
    return [
        str(code) for (code,) in rows("SELECT code FROM job_person WHERE job_id = :id ORDER BY position", id=job_id)
    ]
