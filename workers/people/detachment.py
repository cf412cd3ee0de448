"""Somebody attached by mistake detaches themselves: the one transaction in which their link "this is not me" is used.

Lock order, here as everywhere: contracts, accounts, links, enrollments, counters. Of a detachment and a progress or a
withdrawal that arrive at the same moment the first to hold the enrollment decides.
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
from models.words import Code, EmailKind, Progress, Purpose
from workers.audit import record
from workers.database import Session, wait_briefly_for_locks
from workers.logs import get_logger
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

_FOUND: Final = """
    SELECT e.id, e.progress, e.withdrawn_at, e.detached_at, e.job_id, e.contract_id, c.company_id, c.manager_email,
      c.manager_locale, co.name AS company_name, tr.title AS training_title
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    JOIN training tr ON tr.id = c.training_id WHERE e.id = :id AND e.account_id = :account_id"""

# Looks without holding anything: a page that is opened, and what may end before anything is held.
FIND_ENROLLMENT = text(_FOUND)

# Holds the contract, whose seat may come back.
LOCK_CONTRACT = text(f"{_FOUND} FOR NO KEY UPDATE OF c")

# Nobody is erased while they detach themselves.
LOCK_ACCOUNT = text("SELECT id FROM account WHERE id = :account_id FOR KEY SHARE")

# Holds the enrollment and reads it again: what was true without the lock may be so no longer.
LOCK_ENROLLMENT = text(f"{_FOUND} FOR NO KEY UPDATE OF e")

# Whether the request that enrolled them names somebody, told by the mail that is owed for it: the page is opened by
# anybody's scanner, and a request may be of 200,000 people.
CHECK_CONFIRMED: Final = text(f"""
    SELECT EXISTS (SELECT 1 FROM email m JOIN job j ON j.id = :job AND j.request IS NOT NULL
      WHERE m.dedup_key IN ('{EmailKind.ENROLLMENT_REPORT}:' || j.id, '{EmailKind.IMPORT_REPORT}:' || j.id))""")

# Of a training that is begun: the seat stays used.
DETACH_ENROLLMENT = text(f"""
    UPDATE enrollment e SET detached_at = now(), next_reminder_at = NULL
    WHERE e.id = :id AND {LIVE} AND e.detached_at IS NULL""")

# The seat moves by the row that really changed, in the same statement.
RETURN_SEAT = text(f"""
    WITH gone AS (
      UPDATE enrollment e SET detached_at = now(), withdrawn_at = now(), next_reminder_at = NULL
      WHERE e.id = :id AND e.progress = 'not_started' AND {LIVE} AND e.detached_at IS NULL
      RETURNING e.id, e.contract_id),
    seats AS (INSERT INTO seat_movement (contract_id, enrollment_id, change) SELECT contract_id, id, -1 FROM gone)
    UPDATE contract c SET enrolled_count = c.enrolled_count - 1 FROM gone WHERE c.id = gone.contract_id""")


class FoundEnrollment(NamedTuple):
    """The enrollment a link "this is not me" speaks of, with its contract."""

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
    """What a link "this is not me" speaks of, as the page shows it.

    Parameters:
      step: what saying so now would come to.
      told: somebody of the company is known who will be told.
    """

    company_name: str
    training_title: str
    step: DetachmentStep
    told: bool


def look_at_attachment(session: Session, view: LinkView) -> DisputedEnrollment | None:
    """What the holder of this link may detach themselves from; None when nothing is known of it any more."""
    found = fetch_one(session, FoundEnrollment, FIND_ENROLLMENT, _ids(view))
    if found is None:
        return None
    told = found.manager_email is not None or fetch_value(session, bool, CHECK_CONFIRMED, {"job": found.job_id})
    return DisputedEnrollment(found.company_name, found.training_title, _decide(found), bool(told))


def detach(session: Session, keys: SigningKeys, token: str) -> DetachmentStep | Code:
    """Detaches the person from the enrollment their link speaks of, and uses the link up.

    A seat not begun is free again, with its movement, as after a withdrawal; a begun one stays used. Mails still owed
    to the person about it are cancelled, and they get no other; the manager is told by mail, if any is known. Of two at
    the same moment one does it, and the other, which waited for the contract, answers ``USED_LINK``.

    Returns:
      What was done; a step outside ``DETACHING`` changed nothing. Or why the link cannot be used (``look_at_link``).

    Raises: transient errors of the database (a row held for too long): it may be done again.
    """
    view = look_at_link(session, keys, token)
    if isinstance(view, Code):
        return view
    if view.purpose is not Purpose.NOT_ME:
        return Code.INVALID_LINK
    found = fetch_one(session, FoundEnrollment, FIND_ENROLLMENT, _ids(view))
    if found is None or (step := _decide(found)) not in DETACHING:
        return DetachmentStep.NOTHING_LEFT if found is None else step
    manager = _find_manager(session, found)  # may take a moment: before anything is held
    held = _hold(session, keys, token, view)
    if isinstance(held, Code) or (step := _decide(held)) not in DETACHING:
        return held if isinstance(held, Code) else step
    session.execute(RETURN_SEAT if step is DetachmentStep.GIVE_SEAT_BACK else DETACH_ENROLLMENT, _ids(view))
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
    """The enrollment, once it, its contract, account and link are held; or why the link cannot be used any more.

    The contract is waited for as long as it takes a roster to give it back, holding nothing; the rest briefly, because
    others then wait for the contract.
    """
    session.execute(LOCK_CONTRACT, _ids(view))
    wait_briefly_for_locks(session)
    session.execute(LOCK_ACCOUNT, _ids(view))
    held = hold_link(session, keys, token)
    if isinstance(held, Code):
        return held
    return fetch_one(session, FoundEnrollment, LOCK_ENROLLMENT, _ids(view)) or Code.INVALID_LINK


def _find_manager(session: Session, row: FoundEnrollment) -> tuple[str, str] | None:
    """Whom to tell, and in which language: the contract's manager, or else whoever had the enrollment confirmed."""
    if row.manager_email is not None:
        return row.manager_email, row.manager_locale
    request = read_enrolling_request(session, row.id)
    return None if request.report_to is None else (request.report_to, request.report_locale)


def _tell(session: Session, row: FoundEnrollment, address: str, locale: str) -> None:
    """Owes the manager's mail. It names no account: what is done to the mails of a person does not concern it."""
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
