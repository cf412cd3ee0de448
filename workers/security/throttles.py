"""Reading and counting throttles, the same for every process.

Who counts against a person holds their account's row; who counts against a company, a portal or an address nobody may
be known by holds an advisory lock named after it. Lock order: accounts by address, then these, then links.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.throttle import COUNTS_FOR, LIMITS, Allowance, ThrottleScope
from workers.database import Session, array
from workers.security.keys import signing_keys

WIDE: Final = frozenset(
    {
        ThrottleScope.RESET_COMPANY,
        ThrottleScope.RESET_PORTAL,
        ThrottleScope.REQUEST_PORTAL,
        ThrottleScope.INVITATION_COMPANY,
        ThrottleScope.INVITATION_PORTAL,
        ThrottleScope.CORRECTION_PORTAL,
    }
)
"""Scopes that count many people: read by the minute, each minute as if all of it were its last second."""

_ADDRESS: Final = b"matricule throttled address, first form"

# Sorted before it is locked: OFFSET 0 keeps the planner from locking while it sorts.
LOCK_SUBJECTS = text("""
    SELECT pg_advisory_xact_lock(key) FROM (
      SELECT DISTINCT hashtextextended(scope || ':' || subject, 0) AS key
      FROM unnest(CAST(:scopes AS text[]), CAST(:subjects AS uuid[])) t (scope, subject) ORDER BY key OFFSET 0)
        locks""")

READ_THROTTLES = text("""
    SELECT subject, max(at) AS at, sum(times) AS times FROM throttle
    WHERE scope = :scope AND subject = ANY(CAST(:subjects AS uuid[])) AND at > now() - CAST(:longest AS interval)
    GROUP BY subject, CASE WHEN :wide THEN date_trunc('minute', at) ELSE at END ORDER BY at""")

INSERT_THROTTLES = text("""
    INSERT INTO throttle (scope, subject, times)
    SELECT :scope, * FROM unnest(CAST(:subjects AS uuid[]), CAST(:times AS int[]))""")

READ_NOW = text("SELECT now()")


class ThrottleSubject(NamedTuple):
    """What is counted, and against whom."""

    scope: ThrottleScope
    id: UUID


def address_subjects(emails: Collection[str]) -> dict[str, UUID]:
    """What stands for addresses in the table: a keyed hash, from which nobody can tell whether one is in it."""
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
    """From here on nobody else counts against these until this transaction ends."""
    held = set(subjects)
    scopes, ids = [subject.scope for subject in held], [subject.id for subject in held]
    session.execute(LOCK_SUBJECTS, {"scopes": scopes, "subjects": array(ids)})


def read_allowances(session: Session, subjects: Collection[ThrottleSubject]) -> dict[ThrottleSubject, Allowance]:
    """How often each may still be asked, by the database's clock. Each must be held."""
    now: datetime = session.execute(READ_NOW).scalar_one()
    allowances = {subject: Allowance(LIMITS[subject.scope], [], now) for subject in subjects}
    for scope, ids in _by_scope(subjects).items():
        found = session.execute(
            READ_THROTTLES,
            {"scope": scope, "subjects": array(ids), "wide": scope in WIDE, "longest": COUNTS_FOR[scope]},
        )
        for subject, at, times in found:
            allowances[ThrottleSubject(scope, subject)].asked.append((at, times))
    return allowances


def count(session: Session, allowances: Mapping[ThrottleSubject, Allowance]) -> None:
    """Records what was taken, a row per subject."""
    for scope, ids in _by_scope([one for one, allowance in allowances.items() if allowance.taken]).items():
        times = [allowances[ThrottleSubject(scope, subject)].taken for subject in ids]
        session.execute(INSERT_THROTTLES, {"scope": scope, "subjects": array(ids), "times": array(times)})


def _by_scope(subjects: Iterable[ThrottleSubject]) -> dict[ThrottleScope, list[UUID]]:
    """A statement per scope: there are four at most, and a scope is then said once, not with each subject."""
    found: dict[ThrottleScope, list[UUID]] = {}
    for scope, subject in subjects:
        found.setdefault(scope, []).append(subject)
    return found
