"""The tests of reminders and seat releases use these: people who do not activate their account, and time
that passes.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import EmailKind
from tests.kit.builders.contracts import add_contract, enrolled, query
from workers.actors.registry import do_jobs
from workers.catalog.records import put_contract
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.acceptance import accept_internal
from workers.engine.claimer import BatchRun
from workers.engine.ledger import EMAILS, JOBS, ClaimedRow
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.ops.reconciliation import find_drift
from workers.reading.jobs import show_job
from workers.requests.base import Request
from workers.requests.catalog import PutContract
from workers.requests.internal import PlanReleases, SendReminders
from workers.requests.queues import Queue

QUEUES = (Queue.MAINTENANCE, Queue.ENROLLMENTS, Queue.ROSTERS)

PAST = (
    """UPDATE enrollment SET enrolled_at = enrolled_at - :by, next_reminder_at = next_reminder_at - :by,
      release_warned_at = release_warned_at - :by""",
    "UPDATE email SET finished_at = finished_at - :by, expires_at = expires_at - :by",
    "UPDATE link SET expires_at = expires_at - :by",
    "UPDATE account SET created_at = created_at - :by",
)


def later(session: Session, days: float) -> None:
    """Moves enrollments, mails, links and accounts this many days into the past."""
    for statement in PAST:
        session.execute(text(statement), {"by": timedelta(days=days)})


def deliver(session: Session) -> None:
    """Records every owed mail as sent now."""
    session.execute(
        text("UPDATE email SET state = 'sent', due_at = NULL, leased_until = NULL, finished_at = now()"
             " WHERE due_at IS NOT NULL")
    )  # fmt: skip


def change_contract(session: Session, reference: str = "C-1", company: str = "acme", **options: Any) -> None:
    """Puts a contract again with these options, as a portal does."""
    fields: dict[str, Any] = {"company": company, "training": "T-1", "planned_seats": 100} | options
    put_contract(session, LOCAL_PORTAL_ID, new_id(), PutContract(reference=reference, **fields))


def owe(session: Session, request: Request) -> UUID:
    """Accepts the job of a schedule."""
    body = request.model_dump_json()
    return accept_internal(session, LOCAL_PORTAL_ID, request, body, key=f"schedule:{new_id()}").job_id


def claim(session: Session) -> list[ClaimedRow]:
    """Claims one due job from the first queue that has one."""
    for queue in QUEUES:
        if rows := ledger.claim(session, JOBS, queue, size=1, lease=30, worker=new_id()):
            return rows
    return []


def do_all(session: Session) -> None:
    """Does the due jobs until none is left."""
    while rows := claim(session):
        ledger.finish(session, JOBS, do_jobs(session, rows))


def did(session: Session, request: Request) -> dict[str, Any]:
    """Does a job and the work that follows; returns the job as its portal sees it."""
    job_id = owe(session, request)
    do_all(session)
    return show_job(session, job_id) or {}


def remind(session: Session) -> dict[str, Any]:
    """Runs the scheduled reminders; returns the main counts of their result."""
    result = did(session, SendReminders())["result"]
    return {name: result[name] for name in ("looked_at", "reminded", "more")}


def plan(session: Session) -> None:
    """Runs the scheduled planning of releases."""
    did(session, PlanReleases())
    assert find_drift(session) == []


def run_all() -> None:
    """Does the due jobs as a worker does, each in its own transaction."""
    while True:
        with transaction() as session:
            rows = claim(session)
        if not rows:
            return
        BatchRun(JOBS, do_jobs).run(rows)


def owed(session: Session, kind: str) -> list[tuple[str, str]]:
    """Returns address and contract of each waiting mail of this kind."""
    return [(address, reference) for address, reference in query(
        session, "SELECT e.to_address, c.reference FROM email e JOIN contract c ON c.id = e.contract_id"
                 " WHERE e.kind = :kind AND e.due_at IS NOT NULL ORDER BY 1, 2", kind=kind)]  # fmt: skip


def letters(session: Session) -> list[Letter]:
    """Reads the letters of all owed mails, in the order of their addresses."""
    rows = [
        row
        for queue in (Queue.EMAILS, Queue.EMAILS_BULK)
        for row in ledger.claim(session, EMAILS, queue, size=500, lease=30, worker=new_id())
    ]
    found = write_letters(session, rows)
    session.execute(text("UPDATE email SET leased_until = NULL, state = 'owed' WHERE leased_until IS NOT NULL"))
    return sorted(found, key=lambda letter: (letter.row.columns.to_address, letter.row.id))


def answers(session: Session, kind: str = "release_seats") -> list[list[str]]:
    """Returns the codes of each job of this kind, oldest job first."""
    jobs = query(session, "SELECT id FROM job WHERE kind = :kind ORDER BY created_at, id", kind=kind)
    shown = [show_job(session, job_id) or {} for (job_id,) in jobs]
    return [[person["code"] for person in job["result"]["people"]] for job in shown]


def token(link: str) -> str:
    """Returns the token in the link of a mail."""
    return link.rpartition("/")[2]


def enrol_and_invite(session: Session, *names: str) -> None:
    """Enrolls people and records their invitations as sent."""
    add_contract(session, seats=50)
    enrolled(session, *names)
    deliver(session)


# Releases

MANAGER = "chef@example.com"
OPTIONS: dict[str, Any] = {"release_after_days": 30, "manager_email": MANAGER}


def invited(session: Session, *people: Any, **contract: Any) -> list[UUID]:
    """Enrolls people on a contract that releases seats after thirty days, and records their invitations as sent."""
    add_contract(session, seats=100)
    change_contract(session, **(OPTIONS | contract))
    found = enrolled(session, *people)
    deliver(session)
    return found


def warned(session: Session, *people: Any, **contract: Any) -> list[UUID]:
    """Invites people and warns them on day 23; today is then day 30."""
    found = invited(session, *people, **contract)
    later(session, 23)
    plan(session)
    deliver(session)
    later(session, 7)
    return found


def letter_to(session: Session, address: str, kind: EmailKind) -> Letter:
    [found] = [one for one in letters(session) if (one.row.columns.to_address, one.kind) == (address, kind)]
    return found


def text_of(letter: Letter, locale: str = "fr") -> str:
    assert letter.unsent is None
    return render(letter.kind, locale, letter.context).text


def withdrawn_addresses(session: Session) -> list[str]:
    return [email for (email,) in query(
        session, "SELECT a.email_norm FROM enrollment n JOIN account a ON a.id = n.account_id"
                 " WHERE n.withdrawn_at IS NOT NULL ORDER BY 1")]  # fmt: skip
