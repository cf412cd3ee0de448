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

from models.throttle import LIMITS, LONGEST, Allowance, Scope
from workers.database import Session
from workers.services.keys import signing_keys

WIDE: Final = frozenset({Scope.RESET_COMPANY, Scope.RESET_PORTAL, Scope.REQUEST_PORTAL, Scope.INVITATION_COMPANY,
                         Scope.INVITATION_PORTAL})  # fmt: skip
"""Scopes that count many people: read by the minute, each minute as if all of it were its last second."""

_ADDRESS: Final = b"matricule throttled address, first form"

# Sorted before it is locked: OFFSET 0 keeps the planner from locking while it sorts.
HOLD = text("""
    SELECT pg_advisory_xact_lock(key) FROM (
      SELECT DISTINCT hashtextextended(scope || ':' || subject, 0) AS key
      FROM unnest(CAST(:scopes AS text[]), CAST(:subjects AS uuid[])) t (scope, subject) ORDER BY key OFFSET 0)
        locks""")

READ = text("""
    SELECT t.scope, t.subject, max(t.at) AS at, sum(t.times) AS times
    FROM throttle t
    JOIN unnest(CAST(:scopes AS text[]), CAST(:subjects AS uuid[])) s (scope, subject) USING (scope, subject)
    WHERE t.at > now() - CAST(:longest AS interval)
    GROUP BY t.scope, t.subject,
      CASE WHEN t.scope = ANY(CAST(:wide AS text[])) THEN date_trunc('minute', t.at) ELSE t.at END
    ORDER BY at""")

RECORD = text("""
    INSERT INTO throttle (scope, subject, times)
    SELECT * FROM unnest(CAST(:scopes AS text[]), CAST(:subjects AS uuid[]), CAST(:times AS int[]))""")

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
    session.execute(HOLD, _columns(set(subjects)))


def read_allowances(session: Session, subjects: Collection[Subject]) -> dict[Subject, Allowance]:
    """How often each may still be asked, by the database's clock. Each must be held."""
    now: datetime = session.execute(NOW).scalar_one()
    allowances = {subject: Allowance(LIMITS[subject.scope], [], now) for subject in subjects}
    wide = sorted(WIDE)
    found = session.execute(READ, {"wide": wide, "longest": LONGEST, **_columns(allowances)})
    for scope, subject, at, times in found:
        allowances[Subject(Scope(scope), subject)].asked.append((at, times))
    return allowances


def count(session: Session, allowances: Mapping[Subject, Allowance]) -> None:
    """Records what was taken, a row per subject."""
    taken = {subject: allowance.taken for subject, allowance in allowances.items() if allowance.taken}
    if taken:
        session.execute(RECORD, {"times": list(taken.values()), **_columns(taken)})


def _columns(subjects: Collection[Subject]) -> dict[str, object]:
    return {"scopes": [subject.scope for subject in subjects], "subjects": [subject.id for subject in subjects]}
