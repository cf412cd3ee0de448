"""The facts about an account with an address to correct, read by new statements once its row is held.

The account is locked first, as a whole. An enrollment reads accounts with a key-share lock: either it committed before,
and its company is counted here, or it waits and finds the address as the correction left it. A count in the statement
that takes the lock would miss enrollments that were committed while it waited.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.correction import CorrectionGround, ParticipantFacts, PendingFacts, answer_operator
from models.delivery import DeliveryReason
from models.email import HARD_BOUNCE_LIFETIME, SuppressionReason
from models.enrollment import PARTICIPATING
from models.link import ResendVerdict
from models.words import CorrectionState, EmailKind, EmailState
from workers.database import Session, array
from workers.outbox.suppression import SUPPRESSED_SINCE
from workers.sql import fetch, fetch_one, fetch_values

# All accounts of the batch at once, in the order of the address, against deadlocks.
LOCK_ACCOUNTS_OF = text("""
    SELECT e.id AS enrollment_id, a.id AS account_id FROM enrollment e JOIN account a ON a.id = e.account_id
    WHERE e.id = ANY(CAST(:enrollments AS uuid[])) ORDER BY a.email_norm FOR UPDATE OF a""")

# The same by the ids of the accounts.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[])) ORDER BY a.email_norm FOR UPDATE""")

# The sweep passes over accounts that another transaction holds: five minutes later it comes again.
LOCK_FREE_ACCOUNTS = text("""
    SELECT a.id FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[]))
    ORDER BY a.email_norm FOR UPDATE SKIP LOCKED""")

# Detached rows are another company's all the same, until it withdraws them.
SHARED: Final = """EXISTS (
      SELECT 1 FROM enrollment other JOIN contract theirs ON theirs.id = other.contract_id
      WHERE other.account_id = a.id AND other.withdrawn_at IS NULL
        AND (theirs.company_id <> {company} OR theirs.portal_id <> {portal}))"""

_TAKEN: Final = "EXISTS (SELECT 1 FROM account other WHERE other.email_norm = {address} AND other.id <> a.id)"

# The enrollment that a manager ticked, if it is one of the portal, with the facts about the address asked for.
READ_PARTICIPANT = text(f"""
    SELECT a.id AS account_id, a.email_norm, a.locale, a.activated_at IS NOT NULL AS activated,
      e.withdrawn_at, e.detached_at, c.company_id, a.email_norm = :email AS same,
      {SHARED.format(company="c.company_id", portal="c.portal_id")} AS shared,
      {_TAKEN.format(address=":email")} AS taken, {SUPPRESSED_SINCE.format(address=":email")} AS suppressed
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a ON a.id = e.account_id
    WHERE e.id = :enrollment AND c.portal_id = :portal AND a.erased_at IS NULL""")

# The account that operators name, with the facts about the address asked for.
READ_ACCOUNT = text(f"""
    SELECT a.id AS account_id, a.email_norm, a.locale, a.activated_at IS NOT NULL AS activated,
      a.email_norm = :email AS same,
      {_TAKEN.format(address=":email")} AS taken, {SUPPRESSED_SINCE.format(address=":email")} AS suppressed
    FROM account a WHERE a.id = :account AND a.erased_at IS NULL""")

# A mail that bounced before the correction was asked for proves nothing: the mailbox may have been alive since, and
# a manager may have waited for that very bounce. A listing that goes on says by its end when the last bounce was.
_PENDING: Final = f"""
    SELECT ec.id, ec.account_id, ec.enrollment_id, ec.portal_id, ec.company_id, ec.job_id, ec.requested_by,
      ec.old_email, ec.new_email, ec.asked_at, ec.confirmed_at, ec.password_given_at, ec.agreed_at, a.locale,
      now() AS now, notice.sent_at AS notice_sent_at,
      coalesce(notice.rejected, false) OR EXISTS (
        SELECT 1 FROM suppression su WHERE su.email_norm = ec.old_email
          AND su.reason = '{SuppressionReason.HARD_BOUNCE}' AND (su.until IS NULL OR su.until > now())
          AND coalesce(su.until - CAST(:listed AS interval), su.created_at) >= ec.asked_at) AS bounced,
      (SELECT max(earlier.ended_at) FROM email_correction earlier
        WHERE earlier.account_id = ec.account_id AND earlier.id <> ec.id
          AND earlier.state = '{CorrectionState.CANCELLED}' AND earlier.ground = '{CorrectionGround.REFUSAL}')
        AS refused_at,
      a.erased_at IS NULL AND a.email_norm = ec.old_email AND EXISTS (
        SELECT 1 FROM enrollment e WHERE e.id = ec.enrollment_id AND {PARTICIPATING}) AS theirs,
      {SHARED.format(company="ec.company_id", portal="ec.portal_id")} AS shared,
      {_TAKEN.format(address="ec.new_email")} AS taken,
      EXISTS (SELECT 1 FROM link l WHERE l.account_id = ec.account_id AND l.subject_id = ec.id
        AND l.voided_at IS NOT NULL) AS links_voided
    FROM email_correction ec JOIN account a ON a.id = ec.account_id
    LEFT JOIN LATERAL (
      SELECT max(m.finished_at) FILTER (WHERE m.state IN ('{EmailState.SENT}', '{EmailState.COMPLAINED}')) AS sent_at,
        bool_or(m.state IN ('{EmailState.FAILED}', '{EmailState.BOUNCED}')
          AND m.error ->> 'reason' = '{DeliveryReason.ADDRESS_REJECTED}') AS rejected
      FROM email m WHERE m.dedup_key = '{EmailKind.CORRECTION_NOTICE}:' || ec.id) notice ON true
    WHERE ec.state = '{CorrectionState.PENDING}'"""

