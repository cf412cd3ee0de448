"""A person enrolled by mistake detaches themselves, in one transaction that uses up their link "this is not me".

Lock order, here as everywhere: contracts, accounts, links, enrollments, counters. When a detachment arrives at the same
moment as progress or a withdrawal, the first transaction to lock the enrollment decides.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE
from models.withdrawal import (
    DETACHING,
    AttachedEnrollment,
    DetachmentStep,
    decide_detachment,
)
from models.words import Code, EmailKind, Progress, Purpose, WebhookEvent
from workers.audit import record
from workers.database import Session, wait_briefly_for_locks
from workers.logs import get_logger
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.outbox.mails import OwedMail, cancel_mails_of_enrollments, owe
from workers.people.enrolling_requests import read_enrolling_request
from workers.requests.queues import Queue
from workers.security.link_views import (
    LinkView,
    consume_link,
    hold_link,
    look_at_link,
)
from workers.security.tokens import SigningKeys
from workers.sql import fetch_one, fetch_value

log = get_logger("detachment")

DETACHED: Final = WebhookEvent.PARTICIPANT_DETACHED

_FOUND: Final = """
    SELECT e.id, e.progress, e.withdrawn_at, e.detached_at, e.job_id, e.contract_id, c.company_id, c.manager_email,
      c.manager_locale, co.name AS company_name, tr.title AS training_title
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    JOIN training tr ON tr.id = c.training_id WHERE e.id = :id AND e.account_id = :account_id"""

# Reads without a lock: for the page, and for cases that end before a lock is needed.
FIND_ENROLLMENT = text(_FOUND)

# Locks the contract, because its seat may become free.
LOCK_CONTRACT = text(f"{_FOUND} FOR NO KEY UPDATE OF c")

# The account cannot be erased while the person detaches themselves.
LOCK_ACCOUNT = text("SELECT id FROM account WHERE id = :account_id FOR KEY SHARE")

# Locks the enrollment and reads it again: it may have changed since it was read without the lock.
LOCK_ENROLLMENT = text(f"{_FOUND} FOR NO KEY UPDATE OF e")

# Finds out whether the request that enrolled the person names an address for its report. It looks for the mail owed
# for that report and not into the request: mail scanners open the page too, and a request may hold 200,000 people.
CHECK_CONFIRMED: Final = text(f"""
    SELECT EXISTS (SELECT 1 FROM email m JOIN job j ON j.id = :job AND j.request IS NOT NULL
      WHERE m.dedup_key IN ('{EmailKind.ENROLLMENT_REPORT}:' || j.id, '{EmailKind.IMPORT_REPORT}:' || j.id))""")

# For a training that was begun: the seat stays used.
DETACH_ENROLLMENT = text(f"""
    UPDATE enrollment e SET detached_at = now(), next_reminder_at = NULL
    WHERE e.id = :id AND {LIVE} AND e.detached_at IS NULL""")

# The same statement changes the enrollment and frees the seat, so only a row that really changed frees one.
RETURN_SEAT = text(f"""
    WITH gone AS (
      UPDATE enrollment e SET detached_at = now(), withdrawn_at = now(), next_reminder_at = NULL
      WHERE e.id = :id AND e.progress = 'not_started' AND {LIVE} AND e.detached_at IS NULL
      RETURNING e.id, e.contract_id),
    seats AS (INSERT INTO seat_movement (contract_id, enrollment_id, change) SELECT contract_id, id, -1 FROM gone)
    UPDATE contract c SET enrolled_count = c.enrolled_count - 1 FROM gone WHERE c.id = gone.contract_id""")


class FoundEnrollment(NamedTuple):
    """The enrollment that a link "this is not me" is about, with its contract."""

    id: UUID
    progress: str
    withdrawn_at: datetime | None
    detached_at: datetime | None
    job_id: UUID | None
    contract_id: UUID
    company_id: UUID
    manager_email: str | None
    manager_locale: str
    company_name: str
    training_title: str


@dataclass(frozen=True, slots=True)
class DisputedEnrollment:
    """The enrollment that a link "this is not me" is about, as the page shows it.

    Parameters:
      step: the effect the button would have now.
      told: the address of a manager is known, and the manager will be told.
    """

    company_name: str
    training_title: str
    step: DetachmentStep
    told: bool


def look_at_attachment(session: Session, view: LinkView) -> DisputedEnrollment | None:
    """Finds the enrollment that the holder of this link may leave; None when it no longer exists."""
    found = fetch_one(session, FoundEnrollment, FIND_ENROLLMENT, _ids(view))
    if found is None:
        return None
    told = found.manager_email is not None or fetch_value(session, bool, CHECK_CONFIRMED, {"job": found.job_id})
    return DisputedEnrollment(found.company_name, found.training_title, _decide(found), bool(told))


def detach(session: Session, keys: SigningKeys, token: str) -> DetachmentStep | Code:
    """Detaches the person from the enrollment of their link, and uses the link up.

    If the training was not begun, the seat is free again, with its seat movement, as after a withdrawal; if it was
    begun, the seat stays used. Mails still owed to the person about it are cancelled, and no other follows.
    The manager is told by mail, if an address is known. When two requests use the link at the same moment, one detaches
    the person; the other waits for the contract and then answers ``USED_LINK``.

    Returns:
      The step that was done (a step outside ``DETACHING`` changed nothing), or the reason why the link cannot be used
      (``look_at_link``).

    Raises: a transient error of the database, such as a row locked for too long; the caller may try again.
    """
    view = look_at_link(session, keys, token)
    if isinstance(view, Code):
        return view
    if view.purpose is not Purpose.NOT_ME:
        return Code.INVALID_LINK
    found = fetch_one(session, FoundEnrollment, FIND_ENROLLMENT, _ids(view))
    if found is None or (step := _decide(found)) not in DETACHING:
        return DetachmentStep.NOTHING_LEFT if found is None else step
    manager = _find_manager(session, found)  # it may take a moment, so it comes before the locks
    held = _hold(session, keys, token, view)
    if isinstance(held, Code) or (step := _decide(held)) not in DETACHING:
        return held if isinstance(held, Code) else step
    session.execute(RETURN_SEAT if step is DetachmentStep.GIVE_SEAT_BACK else DETACH_ENROLLMENT, _ids(view))
    told = EnrollmentNews(DETACHED, held.id, {"seat_freed": step is DetachmentStep.GIVE_SEAT_BACK})
    tell_of_enrollments(session, None, {DETACHED}, [told])
    cancel_mails_of_enrollments(session, [(view.account_id, held.id)])
    consume_link(session, view.link_id)
    if manager is None:
        log.warning("detachment.nobody_told", enrollment=str(held.id))
    else:
        _tell(session, held, *manager)
    record(
        session,
        "detach",
        company_id=held.company_id,
        account_id=view.account_id,
        subject_id=held.id,
        detail={
            "progress": held.progress,
            "seat_freed": step is DetachmentStep.GIVE_SEAT_BACK,
            "told": manager is not None,
        },
    )
    return step


def _ids(view: LinkView) -> dict[str, UUID | None]:
    return {"id": view.subject_id, "account_id": view.account_id}


def _decide(row: FoundEnrollment) -> DetachmentStep:
    return decide_detachment(AttachedEnrollment(Progress(row.progress), row.withdrawn_at, row.detached_at))


def _hold(session: Session, keys: SigningKeys, token: str, view: LinkView) -> FoundEnrollment | Code:
    """Locks the contract, account, link and enrollment; returns the enrollment, or why the link cannot be used.

    It waits for the contract without a time limit, because a roster may hold it for long and no lock is held meanwhile.
    It waits only briefly for the other rows, because other transactions then wait for the contract.
    """
    session.execute(LOCK_CONTRACT, _ids(view))
    wait_briefly_for_locks(session)
    session.execute(LOCK_ACCOUNT, _ids(view))
    held = hold_link(session, keys, token)
    if isinstance(held, Code):
        return held
    return fetch_one(session, FoundEnrollment, LOCK_ENROLLMENT, _ids(view)) or Code.INVALID_LINK


def _find_manager(session: Session, row: FoundEnrollment) -> tuple[str, str] | None:
    """Finds the address and language of the manager: those of the contract, else those the request reports to."""
    if row.manager_email is not None:
        return row.manager_email, row.manager_locale
    request = read_enrolling_request(session, row.id)
    return None if request.report_to is None else (request.report_to, request.report_locale)


def _tell(session: Session, row: FoundEnrollment, address: str, locale: str) -> None:
    """Owes the manager's mail, without an account, so that cancelling the person's mails does not cancel it."""
    mail = OwedMail(
        EmailKind.DETACHMENT,
        str(row.id),
        row.company_id,
        address,
        locale,
        Queue.EMAILS,
        job_id=row.job_id,
        enrollment_id=row.id,
        contract_id=row.contract_id,
    )
    owe(session, [mail])
