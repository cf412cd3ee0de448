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

from models.throttle import COUNTS_FOR, LIMITS, Allowance, Scope
from workers.database import Session, array
from workers.security.keys import signing_keys

WIDE: Final = frozenset({Scope.RESET_COMPANY, Scope.RESET_PORTAL, Scope.REQUEST_PORTAL, Scope.INVITATION_COMPANY,
                         Scope.INVITATION_PORTAL, Scope.CORRECTION_PORTAL})  # fmt: skip
"""Scopes that count many people: read by the minute, each minute as if all of it were its last second."""

_ADDRESS: Final = b"matricule throttled address, first form"

# Sorted before it is locked: OFFSET 0 keeps the planner from locking while it sorts.
HOLD = text("""
    SELECT pg_advisory_xact_lock(key) FROM (
      SELECT DISTINCT hashtextextended(scope || ':' || subject, 0) AS key
      FROM unnest(CAST(:scopes AS text[]), CAST(:subjects AS uuid[])) t (scope, subject) ORDER BY key OFFSET 0)
        locks""")

READ = text("""
    SELECT subject, max(at) AS at, sum(times) AS times FROM throttle
    WHERE scope = :scope AND subject = ANY(CAST(:subjects AS uuid[])) AND at > now() - CAST(:longest AS interval)
    GROUP BY subject, CASE WHEN :wide THEN date_trunc('minute', at) ELSE at END ORDER BY at""")

RECORD = text("""
    INSERT INTO throttle (scope, subject, times)
    SELECT :scope, * FROM unnest(CAST(:subjects AS uuid[]), CAST(:times AS int[]))""")

NOW = text("SELECT now()")


class Subject(NamedTuple):
    """What is counted, and against whom."""

    scope: Scope
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


def hold(session: Session, subjects: Iterable[Subject]) -> None:
    """From here on nobody else counts against these until this transaction ends."""
    held = set(subjects)
    scopes, ids = [subject.scope for subject in held], [subject.id for subject in held]
    session.execute(HOLD, {"scopes": scopes, "subjects": array(ids)})


def read_allowances(session: Session, subjects: Collection[Subject]) -> dict[Subject, Allowance]:
    """How often each may still be asked, by the database's clock. Each must be held."""
    now: datetime = session.execute(NOW).scalar_one()
    allowances = {subject: Allowance(LIMITS[subject.scope], [], now) for subject in subjects}
    for scope, ids in _by_scope(subjects).items():
        found = session.execute(
            READ, {"scope": scope, "subjects": array(ids), "wide": scope in WIDE, "longest": COUNTS_FOR[scope]}
        )
        for subject, at, times in found:
            allowances[Subject(scope, subject)].asked.append((at, times))
    return allowances


def count(session: Session, allowances: Mapping[Subject, Allowance]) -> None:
    """Records what was taken, a row per subject."""
    for scope, ids in _by_scope([one for one, allowance in allowances.items() if allowance.taken]).items():
        times = [allowances[Subject(scope, subject)].taken for subject in ids]
        session.execute(RECORD, {"scope": scope, "subjects": array(ids), "times": array(times)})


def _by_scope(subjects: Iterable[Subject]) -> dict[Scope, list[UUID]]:
    """A statement per scope: there are four at most, and a scope is then said once, not with each subject."""
    found: dict[Scope, list[UUID]] = {}
    for scope, subject in subjects:
        found.setdefault(scope, []).append(subject)
    return found
