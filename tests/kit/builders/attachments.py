"""The tests of detachment use these: a person attached to a second company by mistake, and the mail that told them."""

import re
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.words import EmailKind, JobState
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    query,
    someone,
)
from workers.actors.registry import do_jobs
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS, JOBS
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.reading.jobs import show_job
from workers.requests.base import Request
from workers.requests.queues import Queue

LINK = re.compile(r"/links/(\S+)")

ENROLLMENT = """
    SELECT e.progress, e.withdrawn_at IS NOT NULL, e.detached_at IS NOT NULL, c.enrolled_count,
      (SELECT coalesce(sum(change), 0) FROM seat_movement s WHERE s.contract_id = c.id),
      (SELECT count(*) FROM email m WHERE m.kind = 'detachment'),
      (SELECT count(*) FROM audit WHERE action = 'detach')
    FROM enrollment e JOIN contract c ON c.id = e.contract_id WHERE e.id = :id"""
"""Progress, withdrawn, detached, seats by counter, seats by seat ledger, mails to managers, audit entries."""


class Attached(NamedTuple):
    """A person attached to contract C-2, and the token of the link "this is not me" in their mail."""

    enrollment_id: UUID
    account_id: UUID
    token: str


def attach(
    session: Session,
    *,
    activated: bool = True,
    report_to: str | None = "chef@example.com",
    company: str = "autre",
    locale: str = "fr",
) -> Attached:
    """Enrolls Anne, who has an account at the company Acmé, on the contract of another company under another name."""
    add_contract(session)
    add_contract(session, "C-2", company=company)
    done(session, asking(someone("anne@example.com", "Anne", "Durand", locale=locale)))
    if activated:
        session.execute(text("UPDATE account SET activated_at = now()"))
        session.execute(text("UPDATE link SET consumed_at = now()"))
    session.execute(text("DELETE FROM email"))
    request = asking(someone("anne@example.com", "Annabelle", "Dupond"), contract="C-2", report_to=report_to)
    result = done(session, request)["result"]
    assert result["counts"] == {"attached": 1}
    [found] = [letter for letter in letters(session) if letter.kind == "attachment"]
    [person] = result["people"]
    return Attached(UUID(person["enrollment_id"]), UUID(person["account_id"]), token_of(found))


def done(session: Session, request: Request, *, state: JobState = JobState.SUCCEEDED) -> dict[str, Any]:
    """Does a request as a job, checks its state, and returns the job as its portal sees it."""
    job_id = accepted(session, request, key=str(new_id()))
    rows = ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=50, lease=30, worker=new_id())
    ledger.finish(session, JOBS, do_jobs(session, rows))
    job = show_job(session, job_id) or {}
    assert job["state"] == state, job
    return job


def letters(session: Session) -> list[Letter]:
    """Reads the owed mails, then gives their claim back, so that they are due as before."""
    rows = [
        row
        for queue in (Queue.EMAILS, Queue.EMAILS_BULK)
        for row in ledger.claim(session, EMAILS, queue, size=50, lease=30, worker=new_id())
    ]
    found = write_letters(session, rows)
    ledger.give_back(session, EMAILS, rows)
    return found


def token_of(letter: Letter) -> str:
    """Returns the token of the link "this is not me" in a letter."""
    matched = LINK.search(letter.context["not_me_link"])
    assert matched
    return matched[1]


def start_trainings(session: Session) -> None:
    """Records that all participants have started their training."""
    session.execute(text("UPDATE enrollment SET progress = 'in_progress', started_at = now() - interval '1 day'"))


def enrollment_state(session: Session, enrollment_id: UUID) -> tuple[object, ...]:
    """Returns the columns that `ENROLLMENT` selects."""
    [found] = query(session, ENROLLMENT, id=enrollment_id)
    return found


def detachment_letter(session: Session) -> dict[str, Any]:
    """Returns the content of the mail that tells the manager of a detachment."""
    [letter] = [one for one in letters(session) if one.kind is EmailKind.DETACHMENT]
    assert letter.unsent is None
    return dict(letter.context) | {"to": letter.row.columns.to_address, "locale": letter.row.columns.locale}
