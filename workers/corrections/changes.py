"""Changing the address of an account: links and mails of the old address end, and the new address is written to.

The caller holds the account's row as a whole. Lock order: accounts by address, links, then, at the end of the batch and
for all of its accounts at once, enrollments by id and mails by id.
"""

from typing import NamedTuple, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.correction import CorrectionGround
from models.email import INVITING
from models.enrollment import PARTICIPATING
from models.mails import FROZEN, TELLING_OF_ACCESS
from models.reminder import REMINDER_STEPS
from models.words import EmailKind, Purpose
from workers.audit import record
from workers.corrections.facts import LockedAccount
from workers.corrections.rows import NewCorrection, mail_about
from workers.database import Session, array
from workers.enrollment.searching import renew_words
from workers.outbox.mails import OwedMail, cancel_mails_to_former_addresses, owe
from workers.requests.queues import Queue
from workers.security.links import offer_links, resend_links, void_links
from workers.security.lockouts import forget_everywhere, subjects_of
from workers.sql import fetch, fetch_value

# An account that was never activated has no sessions to end.
MOVE_ACCOUNT = text("""
    UPDATE account SET email_norm = :email,
      credential_version = credential_version + CASE WHEN activated_at IS NULL THEN 0 ELSE 1 END
    WHERE id = :account""")

# The account stays activated: its owner is asked for a new password, not invited. Its sessions ended with the move.
FORGET_PASSWORD = text("UPDATE account SET password_hash = NULL WHERE id = :account")

# A mail of an older release may be gone; then the links tell that the person was to be invited.
READ_ENROLLMENTS = text(f"""
    SELECT e.id, e.contract_id, c.company_id, EXISTS (
      SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id
        AND m.kind = ANY(CAST(:kinds AS text[]))) AS notified
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    WHERE e.account_id = :account AND {PARTICIPATING}
    ORDER BY e.enrolled_at DESC, e.id DESC""")

# Whether a mail may have reached the old address: one that is being sent may, too.
CHECK_REACHED = text("""
    SELECT EXISTS (SELECT 1 FROM email m WHERE m.account_id = :account AND m.to_address = :email
      AND m.state IN ('sent', 'uncertain', 'sending', 'complained'))""")

# A reminder, or a warning that the seat goes, counts for nothing when it went to a wrong address; an invitation that
# reached no mailbox had stopped the reminders.
RESTART_REMINDERS = text(f"""
    UPDATE enrollment SET release_warned_at = NULL, reminders = 0,
      next_reminder_at = CASE WHEN begun.invited THEN now() + :first_reminder END
    FROM (
      SELECT e.id, was.invited FROM enrollment e JOIN account a ON a.id = e.account_id
      CROSS JOIN LATERAL (
        SELECT e.next_reminder_at IS NOT NULL OR e.reminders > 0 OR EXISTS (
          SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND {INVITING})
          AS invited) was
      WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND a.activated_at IS NULL AND {PARTICIPATING}
        AND (e.release_warned_at IS NOT NULL OR was.invited)
      ORDER BY e.id FOR NO KEY UPDATE OF e) begun
    WHERE enrollment.id = begun.id""")


class _AccountEnrollment(NamedTuple):
    """An enrollment of the account; `notified`: the person was sent a mail about it, or is owed one."""

    id: UUID
    contract_id: UUID
    company_id: UUID
    notified: bool


class AccountMoves:
    """The accounts that get another address in one transaction, which holds their rows as a whole.

    It is used as a context manager. When its block ends, the mails still owed to the former addresses are cancelled for
    all accounts at once, and reminders and warnings begin afresh, because a mail to a wrong address counts for nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._moved: list[LockedAccount] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Cancels the mails and restarts the reminders of all accounts, unless the transaction fails anyway."""
        if kind is None and self._moved:
            accounts = array({one.account_id for one in self._moved})
            self._session.execute(RESTART_REMINDERS, {"accounts": accounts, "first_reminder": REMINDER_STEPS[0]})
            renew_words(self._session, {one.account_id for one in self._moved})
            former = [(one.account_id, one.email) for one in self._moved]
            cancel_mails_to_former_addresses(self._session, former, kept=FROZEN)

    def move(self, account: LockedAccount, email: str) -> bool:
        """Gives the account its new address; returns False and changes nothing when another account has it.

        A request may be enrolling the new address at the same moment: the database decides which is first, and the
        statement of the second is undone.
        """
        try:
            with self._session.begin_nested():
                self._session.execute(MOVE_ACCOUNT, {"account": account.account_id, "email": email})
        except IntegrityError:
            return False
        self._moved.append(account)
        return True


