"""Lockouts after wrong passwords in a row, counted for the account and for the hash of the address, known or not.

Each portal has counts of its own, beside those of our pages: one portal locks a person out at no other. A key for some
companies of a portal locks out no participant of its other companies.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.password import FORGOTTEN_AFTER, SignIn, lock_seconds
from workers.database import Session
from workers.security.throttles import address_subjects
from workers.sql import Unnest, fetch, fetch_values


class _FailureCount(NamedTuple):
    subject: UUID
    failures: int
    locked_until: datetime | None


class _LockedOut(NamedTuple):
    subject: UUID
    seconds: int


_LOCKED_OUT: Final = Unnest(_LockedOut, SignIn, alias="given", others={"seconds": "integer"})

# Rows are locked in the order of the subject: two tries with the same subjects would deadlock.
COUNT_FAILURES = text("""
    INSERT INTO sign_in (subject, failures)
    SELECT t.subject, 1 FROM unnest(CAST(:subjects AS uuid[])) t (subject) ORDER BY t.subject
    ON CONFLICT (subject) DO UPDATE SET
      failures = CASE WHEN sign_in.locked_until > now() THEN sign_in.failures
        WHEN sign_in.failed_at < now() - :forgotten_after THEN 1 ELSE sign_in.failures + 1 END,
      failed_at = CASE WHEN sign_in.locked_until > now() THEN sign_in.failed_at ELSE now() END
    RETURNING subject, failures, CASE WHEN locked_until > now() THEN locked_until END AS locked_until""")

# Locks subjects out for their number of seconds.
LOCK_SUBJECTS_OUT = text(f"""
    UPDATE sign_in si SET locked_until = now() + make_interval(secs => given.seconds)
    FROM {_LOCKED_OUT} WHERE si.subject = given.subject AND given.seconds > 0""")

# Forgets the failed sign-ins of these subjects, in the order of their ids so that two do not deadlock.
DELETE_FAILURES = text("""
    DELETE FROM sign_in USING (
      SELECT subject FROM sign_in WHERE subject = ANY(CAST(:subjects AS uuid[])) ORDER BY subject FOR UPDATE) held
    WHERE sign_in.subject = held.subject""")

# Every portal: each has counts of its own.
READ_PORTALS = text("SELECT p.id FROM portal p")


def count_failure(session: Session, subjects: Sequence[UUID]) -> datetime | None:
    """Counts one failure for each subject and locks out those that had too many.

    Returns: the end of a lockout that a subject already had, or None when none was locked out.
    """
    asked = {"subjects": list(subjects), "forgotten_after": FORGOTTEN_AFTER}
    counted = fetch(session, _FailureCount, COUNT_FAILURES, asked)
    locked = [row.locked_until for row in counted if row.locked_until]
    if locked:
        return max(locked)
    locking = [_LockedOut(row.subject, lock_seconds(row.failures)) for row in counted]
    session.execute(LOCK_SUBJECTS_OUT, _LOCKED_OUT.parameters(locking))
    return None


def forget_failures(session: Session, subjects: Sequence[UUID]) -> None:
    """Ends lockouts of these subjects, after the right password was given."""
    session.execute(DELETE_FAILURES, {"subjects": list(subjects)})


def forget_everywhere(session: Session, subjects: Collection[UUID]) -> None:
    """Ends lockouts at our pages and all portals, after the reader of the address's mail chose a new password."""
    forget_failures(session, subjects_everywhere(session, subjects))


def subjects_everywhere(session: Session, subjects: Collection[UUID]) -> list[UUID]:
    """Returns subjects with those that stand for them at each portal, in the order of their locks."""
    portals = fetch_values(session, UUID, READ_PORTALS)
    each = [found for portal in portals for found in (subjects_at(portal, subjects), strangers_at(portal, subjects))]
    return sorted({*subjects, *(one for found in each for one in found)})


def subjects_at(portal_id: UUID, subjects: Iterable[UUID]) -> tuple[UUID, ...]:
    """Returns the subjects that stand for these at a portal, in the order of their locks."""
    return _standing_for(portal_id, subjects, b"")


def strangers_at(portal_id: UUID, subjects: Iterable[UUID]) -> tuple[UUID, ...]:
    """Returns the subjects that stand for these where a key for some companies of a portal knows no such person.

    They may be participants of its other companies, whom such a key must not lock out.
    """
    return _standing_for(portal_id, subjects, b"strangers")


def _standing_for(portal_id: UUID, subjects: Iterable[UUID], use: bytes) -> tuple[UUID, ...]:
    hashed = (blake2b(portal_id.bytes + one.bytes, digest_size=16, person=use) for one in subjects)
    return tuple(sorted(UUID(bytes=one.digest()) for one in hashed))


def subjects_of(address: str, account_id: UUID | None) -> tuple[UUID, ...]:
    """Returns the subjects against which a try with this address counts, in the order of their locks."""
    return tuple(sorted({*address_subjects([address]).values(), *([account_id] if account_id else [])}))
