"""What is so of an account whose address is to be corrected: read by new statements once its row is held.

The account is locked first, as a whole. An enrollment reads accounts with a key-share lock: either it committed before,
and its company is counted here, or it waits and finds the address as the correction left it. A count in the statement
that takes the lock would miss what was committed while it waited.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.correction import CorrectionGround, ParticipantFacts, PendingFacts, answer_ops
from models.delivery import DeliveryReason
from models.email import HARD_BOUNCE_LIFETIME, SuppressionReason
from models.link import ResendVerdict
from models.words import CorrectionState, EmailKind, EmailState
from workers.database import Session, array
from workers.outbox.suppression import SUPPRESSED_SINCE

LOCK_ACCOUNTS_OF = text("""
    SELECT e.id, a.id AS account_id FROM enrollment e JOIN account a ON a.id = e.account_id
    WHERE e.id = ANY(CAST(:enrollments AS uuid[])) ORDER BY a.email_norm FOR UPDATE OF a""")

LOCK_ACCOUNTS = text("""
    SELECT id FROM account WHERE id = ANY(CAST(:accounts AS uuid[])) ORDER BY email_norm FOR UPDATE""")

# The sweep passes over who is held: five minutes later it comes again.
LOCK_FREE_ACCOUNTS = text("""
    SELECT id FROM account WHERE id = ANY(CAST(:accounts AS uuid[])) ORDER BY email_norm FOR UPDATE SKIP LOCKED""")

# Detached rows are another company's all the same, until it withdraws them.
_SHARED: Final = """EXISTS (
      SELECT 1 FROM enrollment other JOIN contract theirs ON theirs.id = other.contract_id
      WHERE other.account_id = a.id AND other.withdrawn_at IS NULL
        AND (theirs.company_id <> {company} OR theirs.portal_id <> {portal})) AS shared"""

READ_PARTICIPANT = text(f"""
    SELECT a.id AS account_id, a.email_norm, a.locale, a.activated_at IS NOT NULL AS activated, e.id AS enrollment_id,
      e.withdrawn_at, e.detached_at, k.company_id, a.email_norm = :email AS same,
      {_SHARED.format(company="k.company_id", portal="k.portal_id")},
      EXISTS (SELECT 1 FROM account t WHERE t.email_norm = :email AND t.id <> a.id) AS taken,
      {SUPPRESSED_SINCE.format(address=":email")} AS suppressed
    FROM enrollment e JOIN contract k ON k.id = e.contract_id JOIN account a ON a.id = e.account_id
    WHERE e.id = :enrollment AND k.portal_id = :portal AND a.erased_at IS NULL""")

READ_ACCOUNT = text(f"""
    SELECT a.id AS account_id, a.email_norm, a.locale, a.activated_at IS NOT NULL AS activated,
      a.email_norm = :email AS same,
      EXISTS (SELECT 1 FROM account t WHERE t.email_norm = :email AND t.id <> a.id) AS taken,
      {SUPPRESSED_SINCE.format(address=":email")} AS suppressed
    FROM account a WHERE a.id = :account AND a.erased_at IS NULL""")

# A mail that bounced before the correction was asked for proves nothing: the mailbox may have been alive since, and
# a manager may have waited for that very bounce. A listing that goes on says by its end when the last bounce was.
_PENDING: Final = f"""
    SELECT c.id, c.account_id, c.enrollment_id, c.portal_id, c.company_id, c.job_id, c.requested_by, c.old_email,
      c.new_email, c.asked_at, c.confirmed_at, c.password_given_at, c.agreed_at, a.locale, now() AS now,
      notice.sent_at AS notice_sent_at,
      coalesce(notice.rejected, false) OR EXISTS (
        SELECT 1 FROM suppression s WHERE s.email_norm = c.old_email AND s.reason = '{SuppressionReason.HARD_BOUNCE}'
          AND (s.until IS NULL OR s.until > now())
          AND coalesce(s.until - CAST(:listed AS interval), s.created_at) >= c.asked_at) AS bounced,
      (SELECT max(r.ended_at) FROM email_correction r WHERE r.account_id = c.account_id AND r.id <> c.id
        AND r.state = '{CorrectionState.CANCELLED}' AND r.ground = '{CorrectionGround.REFUSAL}') AS refused_at,
      a.erased_at IS NULL AND a.email_norm = c.old_email AND EXISTS (
        SELECT 1 FROM enrollment e WHERE e.id = c.enrollment_id AND e.withdrawn_at IS NULL AND e.detached_at IS NULL)
        AS theirs,
      {_SHARED.format(company="c.company_id", portal="c.portal_id")},
      EXISTS (SELECT 1 FROM account t WHERE t.email_norm = c.new_email AND t.id <> a.id) AS taken,
      EXISTS (SELECT 1 FROM link l WHERE l.account_id = c.account_id AND l.subject_id = c.id
        AND l.voided_at IS NOT NULL) AS links_voided
    FROM email_correction c JOIN account a ON a.id = c.account_id
    LEFT JOIN LATERAL (
      SELECT max(finished_at) FILTER (WHERE m.state = '{EmailState.SENT}') AS sent_at,
        bool_or(m.state = '{EmailState.FAILED}'
          AND m.error ->> 'reason' = '{DeliveryReason.ADDRESS_REJECTED}') AS rejected
      FROM email m WHERE m.dedup_key = '{EmailKind.CORRECTION_NOTICE}:' || c.id) notice ON true
    WHERE c.state = '{CorrectionState.PENDING}'"""

READ_PENDING_OF_ACCOUNT = text(f"{_PENDING} AND c.account_id = :account")
READ_ALL_PENDING = text(_PENDING)


@dataclass(frozen=True, slots=True)
class LockedAccount:
    """An account whose row this transaction holds.

    Parameters:
      email: the address it has now.
    """

    account_id: UUID
    email: str
    locale: str
    activated: bool


@dataclass(frozen=True, slots=True)
class LockedParticipant:
    """A participant whose address is to be corrected, as their held account stands."""

    whose: LockedAccount
    company_id: UUID
    standing: ParticipantFacts


@dataclass(frozen=True, slots=True)
class PendingCorrection:
    """A pending correction with all that speaks for it."""

    id: UUID
    account_id: UUID
    enrollment_id: UUID | None
    portal_id: UUID
    company_id: UUID | None
    job_id: UUID
    requested_by: str
    old_email: str
    new_email: str
    locale: str
    now: datetime
    pending: PendingFacts


def lock_accounts_of(session: Session, enrollments: Collection[UUID]) -> dict[UUID, UUID]:
    """Holds the accounts of these enrollments, rows of anybody's, in the order of the address; returns them."""
    found = session.execute(LOCK_ACCOUNTS_OF, {"enrollments": array(enrollments)})
    return {row.id: row.account_id for row in found}


