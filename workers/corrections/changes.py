"""An account gets another address: what ends with the old one, and what begins with the new one.

Whoever calls holds the account's row as a whole. Lock order: accounts by address, links, then, at the end of the batch
and for all of its accounts at once, enrollments by id and mails by id.
"""

from typing import Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.correction import CorrectionGround
from models.mails import FROZEN, INVITING, TELLING_OF_ACCESS, quoted
from models.reminder import REMINDER_STEPS
from models.words import EmailKind, Purpose
from workers.audit import record
from workers.corrections.facts import LockedAccount
from workers.corrections.rows import NewCorrection, mail_about
from workers.database import Session, array
from workers.outbox.mails import OwedMail, cancel_mails_to_former_addresses, owe
from workers.requests.queues import Queue
from workers.security.links import offer_links, resend_links, void_links
from workers.security.lockouts import forget_failures, subjects_of

# Sessions of an account that had none need not end.
MOVE_ACCOUNT = text("""
    UPDATE account SET email_norm = :email,
      credential_version = credential_version + CASE WHEN activated_at IS NULL THEN 0 ELSE 1 END
    WHERE id = :account""")

# Activated it stays: it is asked for a new password, not invited. Its sessions have ended with the move.
FORGET_PASSWORD = text("UPDATE account SET password_hash = NULL WHERE id = :account")

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

# Whoever was reminded, or warned that their seat goes, at an address that was not theirs was not; an invitation that
# reached nobody had stopped the reminders.
RESTART_REMINDERS = text(f"""
    UPDATE enrollment SET release_warned_at = NULL, reminders = 0,
      next_reminder_at = CASE WHEN begun.invited THEN now() + :first_reminder END
    FROM (
      SELECT e.id, was.invited FROM enrollment e JOIN account a ON a.id = e.account_id
      CROSS JOIN LATERAL (
        SELECT e.next_reminder_at IS NOT NULL OR e.reminders > 0 OR EXISTS (
          SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id
            AND m.kind IN ({quoted(INVITING)})) AS invited) was
      WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND a.activated_at IS NULL
        AND e.withdrawn_at IS NULL AND e.detached_at IS NULL
        AND (e.release_warned_at IS NOT NULL OR was.invited)
      ORDER BY e.id FOR NO KEY UPDATE OF e) begun
    WHERE enrollment.id = begun.id""")


class AccountMoves:
    """The accounts that get another address in one transaction, whose rows it holds as a whole.

    Used as a context manager: when its block ends, what was bound to the former addresses ends for all accounts at
    once. Mails still owed to those addresses are cancelled, and reminders and warnings begin afresh, because what was
    sent to a wrong address counts for nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._moved: list[LockedAccount] = []

    def __enter__(self) -> Self:
        """The collector itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Ends what was bound to the former addresses, unless the transaction fails anyway."""
        if kind is None and self._moved:
            accounts = array({one.account_id for one in self._moved})
            self._session.execute(RESTART_REMINDERS, {"accounts": accounts, "first_reminder": REMINDER_STEPS[0]})
            former = [(one.account_id, one.email) for one in self._moved]
            cancel_mails_to_former_addresses(self._session, former, kept=FROZEN)

    def move(self, account: LockedAccount, email: str) -> bool:
        """Gives the account its new address; False, and nothing is changed, when another account has it.

        A request may be enrolling the new address at the same moment: the database decides which is first, and the
        statement of the loser is undone.
        """
        try:
            with self._session.begin_nested():
                self._session.execute(MOVE_ACCOUNT, {"account": account.account_id, "email": email})
        except IntegrityError:
            return False
        self._moved.append(account)
        return True


def follow_up(
    session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection, ground: CorrectionGround | None
) -> int:
    """Does what a moved address brings with it for one account; ``AccountMoves`` does the rest for all of them.

    Old links end. An account that was never activated gets another link and its invitations; of one that was, both
    addresses are told. Where ops hand it over, whoever chose its password may be the wrong person: it opens the account
    no more, and the new address is sent a link to choose another. Returns how many invitations are owed.
    """
    voided = void_links(session, whose.account_id)
    forget_failures(session, subjects_of(whose.email, None))  # nobody's address; the account's own count goes on
    mails = _applied(whose, correction_id, new)
    invitations: list[OwedMail] = []
    if not whose.activated:
        invitations = _invitations(session, whose, correction_id, new, had_links=voided > 0)
        mails = [*invitations, *_notice(session, whose, correction_id, new)]
    owe(session, mails)
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
            "links_voided": voided,
            "mails": len(mails) + handed_over,
            "password_forgotten": handed_over,
        },
    )
    return len(invitations)


def _invitations(
    session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection, *, had_links: bool
) -> list[OwedMail]:
    """One invitation for each training they were told of; where no mail tells, for the latest enrollment.

    A manager who chose that no mail is sent (`notify: false`) chose it for the right address too.
    """
    asked = {"account": whose.account_id, "kinds": list(TELLING_OF_ACCESS)}
    enrollments = session.execute(READ_ENROLLMENTS, asked).all()
    told = [one for one in enrollments if one.notified] or (enrollments[:1] if had_links else [])
    if told:
        offer_links(session, [whose.account_id], known=[])
    return [
        OwedMail(
            EmailKind.INVITATION,
            f"{one.id}:{correction_id}",
            one.company_id,
            new.new_email,
            whose.locale,
            Queue.EMAILS,
            job_id=new.job_id,
            account_id=whose.account_id,
            enrollment_id=one.id,
            contract_id=one.contract_id,
            context={},
        )
        for one in told
    ]


def _ask_for_password(session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection) -> None:
    session.execute(FORGET_PASSWORD, {"account": whose.account_id})
    resend_links(session, Purpose.PASSWORD_RESET, {whose.account_id: 1})
    mail = mail_about(
        new,
        EmailKind.PASSWORD_RESET,
        key=str(correction_id),
        to_address=new.new_email,
        locale=whose.locale,
        context={"corrected": True},
    )
    owe(session, [mail])


def _notice(session: Session, whose: LockedAccount, correction_id: UUID, new: NewCorrection) -> list[OwedMail]:
    """The mail to the old address, if some mail may have reached it. It has no link: a stranger may read it."""
    if not session.execute(CHECK_REACHED, {"account": whose.account_id, "email": whose.email}).scalar():
        return []
    context = {"correction": str(correction_id), "done": True}
    mail = mail_about(
        new,
        EmailKind.CORRECTION_NOTICE,
        key=str(correction_id),
        to_address=whose.email,
        locale=whose.locale,
        context=context,
    )
    return [mail]


def _applied(whose: LockedAccount, correction_id: UUID, new: NewCorrection) -> list[OwedMail]:
    return [
        mail_about(
            new,
            EmailKind.CORRECTION_APPLIED,
            key=f"{correction_id}:{which}",
            to_address=address,
            locale=whose.locale,
            context={"correction": str(correction_id), "to_new": which == "new"},
        )
        for which, address in (("old", new.old_email), ("new", new.new_email))
    ]