# An account has one pending correction at most.
READ_PENDING_OF_ACCOUNT = text(f"{_PENDING} AND ec.account_id = :account")
# All pending corrections, for the sweep that decides those for which time alone was missing.
READ_ALL_PENDING = text(_PENDING)


class _EnrollmentAccount(NamedTuple):
    enrollment_id: UUID
    account_id: UUID


class _ParticipantRow(NamedTuple):
    account_id: UUID
    email_norm: str
    locale: str
    activated: bool
    withdrawn_at: datetime | None
    detached_at: datetime | None
    company_id: UUID
    same: bool
    shared: bool
    taken: bool
    suppressed: datetime | None


class _AccountRow(NamedTuple):
    account_id: UUID
    email_norm: str
    locale: str
    activated: bool
    same: bool
    taken: bool
    suppressed: datetime | None


class _PendingRow(NamedTuple):
    id: UUID
    account_id: UUID
    enrollment_id: UUID | None
    portal_id: UUID
    company_id: UUID | None
    job_id: UUID
    requested_by: str
    old_email: str
    new_email: str
    asked_at: datetime
    confirmed_at: datetime | None
    password_given_at: datetime | None
    agreed_at: datetime | None
    locale: str
    now: datetime
    notice_sent_at: datetime | None
    bounced: bool
    refused_at: datetime | None
    theirs: bool
    shared: bool
    taken: bool
    links_voided: bool


@dataclass(frozen=True, slots=True)
class LockedAccount:
    """An account, its row locked by this transaction.

    Parameters:
      email: the address it has now.
    """

    account_id: UUID
    email: str
    locale: str
    activated: bool


@dataclass(frozen=True, slots=True)
class LockedParticipant:
    """A participant with an address to correct, as their locked account stands."""

    account: LockedAccount
    company_id: UUID
    standing: ParticipantFacts


class AccountToCorrect(NamedTuple):
    """An account that operators give another address, and the answer to the address they ask for."""

    account: LockedAccount
    answer: ResendVerdict


@dataclass(frozen=True, slots=True)
class PendingCorrection:
    """A pending correction with the facts that speak for it and against it."""

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
    """Locks the accounts of these enrollments, of any portal, in the order of the address; returns them."""
    found = fetch(session, _EnrollmentAccount, LOCK_ACCOUNTS_OF, {"enrollments": array(enrollments)})
    return {row.enrollment_id: row.account_id for row in found}


def lock_accounts(session: Session, accounts: Collection[UUID], *, waiting: bool = True) -> set[UUID]:
    """Locks these accounts in the order of the address, and returns them.

    Parameters:
      waiting: False leaves out accounts that another transaction holds.
    """
    statement = LOCK_ACCOUNTS if waiting else LOCK_FREE_ACCOUNTS
    return set(fetch_values(session, UUID, statement, {"accounts": array(accounts)}))


def read_participant(session: Session, portal_id: UUID, enrollment_id: UUID, email: str) -> LockedParticipant | None:
    """Returns the participant of this enrollment, and the facts about the address asked for.

    Returns: None when the portal has no such enrollment.
    """
    asked = {"portal": portal_id, "enrollment": enrollment_id, "email": email}
    row = fetch_one(session, _ParticipantRow, READ_PARTICIPANT, asked)
    if row is None:
        return None
    standing = ParticipantFacts(
        row.withdrawn_at, row.detached_at, row.activated, row.shared, row.same, row.taken, row.suppressed
    )
    account = LockedAccount(row.account_id, row.email_norm, row.locale, row.activated)
    return LockedParticipant(account, row.company_id, standing)


def read_account(session: Session, account_id: UUID, email: str) -> AccountToCorrect | None:
    """Returns an account with the answer to operators who ask for this address; None when there is no such account."""
    row = fetch_one(session, _AccountRow, READ_ACCOUNT, {"account": account_id, "email": email})
    if row is None:
        return None
    account = LockedAccount(row.account_id, row.email_norm, row.locale, row.activated)
    return AccountToCorrect(account, answer_operator(same=row.same, taken=row.taken, suppressed=row.suppressed))


def read_waiting(session: Session, account_id: UUID) -> PendingCorrection | None:
    """Returns the pending correction of an account, if it has one."""
    asked = {"account": account_id, "listed": HARD_BOUNCE_LIFETIME}
    row = fetch_one(session, _PendingRow, READ_PENDING_OF_ACCOUNT, asked)
    return None if row is None else _pending(row)


def read_all_waiting(session: Session) -> list[PendingCorrection]:
    """Returns every pending correction, as it stands; no row is held."""
    return [_pending(row) for row in fetch(session, _PendingRow, READ_ALL_PENDING, {"listed": HARD_BOUNCE_LIFETIME})]


def _pending(row: _PendingRow) -> PendingCorrection:
    return PendingCorrection(
        id=row.id,
        account_id=row.account_id,
        enrollment_id=row.enrollment_id,
        portal_id=row.portal_id,
        company_id=row.company_id,
        job_id=row.job_id,
        requested_by=row.requested_by,
        old_email=row.old_email,
        new_email=row.new_email,
        locale=row.locale,
        now=row.now,
        pending=PendingFacts(
            asked_at=row.asked_at,
            confirmed_at=row.confirmed_at,
            password_given_at=row.password_given_at,
            agreed_at=row.agreed_at,
            notice_sent_at=row.notice_sent_at,
            bounced=row.bounced,
            refused_at=row.refused_at,
            theirs=row.theirs,
            shared=row.shared,
            taken=row.taken,
            links_voided=row.links_voided,
        ),
    )
