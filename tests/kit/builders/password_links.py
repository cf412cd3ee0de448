"""The tests of re-sent links use these: people of a contract, jobs about them, and the result for each person."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, enrol_people, query
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, ClaimedRow
from workers.reading.jobs import show_job
from workers.requests.accounts import RequestPasswordReset, ResendInvitations, ResetPasswords
from workers.requests.queues import Queue

Asked = ResetPasswords | ResendInvitations | RequestPasswordReset

ENROLLED = """
    SELECT a.email_norm, e.id FROM enrollment e JOIN account a ON a.id = e.account_id
    JOIN contract c ON c.id = e.contract_id WHERE c.reference = :reference"""

ACTIVATE = (
    text("""
        UPDATE account SET activated_at = now(), password_hash = 'old'
        WHERE id IN (SELECT account_id FROM enrollment WHERE id = ANY(:ids))"""),
    text("""
        UPDATE link SET consumed_at = now()
        WHERE account_id IN (SELECT account_id FROM enrollment WHERE id = ANY(:ids))"""),
)

LINKS = """
    SELECT l.purpose, l.resent, l.consumed_at IS NULL AND l.voided_at IS NULL AND l.expires_at > now() FROM link l
    JOIN account a ON a.id = l.account_id WHERE a.email_norm = :email ORDER BY l.created_at, l.id"""


def enrolled(session: Session, *names: str, activated: bool = True, contract: str = "C-1") -> list[UUID]:
    """Enrolls these people and deletes their mails; returns their enrollments in the same order."""
    add_contract(session, contract, 1_000)
    enrol_people(session, *names, contract=contract)
    session.execute(text("DELETE FROM email"))
    found = dict(query(session, ENROLLED, reference=contract))
    ids = [found[f"{name}@example.com"] for name in names]
    if activated:
        for statement in ACTIVATE:
            session.execute(statement, {"ids": ids})
    return ids


def reset(*enrollments: UUID, contract: str = "C-1") -> ResetPasswords:
    return ResetPasswords(contract=contract, enrollment_ids=list(enrollments))


def resend(*enrollments: UUID, contract: str = "C-1") -> ResendInvitations:
    return ResendInvitations(contract=contract, enrollment_ids=list(enrollments))


def ask(session: Session, request: Asked) -> UUID:
    """Accepts a request under its own key."""
    return accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=str(new_id())).job_id


def claim(session: Session, queue: Queue = Queue.ENROLLMENTS) -> list[ClaimedRow]:
    return ledger.claim(session, JOBS, queue, size=200, lease=30, worker=new_id())


def do(session: Session, *requests: Asked) -> list[dict[str, Any]]:
    """Does requests as one batch, and the work that follows; returns the jobs as their portal sees them."""
    jobs = [ask(session, request) for request in requests]
    while claimed := [*claim(session), *claim(session, Queue.ROSTERS)]:
        ledger.finish(session, JOBS, do_jobs(session, claimed))
    return [show_job(session, job) or {} for job in jobs]


def codes(job: dict[str, Any]) -> list[str]:
    return [person["code"] for person in job["result"]["people"]]


def answers(session: Session, request: Asked) -> list[str]:
    """Does one request; returns the code of each person."""
    [job] = do(session, request)
    return codes(job)


def work() -> None:
    """Claims and does the due jobs as a worker does, each step committed."""
    with transaction() as session:
        claimed = claim(session)
    BatchRun(JOBS, do_jobs).run(claimed)


def mails(session: Session) -> list[tuple[Any, ...]]:
    """Returns kind, queue and address of the owed mails, in the order of the addresses."""
    return query(session, "SELECT kind, queue, to_address FROM email WHERE state = 'owed' ORDER BY to_address, id")


def links(session: Session, name: str) -> list[tuple[Any, ...]]:
    """Returns purpose, number of re-sendings and validity of each link of a person."""
    return query(session, LINKS, email=f"{name}@example.com")


def later(session: Session, minutes: int) -> None:
    """Moves rate limits and links this many minutes into the past."""
    parameters = {"minutes": minutes}
    session.execute(text("UPDATE throttle SET at = at - make_interval(mins => :minutes)"), parameters)
    session.execute(text("UPDATE link SET expires_at = expires_at - make_interval(mins => :minutes)"), parameters)
