"""The tests of services use these: a contract with seats, people to enroll on it, and the rows the tables hold
afterwards.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.tables import metadata
from models.words import JobState
from workers.actors.registry import do_jobs
from workers.catalog.records import put_company, put_contract, put_training
from workers.database import Session
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.ledger import JOBS
from workers.enrollment.enrolling import (
    EnrollmentAnswer,
    EnrollmentOrder,
    check_people,
    enroll,
)
from workers.ops.reconciliation import find_drift
from workers.reading.jobs import show_job
from workers.requests.base import Request
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.queues import URGENT_MAILS, Queue

SEATS = """
    SELECT c.enrolled_count,
      (SELECT count(*) FROM enrollment e WHERE e.contract_id = c.id AND e.withdrawn_at IS NULL),
      (SELECT coalesce(sum(change), 0) FROM seat_movement s WHERE s.contract_id = c.id)
    FROM contract c WHERE c.reference = :reference"""

MAILS = "SELECT kind, to_address, queue, locale, state FROM email ORDER BY to_address, kind"

LINKS = """
    SELECT l.id, l.voided_at IS NOT NULL, CAST(extract(epoch FROM l.expires_at - now()) / 86400 AS int)
    FROM link l JOIN account a ON a.id = l.account_id WHERE a.email_norm = :email ORDER BY l.created_at, l.id"""
"""Selects the links of an address, oldest first: identifier, whether it is voided, days until it expires."""


def query(session: Session, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
    """Runs a query in this session's transaction and returns its rows."""
    return [tuple(row) for row in session.execute(text(statement), parameters)]


def add_contract(
    session: Session,
    reference: str = "C-1",
    seats: int = 10,
    *,
    company: str = "acme",
    starts_on: date | None = None,
    ends_on: date | None = None,
) -> UUID:
    """Records a contract with its company and training; returns its identifier."""
    asked = PutContract(
        reference=reference,
        company=company,
        training="T-1",
        planned_seats=seats,
        starts_on=starts_on,
        ends_on=ends_on,
    )
    put_company(session, LOCAL_PORTAL_ID, new_id(), PutCompany(reference=company, name="Acmé"))
    put_training(session, LOCAL_PORTAL_ID, new_id(), PutTraining(reference="T-1", title="Sécurité"))
    state, result = put_contract(session, LOCAL_PORTAL_ID, new_id(), asked)
    assert state is JobState.SUCCEEDED, result
    return UUID(result["id"])


def someone(email: str, first_name: str = "Zoé", last_name: str = "Le Dû", **more: str) -> PersonToEnroll:
    """Returns a person of a request; a bare word becomes the mailbox of an address at example.com."""
    address = email if "@" in email or not email.isalnum() else f"{email}@example.com"
    return PersonToEnroll(email=address, first_name=first_name, last_name=last_name, **more)


def asking(*people: PersonToEnroll | str, contract: str = "C-1", **options: Any) -> Enroll:
    """Returns a request to enroll these people."""
    rows = [someone(one) if isinstance(one, str) else one for one in people]
    return Enroll(contract=contract, people=rows, **options)


def order(request: Enroll) -> EnrollmentOrder:
    """Returns a request as one part of a batch."""
    urgent = len(request.people) <= URGENT_MAILS
    return EnrollmentOrder(new_id(), LOCAL_PORTAL_ID, request, check_people(request), urgent=urgent)


def enrol(session: Session, *requests: Enroll) -> list[EnrollmentAnswer]:
    """Does these requests as one batch."""
    return enroll(session, [order(request) for request in requests])


def enrol_people(session: Session, *people: PersonToEnroll | str, **options: Any) -> list[str]:
    """Does one request; returns a code for each person."""
    return codes(enrol(session, asking(*people, **options))[0])


def codes(answer: EnrollmentAnswer) -> list[str]:
    """Returns the code of each person, in the order of the request."""
    return [person.code.value for person in answer.people]


def seats(session: Session, reference: str = "C-1") -> int:
    """Returns the seats used, after a check that counter, enrollments and seat ledger agree."""
    [(counter, live, balance)] = query(session, SEATS, reference=reference)
    assert counter == live == balance
    return int(counter)


def everything(session: Session) -> dict[str, list[str]]:
    """Returns every row of every table."""
    return {
        table.name: sorted(row for (row,) in query(session, f"SELECT CAST(t AS text) FROM {table.name} t"))
        for table in metadata.sorted_tables
    }


def accepted(session: Session, request: Request, key: str = "key") -> UUID:
    """Records a request as a job of the portal `local`."""
    body = request.model_dump_json(exclude_unset=True)  # as portals send it
    return accept(session, LOCAL_PORTAL_ID, request, body, key=key).job_id


def enrolled(session: Session, *people: PersonToEnroll | str, **options: Any) -> list[UUID]:
    """Enrolls these people; returns their enrollments in the given order."""
    answer = enrol(session, asking(*people, **options))[0]
    return [one for person in answer.people if (one := person.enrollment_id)]


QUEUES = (Queue.ENROLLMENTS, Queue.ROSTERS, Queue.MAINTENANCE)


def did(session: Session, *requests: Request, key: str = "", queues: Sequence[Queue] = QUEUES) -> list[dict[str, Any]]:
    """Does requests as jobs in this session, one batch for each queue; returns the jobs as their portal sees them.

    If a key is given, all the requests use it.
    """
    jobs = [accepted(session, request, key or f"key-{new_id()}") for request in requests]
    for queue in queues:
        claimed = ledger.claim(session, JOBS, queue, size=200, lease=30, worker=new_id())
        ledger.finish(session, JOBS, do_jobs(session, claimed))
    assert find_drift(session) == []
    return [show_job(session, job_id) or {} for job_id in jobs]


def results(job: dict[str, Any]) -> list[str]:
    """Returns the codes of a job, in the order of its request."""
    people = job["result"]["people"]
    assert [person["position"] for person in people] == list(range(len(people)))
    return [person["code"] for person in people]
