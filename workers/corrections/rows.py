"""The rows of a correction: itself, its two links, its mails. Whoever calls holds the account."""

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

INSERT_CORRECTION = text("""
    INSERT INTO email_correction (id, account_id, enrollment_id, company_id, portal_id, job_id, requested_by, old_email,
      new_email, state, ground, asked_at, ended_at)
    VALUES (:id, :account_id, :enrollment_id, :company_id, :portal_id, :job_id, :requested_by, :old_email, :new_email,
      CAST(:state AS text), :ground, now(), CASE WHEN CAST(:state AS text) <> 'pending' THEN now() END)
    RETURNING now() + CAST(:lasts AS interval)""")

END_CORRECTION = text("""
    UPDATE email_correction SET state = :state, ground = :ground, ended_at = now()
    WHERE id = :id AND state = 'pending'""")

READ_MANAGER = text("""
    SELECT k.id, k.company_id, k.manager_email, k.manager_locale
    FROM enrollment n JOIN contract k ON k.id = n.contract_id
    WHERE n.id = :enrollment AND k.manager_email IS NOT NULL""")

PURPOSES: Final = (Purpose.CORRECTION_CONFIRMATION, Purpose.CORRECTION_ANSWER)


class NewCorrection(NamedTuple):
    """A correction that was asked for; a company's manager names the row they ticked, ops do not."""

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
        """Whose mails its mails take turns with: the company's, or the portal's."""
        return self.company_id or self.portal_id


def mail_about(
    new: NewCorrection,
    kind: EmailKind,
    *,
    key: str,
    to_address: str,
    locale: str,
    context: dict[str, Any],
) -> OwedMail:
    """A mail about a correction, to one address of its account. It is urgent: a person waits for it."""
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
) -> tuple[UUID, Any]:
    """Records a correction; returns it, and the moment until which it may wait."""
    correction_id = new_id()
    columns = new._asdict() | {"id": correction_id, "state": state, "ground": ground, "lasts": LASTS}
    return correction_id, session.execute(INSERT_CORRECTION, columns).scalar_one()


def insert_links(session: Session, correction_id: UUID, account_id: UUID) -> None:
    """The link the new address confirms with, and the one the old address answers with."""
    for purpose in PURPOSES:
        offer_subject_links(session, purpose, {correction_id: account_id})


def end(
    session: Session,
    waiting: PendingCorrection,
    verdict: CorrectionVerdict,
    *,
    requested_by: str = "",
    instead: NewCorrection | None = None,
) -> None:
    """Ends a pending correction that is not applied: its links are void, its mails are not sent any more, and whoever
    waits for it is told.

    Parameters:
      instead: what was asked for in its place: a manager who did knows, and so does the address both name.
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
    if waiting.new_email and (instead is None or instead.new_email != waiting.new_email):  # empty: they were erased
        _tell_ended(session, waiting, by_manager=instead is not None and instead.enrollment_id is not None)


def _tell_ended(session: Session, waiting: PendingCorrection, *, by_manager: bool) -> None:
    """Owes the mails that say it was not made: to the new address if it had confirmed, to the contract's manager."""
    kind, lane = EmailKind.CORRECTION_ENDED, waiting.company_id or waiting.portal_id
    context = {"correction": str(waiting.id), "to_manager": False}
    if waiting.pending.confirmed_at is not None:
        mail = OwedMail(
            kind,
            f"{waiting.id}:new",
            lane,
            waiting.new_email,
            waiting.locale,
            Queue.EMAILS,
            job_id=waiting.job_id,
            account_id=waiting.account_id,
            context=context,
        )
        owe(session, [mail])
    manager = session.execute(READ_MANAGER, {"enrollment": waiting.enrollment_id}).one_or_none()
    if manager is not None and not by_manager:
        mail = OwedMail(
            kind,
            f"{waiting.id}:manager",
            lane,
            manager.manager_email,
            manager.manager_locale,
            Queue.EMAILS,
            job_id=waiting.job_id,
            contract_id=manager.id,
            context=context | {"to_manager": True},
        )
        owe(session, [mail])


def mark_applied(session: Session, waiting: PendingCorrection, ground: CorrectionGround | None) -> None:
    """A pending correction was applied. Its links are void already, with all others of the account."""
    session.execute(END_CORRECTION, {"id": waiting.id, "state": CorrectionState.APPLIED, "ground": ground})
    cancel_pending_mails(session, waiting)


def cancel_pending_mails(session: Session, waiting: PendingCorrection) -> None:
    """Its confirmation and its notice are of no use any more, if they have not left."""
    cancel_mails_of_correction(session, waiting.account_id, waiting.id, ASKING_ABOUT_CORRECTION)
