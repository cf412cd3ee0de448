"""Rate limits, counted in PostgreSQL and therefore the same for every process.

Counting against a person requires their account's row to be locked. Counting against a company, a portal or an address
(which may have no account) requires an advisory lock named after it. Lock order: accounts by address, then these, then
links.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.throttle import COUNTS_FOR, LIMITS, Allowance, Asked, RateLimit, Throttle, ThrottleScope, measure_allowance
from workers.database import Session, array
from workers.security.keys import signing_keys
from workers.sql import Unnest, fetch, fetch_values

WIDE: Final = frozenset(
    {
        ThrottleScope.RESET_COMPANY,
        ThrottleScope.RESET_PORTAL,
        ThrottleScope.REQUEST_PORTAL,
        ThrottleScope.INVITATION_COMPANY,
        ThrottleScope.INVITATION_PORTAL,
        ThrottleScope.CORRECTION_PORTAL,
        ThrottleScope.NAME_PORTAL,
        ThrottleScope.DRY_RUN_COMPANY,
        ThrottleScope.DRY_RUN_PORTAL,
    }
)
"""Scopes that count many people: requests of the same minute are read as one row, with the time of the last one."""

_ADDRESS: Final = b"matricule throttled address, first form"


class ThrottleSubject(NamedTuple):
    """The subject of a rate limit: what is counted, and against which person, address, company or portal."""

    scope: ThrottleScope
    subject: UUID


class _Counted(NamedTuple):
    scope: str
    subject: UUID
    times: int


class _AskedBefore(NamedTuple):
    subject: UUID
    at: datetime
    times: int


_SUBJECTS: Final = Unnest(ThrottleSubject, Throttle, alias="given")
_COUNTED: Final = Unnest(_Counted, Throttle, alias="given")

# Keys are sorted before they are locked: OFFSET 0 keeps the planner from locking while it sorts.
LOCK_SUBJECTS = text(f"""
    SELECT pg_advisory_xact_lock(key) FROM (
      SELECT DISTINCT hashtextextended(scope || ':' || subject, 0) AS key
      FROM {_SUBJECTS} ORDER BY key OFFSET 0) locks""")

# Reads what was counted for each subject within the longest period; many counts are summed by minute.
READ_THROTTLES = text("""
    SELECT subject, max(at) AS at, CAST(sum(times) AS int) AS times FROM throttle
    WHERE scope = :scope AND subject = ANY(CAST(:subjects AS uuid[])) AND at > now() - CAST(:longest AS interval)
    GROUP BY subject, CASE WHEN :wide THEN date_trunc('minute', at) ELSE at END ORDER BY at""")

# Counts uses for subjects.
INSERT_THROTTLES = text(f"INSERT INTO throttle ({_COUNTED.columns}) SELECT * FROM {_COUNTED}")

# Reads the time of the database.
READ_NOW = text("SELECT now()")


def address_subjects(emails: Collection[str]) -> dict[str, UUID]:
    """Returns the keyed hash of each address, which the table holds: without the key no address can be found in it."""
    keys = signing_keys()
    secret = keys.secret(keys.newest) or b""
    begun = hmac.new(secret, _ADDRESS, hashlib.sha256)
    found = {}
    for email in emails:
        mac = begun.copy()
        mac.update(email.encode())
        found[email] = UUID(bytes=mac.digest()[:16])
    return found


def hold(session: Session, subjects: Iterable[ThrottleSubject]) -> None:
    """Locks these subjects, so that no other transaction counts against them until this one ends."""
    session.execute(LOCK_SUBJECTS, _SUBJECTS.parameters(list(set(subjects))))


def read_allowances(
    session: Session,
    subjects: Collection[ThrottleSubject],
    limits: Mapping[ThrottleScope, Sequence[RateLimit]] = LIMITS,
) -> dict[ThrottleSubject, Allowance]:
    """Reads the requests that each subject may still make, by the database's clock. The subjects must be locked.

    Parameters:
      limits: the limits of each scope, where settings change them.
    """
    [now] = fetch_values(session, datetime, READ_NOW)
    before: dict[ThrottleSubject, list[Asked]] = {subject: [] for subject in subjects}
    for scope, ids in _by_scope(subjects).items():
        asked = {"scope": scope, "subjects": array(ids), "wide": scope in WIDE, "longest": COUNTS_FOR[scope]}
        for row in fetch(session, _AskedBefore, READ_THROTTLES, asked):
            before[ThrottleSubject(scope, row.subject)].append((row.at, row.times))
    return {subject: measure_allowance(limits[subject.scope], asked, now) for subject, asked in before.items()}


def count(session: Session, allowances: Mapping[ThrottleSubject, Allowance]) -> None:
    """Records the requests that were counted, a row per subject."""
    taken = [
        _Counted(one.scope, one.subject, allowance.taken) for one, allowance in allowances.items() if allowance.taken
    ]
    if taken:
        session.execute(INSERT_THROTTLES, _COUNTED.parameters(taken))


def _by_scope(subjects: Iterable[ThrottleSubject]) -> dict[ThrottleScope, list[UUID]]:
    """Groups subjects by scope, because a statement reads one scope; there are four at most."""
    found: dict[ThrottleScope, list[UUID]] = {}
    for scope, subject in subjects:
        found.setdefault(scope, []).append(subject)
    return found
