"""An account gets another address: what ends with the old one, and what begins with the new one.

Whoever calls holds the account's row as a whole. Lock order: accounts by address, links, then, at the end of the batch
and for all of its accounts at once, enrollments by id and mails by id.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.correction import CorrectionGround
from models.reminder import REMINDER_STEPS
from models.words import EmailKind, Purpose
from workers.access.resending import RESET_MAIL_LIFETIME
from workers.audit import record
from workers.corrections.facts import LockedAccount
from workers.corrections.rows import CorrectionMail, NewCorrection, owe_mails
from workers.database import Session, array
from workers.security.links import offer_links, resend_links
from workers.security.lockouts import forget_failures, subjects_of

# Sessions of an account that had none need not end.
MOVE_ACCOUNT = text("""
    UPDATE account SET email_norm = :email,
      credential_version = credential_version + CASE WHEN activated_at IS NULL THEN 0 ELSE 1 END
    WHERE id = :account""")

# Activated it stays: it is asked for a new password, not invited. Its sessions have ended with the move.
FORGET_PASSWORD = text("UPDATE account SET password_hash = NULL WHERE id = :account")

VOID_LINKS = text("""
    UPDATE link SET voided_at = now() WHERE account_id = :account AND consumed_at IS NULL AND voided_at IS NULL""")

# A mail of an older release may be gone; then the links tell that somebody was to be invited.
READ_ENROLLMENTS = text("""
    SELECT e.id, e.contract_id, k.company_id, EXISTS (
      SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id
        AND m.kind = ANY(CAST(:kinds AS text[]))) AS notified
    FROM enrollment e JOIN contract k ON k.id = e.contract_id
    WHERE e.account_id = :account AND e.withdrawn_at IS NULL AND e.detached_at IS NULL
    ORDER BY e.enrolled_at DESC, e.id DESC""")

CHECK_REACHED = text("""
    SELECT EXISTS (SELECT 1 FROM email WHERE account_id = :account AND to_address = :email
      AND state IN ('sent', 'uncertain', 'sending'))""")

# Not those a mailer holds: it looks at the address again before it sends (``workers/mail/letters/reading.py``).
CANCEL_MAILS = text("""
    UPDATE email SET state = 'cancelled', due_at = NULL, finished_at = now() FROM (
      SELECT m.id FROM email m
      JOIN unnest(CAST(:accounts AS uuid[]), CAST(:emails AS text[])) t (account_id, to_address)
        USING (account_id, to_address)
      JOIN account a ON a.id = m.account_id AND a.email_norm <> m.to_address
      WHERE m.due_at IS NOT NULL AND m.leased_until IS NULL AND NOT m.kind = ANY(CAST(:frozen AS text[]))
      ORDER BY m.id FOR NO KEY UPDATE OF m) owed
    WHERE email.id = owed.id""")

# Whoever was reminded, or warned that their seat goes, at an address that was not theirs was not; an invitation that
# reached nobody had stopped the reminders.
RESTART_REMINDERS = text("""
    UPDATE enrollment SET release_warned_at = NULL, reminders = 0,
      next_reminder_at = CASE WHEN begun.invited THEN now() + :first_reminder END
    FROM (
      SELECT e.id, was.invited FROM enrollment e JOIN account a ON a.id = e.account_id
      CROSS JOIN LATERAL (
        SELECT e.next_reminder_at IS NOT NULL OR e.reminders > 0 OR EXISTS (
          SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id
            AND m.kind IN ('invitation', 'attachment')) AS invited) was
      WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND a.activated_at IS NULL
        AND e.withdrawn_at IS NULL AND e.detached_at IS NULL
        AND (e.release_warned_at IS NOT NULL OR was.invited)
      ORDER BY e.id FOR NO KEY UPDATE OF e) begun
    WHERE enrollment.id = begun.id""")

FROZEN: Final = frozenset({EmailKind.CORRECTION_CONFIRMATION, EmailKind.CORRECTION_NOTICE,
                           EmailKind.CORRECTION_APPLIED, EmailKind.CORRECTION_ENDED})  # fmt: skip
"""Mails written to an address, not to whoever has the account: the old one must hear that it was replaced."""

INVITING: Final = (EmailKind.INVITATION, EmailKind.ATTACHMENT, EmailKind.REMINDER)


def move(session: Session, whose: LockedAccount, new: str) -> bool:
    """Gives the account its new address; False, and nothing changed, when another account has it at this moment.

    Somebody may be enrolling it right now: the database decides who was first, and the loser's statement is undone.
    """
    try:
        with session.begin_nested():
            session.execute(MOVE_ACCOUNT, {"account": whose.account_id, "email": new})
    except IntegrityError:
        return False
    return True


def follow_up(
    session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection, ground: CorrectionGround | None
) -> int:
    """All that a moved address brings with it, but for what ``finish`` does for the whole batch.

    Old links end. An account that was never activated gets another link and its invitations; of one that was, both
    addresses are told. Where ops hand it over, whoever chose its password may be the wrong person: it opens the account
    no more, and the new address is sent a link to choose another. Returns how many invitations are owed.
    """
    voided: Any = session.execute(VOID_LINKS, {"account": whose.account_id})
    forget_failures(session, subjects_of(whose.email, None))  # nobody's address; the account's own count goes on
    mails = _applied(correction_id, new)
    invitations: list[CorrectionMail] = []
    if not whose.activated:
        invitations = _invitations(session, whose, correction_id, new, had_links=voided.rowcount > 0)
        mails = [*invitations, *_notice(session, whose, correction_id, new)]
    owe_mails(session, mails, account_id=whose.account_id, job_id=new.job_id, locale=whose.locale)
    handed_over = whose.activated and ground is CorrectionGround.OPS
    if handed_over:
        _ask_for_password(session, whose, correction_id, new)
    record(
        session,
        "apply_correction",
        portal_id=new.portal_id,
        requested_by=new.requested_by,
        result="applied",
        company_id=new.company_id,
        account_id=whose.account_id,
        subject_id=correction_id,
        job_id=new.job_id,
        detail={
            "ground": ground,
            "links_voided": voided.rowcount,
            "mails": len(mails) + handed_over,
            "password_forgotten": handed_over,
        },
    )
    return len(invitations)


def finish(session: Session, moved: Sequence[LockedAccount]) -> None:
    """Of all accounts moved in this transaction, as they were: mails still owed to the old addresses end, and what was
    sent there counts for nothing: reminders and warnings begin afresh.
    """
    if not moved:
        return
    accounts = [one.account_id for one in moved]
    session.execute(RESTART_REMINDERS, {"accounts": array(set(accounts)), "first_reminder": REMINDER_STEPS[0]})
    emails = [one.email for one in moved]
    session.execute(CANCEL_MAILS, {"accounts": accounts, "emails": emails, "frozen": list(FROZEN)})


def _invitations(
    session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection, *, had_links: bool
) -> list[CorrectionMail]:
    """One for each training they were to hear of; where no mail tells, of the latest they were enrolled on.

    A manager who chose that nobody is written to (`notify: false`) chose it for the right address too.
    """
    asked = {"account": whose.account_id, "kinds": list(INVITING)}
    enrollments = session.execute(READ_ENROLLMENTS, asked).all()
    told = [one for one in enrollments if one.notified] or (enrollments[:1] if had_links else [])
    if told:
        offer_links(session, [whose.account_id], known=[])
    kind = EmailKind.INVITATION
    return [
        CorrectionMail(
            kind, f"{kind}:{one.id}:{correction_id}", new.new_email, one.company_id, {}, one.id, one.contract_id
        )
        for one in told
    ]


def _ask_for_password(session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection) -> None:
    session.execute(FORGET_PASSWORD, {"account": whose.account_id})
    resend_links(session, Purpose.PASSWORD_RESET, {whose.account_id: 1})
    kind = EmailKind.PASSWORD_RESET
    mail = CorrectionMail(kind, f"{kind}:{correction_id}", new.new_email, new.lane, {"corrected": True})
    owe_mails(
        session,
        [mail],
        account_id=whose.account_id,
        job_id=new.job_id,
        locale=whose.locale,
        lifetime=RESET_MAIL_LIFETIME,
    )


def _notice(session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection) -> list[CorrectionMail]:
    """To the old address, without a link, if some mail may have reached it: it may be a stranger's."""
    if not session.execute(CHECK_REACHED, {"account": whose.account_id, "email": whose.email}).scalar():
        return []
    kind = EmailKind.CORRECTION_NOTICE
    context = {"correction": str(correction_id), "done": True}
    return [CorrectionMail(kind, f"{kind}:{correction_id}", whose.email, new.lane, context)]


def _applied(correction_id: UUID, new: NewCorrection) -> list[CorrectionMail]:
    kind = EmailKind.CORRECTION_APPLIED
    return [
        CorrectionMail(
            kind,
            f"{kind}:{correction_id}:{which}",
            address,
            new.lane,
            {"correction": str(correction_id), "to_new": which == "new"},
        )
        for which, address in (("old", new.old_email), ("new", new.new_email))
    ]
