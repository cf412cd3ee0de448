"""The rows of a correction: itself, its two links, its mails. Whoever calls holds the account."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.correction import LASTS, CorrectionGround, CorrectionVerdict
from models.words import CorrectionState, EmailKind, Purpose
from workers.audit import record
from workers.corrections.facts import PendingCorrection
from workers.database import Session, array
from workers.engine.ledger import wake_after_commit
from workers.enrollment.rows import MAIL_LIFETIME, message_id_domain
from workers.requests.queues import Queue
from workers.security.keys import signing_keys

INSERT_CORRECTION = text("""
    INSERT INTO email_correction (id, account_id, enrollment_id, company_id, portal_id, job_id, requested_by, old_email,
      new_email, state, ground, asked_at, ended_at)
    VALUES (:id, :account_id, :enrollment_id, :company_id, :portal_id, :job_id, :requested_by, :old_email, :new_email,
      CAST(:state AS text), :ground, now(), CASE WHEN CAST(:state AS text) <> 'pending' THEN now() END)
    RETURNING now() + CAST(:lasts AS interval)""")

END_CORRECTION = text("""
    UPDATE email_correction SET state = :state, ground = :ground, ended_at = now()
    WHERE id = :id AND state = 'pending'""")

INSERT_LINKS = text("""
    INSERT INTO link (id, purpose, account_id, subject_id, key_id, expires_at)
    SELECT t.id, t.purpose, :account, :correction, :newest, now() + CAST(:lasts AS interval)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:purposes AS text[])) t (id, purpose)""")

VOID_LINKS = text("""
    UPDATE link SET voided_at = now()
    WHERE account_id = :account AND subject_id = :correction AND consumed_at IS NULL AND voided_at IS NULL""")

# Not those a mailer holds: it looks again before it sends (``workers/mail/letters/correction.py``).
CANCEL_MAILS = text("""
    UPDATE email SET state = 'cancelled', due_at = NULL, finished_at = now() FROM (
      SELECT id FROM email WHERE account_id = :account AND kind = ANY(CAST(:kinds AS text[]))
        AND context ->> 'correction' = :correction AND due_at IS NOT NULL AND leased_until IS NULL
      ORDER BY id FOR NO KEY UPDATE) owed
    WHERE email.id = owed.id""")

# The address is frozen here: to the old one it is written as of before the change, to the new one as of after it.
INSERT_EMAILS = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      context, account_id, enrollment_id, contract_id, job_id, due_at)
    SELECT id, kind, :queue, lane, dedup_key, to_address, :locale,
      '<' || id || '.' || kind || '@' || CAST(:domain AS text) || '>', date_trunc('second', now()),
      now() + CAST(:lifetime AS interval), 'owed', CAST(context AS json), CAST(:account AS uuid), enrollment_id,
      contract_id, :job,
      now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:lanes AS uuid[]), CAST(:keys AS text[]),
      CAST(:addresses AS text[]), CAST(:contexts AS text[]), CAST(:enrollments AS uuid[]), CAST(:contracts AS uuid[]))
      t (id, kind, lane, dedup_key, to_address, context, enrollment_id, contract_id)
    ON CONFLICT (dedup_key) DO NOTHING""")

READ_MANAGER = text("""
    SELECT k.id, k.company_id, k.manager_email, k.manager_locale
    FROM enrollment n JOIN contract k ON k.id = n.contract_id
    WHERE n.id = :enrollment AND k.manager_email IS NOT NULL""")

PURPOSES: Final = (Purpose.CORRECTION_CONFIRMATION, Purpose.CORRECTION_ANSWER)
_OF_A_PENDING_ONE: Final = (EmailKind.CORRECTION_CONFIRMATION, EmailKind.CORRECTION_NOTICE)


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


class CorrectionMail(NamedTuple):
    """A mail about a correction. `key` keeps it from being owed twice."""

    kind: EmailKind
    key: str
    to_address: str
    lane: UUID
    context: dict[str, Any]
    enrollment_id: UUID | None = None
    contract_id: UUID | None = None


def insert_correction(
    session: Session, new: NewCorrection, state: CorrectionState, ground: CorrectionGround | None = None
) -> tuple[UUID, Any]:
    """Records a correction; returns it, and the moment until which it may wait."""
    correction_id = new_id()
    columns = new._asdict() | {"id": correction_id, "state": state, "ground": ground, "lasts": LASTS}
    return correction_id, session.execute(INSERT_CORRECTION, columns).scalar_one()


def insert_links(session: Session, correction_id: UUID, account_id: UUID) -> None:
    """The link the new address confirms with, and the one the old address answers with."""
    parameters: dict[str, Any] = {
        "ids": [new_id() for _ in PURPOSES],
        "purposes": list(PURPOSES),
        "account": account_id,
        "correction": correction_id,
        "newest": signing_keys().newest,
        "lasts": LASTS,
    }
    session.execute(INSERT_LINKS, parameters)


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
    session.execute(VOID_LINKS, {"account": waiting.account_id, "correction": waiting.id})
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
    context: dict[str, Any] = {"correction": str(waiting.id), "to_manager": False}
    if waiting.pending.confirmed_at is not None:
        mail = CorrectionMail(kind, f"{kind}:{waiting.id}:new", waiting.new_email, lane, context)
        owe_mails(session, [mail], account_id=waiting.account_id, job_id=waiting.job_id, locale=waiting.locale)
    manager = session.execute(READ_MANAGER, {"enrollment": waiting.enrollment_id}).one_or_none()
    if manager is not None and not by_manager:
        context = context | {"to_manager": True}
        mail = CorrectionMail(
            kind, f"{kind}:{waiting.id}:manager", manager.manager_email, lane, context, None, manager.id
        )
        owe_mails(session, [mail], account_id=None, job_id=waiting.job_id, locale=manager.manager_locale)


def mark_applied(session: Session, waiting: PendingCorrection, ground: CorrectionGround | None) -> None:
    """A pending correction was applied. Its links are void already, with all others of the account."""
    session.execute(END_CORRECTION, {"id": waiting.id, "state": CorrectionState.APPLIED, "ground": ground})
    cancel_pending_mails(session, waiting)


def cancel_pending_mails(session: Session, waiting: PendingCorrection) -> None:
    """Its confirmation and its notice are of no use any more, if they have not left."""
    which = {"account": waiting.account_id, "correction": str(waiting.id), "kinds": list(_OF_A_PENDING_ONE)}
    session.execute(CANCEL_MAILS, which)


def owe_mails(
    session: Session,
    mails: Sequence[CorrectionMail],
    *,
    account_id: UUID | None,
    job_id: UUID,
    locale: str,
    lifetime: timedelta = MAIL_LIFETIME,
) -> None:
    """Owes mails to the addresses of one account, urgently: somebody waits for them; to a manager it names none."""
    if not mails:
        return
    wake_after_commit(session, Queue.EMAILS)
    session.execute(
        INSERT_EMAILS,
        {
            "ids": [new_id() for _ in mails],
            "kinds": [mail.kind for mail in mails],
            "lanes": [mail.lane for mail in mails],
            "keys": [mail.key for mail in mails],
            "addresses": [mail.to_address for mail in mails],
            "contexts": [json.dumps(mail.context) for mail in mails],
            "enrollments": array(mail.enrollment_id for mail in mails),
            "contracts": array(mail.contract_id for mail in mails),
            "account": account_id,
            "job": job_id,
            "locale": locale,
            "queue": Queue.EMAILS,
            "domain": message_id_domain(),
            "lifetime": lifetime,
        },
    )
