"""The rows of a correction: the correction itself, its two links, its mails. The caller holds the account."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.correction import LASTS, CorrectionGround, CorrectionVerdict
from models.mails import ASKING_ABOUT_CORRECTION
from models.words import CorrectionState, EmailKind, Purpose
from workers.audit import record
from workers.corrections.facts import PendingCorrection
from workers.database import Session
from workers.outbox.mails import OwedMail, cancel_mails_of_correction, owe
from workers.requests.queues import Queue
from workers.security.links import offer_subject_links, void_links
from workers.sql import fetch, fetch_one

# A correction that is applied at once is recorded as ended.
INSERT_CORRECTION = text("""
    INSERT INTO email_correction (id, account_id, enrollment_id, company_id, portal_id, job_id, requested_by, old_email,
      new_email, state, ground, asked_at, ended_at)
    VALUES (:id, :account_id, :enrollment_id, :company_id, :portal_id, :job_id, :requested_by, :old_email, :new_email,
      CAST(:state AS text), :ground, now(), CASE WHEN CAST(:state AS text) <> 'pending' THEN now() END)
    RETURNING id, now() + CAST(:lasts AS interval) AS waits_until""")

# Only a pending correction ends: a second end changes nothing.
END_CORRECTION = text("""
    UPDATE email_correction SET state = :state, ground = :ground, ended_at = now()
    WHERE id = :id AND state = 'pending'""")

# The manager of the contract, if the portal named an address to write to.
READ_MANAGER = text("""
    SELECT c.id AS contract_id, c.manager_email AS email, c.manager_locale AS locale
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    WHERE e.id = :enrollment AND c.manager_email IS NOT NULL""")

PURPOSES: Final = (Purpose.CORRECTION_CONFIRMATION, Purpose.CORRECTION_ANSWER)


class NewCorrection(NamedTuple):
    """A correction that was asked for; a company's manager names the row they ticked, operators do not."""

    account_id: UUID
    portal_id: UUID
    job_id: UUID
    requested_by: str
    old_email: str
    new_email: str
    enrollment_id: UUID | None = None
    company_id: UUID | None = None

    @property
    def lane(self) -> UUID:
        """The lane of its mails: the company's, or the portal's when operators asked."""
        return self.company_id or self.portal_id


class InsertedCorrection(NamedTuple):
    """A correction that was recorded, and the moment until which it may wait."""

    id: UUID
    waits_until: datetime


class _NotifiedManager(NamedTuple):
    contract_id: UUID
    email: str
    locale: str


def mail_about(
    new: NewCorrection,
    kind: EmailKind,
    *,
    key: str,
    to_address: str,
    locale: str,
    context: dict[str, Any],
) -> OwedMail:
    """Returns a mail about a correction to one address of its account.

    A person waits for it: it goes by the urgent queue.
    """
    return OwedMail(
        kind,
        key,
        new.lane,
        to_address,
        locale,
        Queue.EMAILS,
        job_id=new.job_id,
        account_id=new.account_id,
        context=context,
    )


def insert_correction(
    session: Session, new: NewCorrection, state: CorrectionState, ground: CorrectionGround | None = None
) -> InsertedCorrection:
    """Records a correction."""
    columns = new._asdict() | {"id": new_id(), "state": state, "ground": ground, "lasts": LASTS}
    [inserted] = fetch(session, InsertedCorrection, INSERT_CORRECTION, columns)
    return inserted


def insert_links(session: Session, correction_id: UUID, account_id: UUID) -> None:
    """Makes the link by which the new address confirms, and the link by which the old address answers."""
    for purpose in PURPOSES:
        offer_subject_links(session, purpose, {correction_id: account_id})


def end_pending(
    session: Session,
    waiting: PendingCorrection,
    verdict: CorrectionVerdict,
    *,
    requested_by: str = "",
    instead: NewCorrection | None = None,
) -> None:
    """Ends a pending correction that is not applied: its links are voided, its mails are not sent any more, and the
    people who wait for it are told.

    Parameters:
      instead: the correction asked for in its place. A manager who asked for it is not told again, nor is an address
        that both corrections name.
    """
    session.execute(END_CORRECTION, {"id": waiting.id, "state": verdict.state, "ground": verdict.ground})
    void_links(session, waiting.account_id, subject_id=waiting.id)
    cancel_pending_mails(session, waiting)
    record(
        session,
        "end_correction",
        portal_id=waiting.portal_id,
        requested_by=requested_by,
        result=verdict.state,
        company_id=waiting.company_id,
        account_id=waiting.account_id,
        subject_id=waiting.id,
        job_id=waiting.job_id,
        detail={"ground": verdict.ground},
    )
    if waiting.new_email and (
        instead is None or instead.new_email != waiting.new_email
    ):  # empty: the person was erased
        _tell_ended(session, waiting, by_manager=instead is not None and instead.enrollment_id is not None)


def _tell_ended(session: Session, waiting: PendingCorrection, *, by_manager: bool) -> None:
    """Owes the mails that say it was not made: to the new address if it had confirmed, to the contract's manager."""
    if waiting.pending.confirmed_at is not None:
        owe(session, [_ended_mail_to_new_address(waiting)])
    manager = fetch_one(session, _NotifiedManager, READ_MANAGER, {"enrollment": waiting.enrollment_id})
    if manager is not None and not by_manager:
        owe(session, [_ended_mail_to_manager(waiting, manager)])


def _ended_mail_to_new_address(waiting: PendingCorrection) -> OwedMail:
    return OwedMail(
        EmailKind.CORRECTION_ENDED,
        f"{waiting.id}:new",
        waiting.company_id or waiting.portal_id,
        waiting.new_email,
        waiting.locale,
        Queue.EMAILS,
        job_id=waiting.job_id,
        account_id=waiting.account_id,
        context={"correction": str(waiting.id), "to_manager": False},
    )


def _ended_mail_to_manager(waiting: PendingCorrection, manager: _NotifiedManager) -> OwedMail:
    return OwedMail(
        EmailKind.CORRECTION_ENDED,
        f"{waiting.id}:manager",
        waiting.company_id or waiting.portal_id,
        manager.email,
        manager.locale,
        Queue.EMAILS,
        job_id=waiting.job_id,
        contract_id=manager.contract_id,
        context={"correction": str(waiting.id), "to_manager": True},
    )


def mark_applied(session: Session, waiting: PendingCorrection, ground: CorrectionGround | None) -> None:
    """Marks a pending correction as applied. Its links were voided with all others of the account."""
    session.execute(END_CORRECTION, {"id": waiting.id, "state": CorrectionState.APPLIED, "ground": ground})
    cancel_pending_mails(session, waiting)


def cancel_pending_mails(session: Session, waiting: PendingCorrection) -> None:
    """Cancels the confirmation and the notice of a correction that has ended, if they have not left."""
    cancel_mails_of_correction(session, waiting.account_id, waiting.id, ASKING_ABOUT_CORRECTION)
