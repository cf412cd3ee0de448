"""Wrong passwords in a row, counted against an account and against the hash of an address, known or not."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from models.password import FORGOTTEN_AFTER, lock_seconds
from workers.database import Session
from workers.security.throttles import address_subjects

# In the order of the subject: two tries that share them would deadlock.
COUNT_FAILURES = text("""
    INSERT INTO sign_in (subject, failures)
    SELECT t.subject, 1 FROM unnest(CAST(:subjects AS uuid[])) t (subject) ORDER BY t.subject
    ON CONFLICT (subject) DO UPDATE SET
      failures = CASE WHEN sign_in.locked_until > now() THEN sign_in.failures
        WHEN sign_in.failed_at < now() - :forgotten_after THEN 1 ELSE sign_in.failures + 1 END,
      failed_at = CASE WHEN sign_in.locked_until > now() THEN sign_in.failed_at ELSE now() END
    RETURNING subject, failures, CASE WHEN locked_until > now() THEN locked_until END AS locked_until""")

LOCK_SUBJECTS_OUT = text("""
    UPDATE sign_in s SET locked_until = now() + make_interval(secs => t.seconds)
    FROM unnest(CAST(:subjects AS uuid[]), CAST(:seconds AS int[])) t (subject, seconds)
    WHERE s.subject = t.subject AND t.seconds > 0""")

DELETE_FAILURES = text("""
    DELETE FROM sign_in USING (
      SELECT subject FROM sign_in WHERE subject = ANY(CAST(:subjects AS uuid[])) ORDER BY subject FOR UPDATE) held
    WHERE sign_in.subject = held.subject""")


def count_failure(session: Session, subjects: Sequence[UUID]) -> datetime | None:
    """Counts one against each, and closes those that had too many; returns until when they were closed before."""
    counted = session.execute(COUNT_FAILURES, {"subjects": list(subjects), "forgotten_after": FORGOTTEN_AFTER}).all()
    locked: list[datetime] = [row.locked_until for row in counted if row.locked_until]
    if locked:
        return max(locked)
    seconds = [lock_seconds(row.failures) for row in counted]
    session.execute(LOCK_SUBJECTS_OUT, {"subjects": [row.subject for row in counted], "seconds": seconds})
    return None


def forget_failures(session: Session, subjects: Sequence[UUID]) -> None:
    """Opens them again: the right password was given, or a new one chosen by who reads the address's mail."""
    session.execute(DELETE_FAILURES, {"subjects": list(subjects)})


def subjects_of(address: str, account_id: UUID | None) -> tuple[UUID, ...]:
    """Against whom a try with this address counts, in the order of their locks."""
    return tuple(sorted({*address_subjects([address]).values(), *([account_id] if account_id else [])}))
