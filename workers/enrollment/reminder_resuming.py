"""Reminders taken up again: of whom they had stopped because no invitation reached them, or their contract wanted none.

Lock order: whoever calls holds the contract, or the accounts; then enrollments by id.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from models.mails import INVITING, quoted
from models.reminder import REMINDER_GAP, REMINDER_STEPS
from workers.database import Session, array

# Whoever was enrolled without a mail is not reminded of one. Somebody who activates at this moment may be given a date:
# it is looked at again before anything is sent.
_RESUME: Final = """
    UPDATE enrollment SET next_reminder_at = greatest(
      now() + :least, enrollment.enrolled_at + (CAST(:steps AS interval[]))[enrollment.reminders + 1])
    FROM (
      SELECT n.id FROM enrollment n JOIN account a ON a.id = n.account_id
      WHERE {which} AND n.next_reminder_at IS NULL AND n.reminders < cardinality(CAST(:steps AS interval[]))
        AND n.withdrawn_at IS NULL AND n.detached_at IS NULL AND a.activated_at IS NULL AND a.erased_at IS NULL
        AND EXISTS (
          SELECT 1 FROM email e WHERE e.account_id = n.account_id AND e.enrollment_id = n.id
            AND e.kind IN ({inviting}))
      ORDER BY n.id FOR NO KEY UPDATE OF n) stopped
    WHERE enrollment.id = stopped.id"""

RESUME_CONTRACT = text(_RESUME.format(which="n.contract_id = :contract", inviting=quoted(INVITING)))
RESUME_ENROLLMENTS = text(_RESUME.format(which="n.id = ANY(CAST(:enrollments AS uuid[]))", inviting=quoted(INVITING)))


def resume_contract(session: Session, contract_id: UUID) -> None:
    """A contract has people reminded again, after it wanted none or was over: who has not activated has their next."""
    session.execute(RESUME_CONTRACT, {"contract": contract_id, "steps": list(REMINDER_STEPS), "least": timedelta()})


def resume_enrollments(session: Session, enrollments: Collection[UUID]) -> None:
    """Their invitation was sent again; call it once the mails are owed. The next reminder is a day away at least."""
    if enrollments:
        which = {"enrollments": array(sorted(set(enrollments)))}
        session.execute(RESUME_ENROLLMENTS, which | {"steps": list(REMINDER_STEPS), "least": REMINDER_GAP})