def follow_up(
    session: Session, account: LockedAccount, correction_id: UUID, new: NewCorrection, ground: CorrectionGround | None
) -> int:
    """Does for one account what follows a new address; ``AccountMoves`` does the rest for all accounts at once.

    The account's links are voided. An account that was never activated gets another link and its invitations; when it
    was activated, both addresses are told. When operators hand the account over, the person who chose its password may
    be the wrong one: that password opens the account no more, and the new address is sent a link to choose another.

    Returns: how many invitations are owed.
    """
    voided = void_links(session, account.account_id)
    forget_everywhere(session, subjects_of(account.email, None))  # no account has it now; the account's count goes on
    mails = _applied(account, correction_id, new)
    invitations: list[OwedMail] = []
    if not account.activated:
        invitations = _invitations(session, account, correction_id, new, had_links=voided > 0)
        mails = [*invitations, *_notice(session, account, correction_id, new)]
    owe(session, mails)
    handed_over = account.activated and ground is CorrectionGround.OPS
    if handed_over:
        _ask_for_password(session, account, correction_id, new)
    record(
        session,
        "apply_correction",
        portal_id=new.portal_id,
        requested_by=new.requested_by,
        result="applied",
        company_id=new.company_id,
        account_id=account.account_id,
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
    session: Session, account: LockedAccount, correction_id: UUID, new: NewCorrection, *, had_links: bool
) -> list[OwedMail]:
    """Returns one invitation for each training the person was told of.

    When no mail is left to tell, it is for the latest enrollment.

    A manager who chose that no mail is sent (`notify: false`) chose it for the right address too.
    """
    asked = {"account": account.account_id, "kinds": list(TELLING_OF_ACCESS)}
    enrollments = fetch(session, _AccountEnrollment, READ_ENROLLMENTS, asked)
    told = [one for one in enrollments if one.notified] or (enrollments[:1] if had_links else [])
    if told:
        offer_links(session, [account.account_id], known=[])
    return [
        OwedMail(
            EmailKind.INVITATION,
            f"{one.id}:{correction_id}",
            one.company_id,
            new.new_email,
            account.locale,
            Queue.EMAILS,
            job_id=new.job_id,
            account_id=account.account_id,
            enrollment_id=one.id,
            contract_id=one.contract_id,
            context={},
        )
        for one in told
    ]


def _ask_for_password(session: Session, account: LockedAccount, correction_id: UUID, new: NewCorrection) -> None:
    session.execute(FORGET_PASSWORD, {"account": account.account_id})
    resend_links(session, Purpose.PASSWORD_RESET, {account.account_id: 1})
    mail = mail_about(
        new,
        EmailKind.PASSWORD_RESET,
        key=str(correction_id),
        to_address=new.new_email,
        locale=account.locale,
        context={"corrected": True},
    )
    owe(session, [mail])


def _notice(session: Session, account: LockedAccount, correction_id: UUID, new: NewCorrection) -> list[OwedMail]:
    """Returns the mail to the old address, if an earlier mail may have reached it.

    It has no link: a stranger may read it.
    """
    if not fetch_value(session, bool, CHECK_REACHED, {"account": account.account_id, "email": account.email}):
        return []
    context = {"correction": str(correction_id), "done": True}
    mail = mail_about(
        new,
        EmailKind.CORRECTION_NOTICE,
        key=str(correction_id),
        to_address=account.email,
        locale=account.locale,
        context=context,
    )
    return [mail]


def _applied(account: LockedAccount, correction_id: UUID, new: NewCorrection) -> list[OwedMail]:
    return [
        mail_about(
            new,
            EmailKind.CORRECTION_APPLIED,
            key=f"{correction_id}:{which}",
            to_address=address,
            locale=account.locale,
            context={"correction": str(correction_id), "to_new": which == "new"},
        )
        for which, address in (("old", new.old_email), ("new", new.new_email))
    ]