def lock_accounts(session: Session, accounts: Collection[UUID], *, waiting: bool = True) -> set[UUID]:
    """Holds these accounts, in the order of the address; without waiting, those that nobody else holds."""
    statement = LOCK_ACCOUNTS if waiting else LOCK_FREE_ACCOUNTS
    return set(session.execute(statement, {"accounts": array(accounts)}).scalars())


def read_participant(session: Session, portal_id: UUID, enrollment_id: UUID, email: str) -> LockedParticipant | None:
    """Whose enrollment this is, if it is one of this portal's, and what is so of the address asked for."""
    asked = {"portal": portal_id, "enrollment": enrollment_id, "email": email}
    row = session.execute(READ_PARTICIPANT, asked).one_or_none()
    if row is None:
        return None
    standing = ParticipantFacts(
        row.withdrawn_at, row.detached_at, row.activated, row.shared, row.same, row.taken, row.suppressed
    )
    return LockedParticipant(_whose(row), row.company_id, standing)


def read_account(session: Session, account_id: UUID, email: str) -> tuple[LockedAccount, ResendVerdict] | None:
    """An account, and what ops are answered who ask for this address for it."""
    row = session.execute(READ_ACCOUNT, {"account": account_id, "email": email}).one_or_none()
    if row is None:
        return None
    return _whose(row), answer_ops(same=row.same, taken=row.taken, suppressed=row.suppressed)


def read_waiting(session: Session, account_id: UUID) -> PendingCorrection | None:
    """The pending correction of an account, if it has one."""
    asked = {"account": account_id, "listed": HARD_BOUNCE_LIFETIME}
    row = session.execute(READ_PENDING_OF_ACCOUNT, asked).one_or_none()
    return None if row is None else _waiting(row)


def read_all_waiting(session: Session) -> Sequence[PendingCorrection]:
    """Every pending correction, as it stands; nothing is held."""
    return [_waiting(row) for row in session.execute(READ_ALL_PENDING, {"listed": HARD_BOUNCE_LIFETIME})]


def _whose(row: Any) -> LockedAccount:
    return LockedAccount(row.account_id, row.email_norm, row.locale, row.activated)


def _waiting(row: Any) -> PendingCorrection:
    facts = {name: getattr(row, name) for name in PendingFacts._fields}
    names = (name for name in PendingCorrection.__slots__ if name != "pending")
    return PendingCorrection(**{name: getattr(row, name) for name in names}, pending=PendingFacts(**facts))
