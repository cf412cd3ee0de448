"""Tells all that is kept of a person: enrollments, jobs, mails, links, certificates, suppression and rate limits.

A person is an account, or an address without one: then only mails to it, and jobs that were refused, are found.
"""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.throttle import ThrottleScope
from workers.database import Session, text_array
from workers.ops.capped import read_by_index
from workers.security.throttles import address_subjects
from workers.sql import fetch, fetch_one, fetch_value

SHOWN: Final = 50
"""The most rows of each part."""

# Reads an account.
READ_ACCOUNT: Final = text("""
    SELECT a.id, a.email_norm AS email, a.first_name, a.last_name, a.locale, a.activated_at, a.created_at, a.erased_at
    FROM account a WHERE a.id = :account""")

# Finds the account of an enrollment.
FIND_OF_ENROLLMENT: Final = text("SELECT e.account_id FROM enrollment e WHERE e.id = :enrollment")

# Lists the enrollments of an account, with the certificate of each.
LIST_ENROLLMENTS: Final = text("""
    SELECT e.id, e.contract_id, c.reference AS contract, p.name AS portal, co.name AS company, tr.title AS training,
      e.progress, e.enrolled_at, e.started_at, e.completed_at, e.withdrawn_at, e.detached_at, k.number AS certificate
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN portal p ON p.id = c.portal_id
    JOIN company co ON co.id = c.company_id JOIN training tr ON tr.id = c.training_id
    LEFT JOIN certificate k ON k.enrollment_id = e.id AND k.replaced_by IS NULL
    WHERE e.account_id = :account ORDER BY e.enrolled_at DESC, e.id LIMIT :limit""")

# Lists the links that were sent to an account.
LIST_LINKS: Final = text("""
    SELECT l.purpose, l.created_at, l.expires_at, l.consumed_at, l.voided_at, l.resent, l.expires_at <= now() AS expired
    FROM link l WHERE l.account_id = :account ORDER BY l.created_at DESC LIMIT :limit""")

# Reads why an address gets no mail at present.
READ_SUPPRESSION: Final = text("""
    SELECT su.reason, su.created_at, su.until FROM suppression su
    WHERE su.email_norm = :email AND (su.until IS NULL OR su.until > now())""")

# Adds up the requests of the last day that count against these subjects.
COUNT_THROTTLES: Final = text("""
    SELECT t.scope, CAST(sum(t.times) AS bigint) AS times, max(t.at) AS at
    FROM unnest(CAST(:scopes AS text[])) s (scope) CROSS JOIN unnest(CAST(:subjects AS uuid[])) g (subject)
    JOIN throttle t ON t.scope = s.scope AND t.subject = g.subject AND t.at > now() - interval '1 day'
    GROUP BY t.scope ORDER BY t.scope""")


class AccountFacts(NamedTuple):
    """An account; of an erased one the address and the names are empty or made up."""

    id: UUID
    email: str
    first_name: str
    last_name: str
    locale: str
    activated_at: datetime | None
    created_at: datetime
    erased_at: datetime | None


class EnrollmentFacts(NamedTuple):
    """An enrollment of a person, with the number of its certificate if there is one."""

    id: UUID
    contract_id: UUID
    contract: str
    portal: str
    company: str
    training: str
    progress: str
    enrolled_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    withdrawn_at: datetime | None
    detached_at: datetime | None
    certificate: str | None


class LinkFacts(NamedTuple):
    """A link that was sent to a person; its token is never read."""

    purpose: str
    created_at: datetime
    expires_at: datetime
    consumed_at: datetime | None
    voided_at: datetime | None
    resent: int
    expired: bool

    @property
    def state(self) -> str:
        """Returns `used`, `voided`, `expired` or `live`."""
        if self.consumed_at is not None:
            return "used"
        if self.voided_at is not None:
            return "voided"
        return "expired" if self.expired else "live"


class SuppressionFacts(NamedTuple):
    """The reason why an address gets no mail, since when and until when."""

    reason: str
    created_at: datetime
    until: datetime | None


class CountedRequests(NamedTuple):
    """The requests of the last day that count against a person in one scope."""

    scope: str
    times: int
    at: datetime


def read_account(session: Session, account: UUID) -> AccountFacts | None:
    """Reads an account; None when there is none with this identifier."""
    read_by_index(session)
    return fetch_one(session, AccountFacts, READ_ACCOUNT, {"account": account})


def find_of_enrollment(session: Session, enrollment: UUID) -> UUID | None:
    """Finds the account of an enrollment."""
    return fetch_value(session, UUID, FIND_OF_ENROLLMENT, {"enrollment": enrollment})


def list_enrollments_of(session: Session, account: UUID) -> list[EnrollmentFacts]:
    """Lists the enrollments of an account, the latest first."""
    return fetch(session, EnrollmentFacts, LIST_ENROLLMENTS, {"account": account, "limit": SHOWN})


def list_links_of(session: Session, account: UUID) -> list[LinkFacts]:
    """Lists the links that were sent to an account, the latest first."""
    return fetch(session, LinkFacts, LIST_LINKS, {"account": account, "limit": SHOWN})


def read_suppression(session: Session, email: str) -> SuppressionFacts | None:
    """Reads why an address gets no mail at present; None when it does."""
    return fetch_one(session, SuppressionFacts, READ_SUPPRESSION, {"email": email})


def count_throttles(session: Session, email: str, account: UUID | None) -> list[CountedRequests]:
    """Counts the requests of the last day that count against a person."""
    subjects = [str(address_subjects([email])[email]), *([str(account)] if account else [])]
    given = {"scopes": text_array([*ThrottleScope]), "subjects": text_array(subjects)}
    return fetch(session, CountedRequests, COUNT_THROTTLES, given)


__all__ = [
    "AccountFacts",
    "CountedRequests",
    "EnrollmentFacts",
    "LinkFacts",
    "SuppressionFacts",
    "count_throttles",
    "find_of_enrollment",
    "list_enrollments_of",
    "list_links_of",
    "read_account",
    "read_suppression",
]
