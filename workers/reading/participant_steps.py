"""Participants for whom a manager has something to do: where to look for them, and how many there are."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE
from models.link import LEAST_LEFT
from models.participant import INVITATIONS, NEED_STEP, UNANSWERED_AFTER
from models.words import Progress
from workers.database import Session, text_array
from workers.reading import participant_rows as sql
from workers.sql import fetch, fetch_values

MOST_COUNTED: Final = 10_000
"""Up to this many participants with a progress are counted."""

MOST_LOOKED_AT: Final = 2_000
"""Up to this many who have not begun, and as many mails of a state, are looked at to count those who need a step."""

STEP_STATES: Final = text_array([state.value for state in NEED_STEP])


class StepLook(NamedTuple):
    """A look at a part of a contract.

    Parameters:
      ids: the participants who may need a step, the latest first.
      next: before which the next look begins; None when this was the last.
    """

    ids: Sequence[UUID]
    next: UUID | None


class BoundedCount(NamedTuple):
    """A number, and whether there may be more."""

    number: int
    more: bool


def look_for_steps(session: Session, contract_id: UUID, before: UUID, size: int) -> StepLook:
    """Looks at the next participants: at those with a mail that did not arrive, and at those who have not begun."""
    given = {"contract": contract_id, "before": before, "size": size}
    failed = fetch_values(session, UUID, sql.PAGE_BY_MAIL, given | {"states": STEP_STATES})
    invited = fetch(session, sql.InvitedPerson, sql.NEXT_INVITED, given | {"least": LEAST_LEFT})
    seen = [ids[-1] for ids in (failed, [one.id for one in invited]) if len(ids) == size]
    lowest = max(seen, default=None)
    ids = {*failed, *(one.id for one in invited if one.waiting)}
    return StepLook(sorted((one for one in ids if lowest is None or one >= lowest), reverse=True), lowest)


def count_participants(session: Session, contract_id: UUID) -> dict[str, Any]:
    """Counts the participants of a contract by progress, and those for whom a manager has something to do."""
    asked = {"contract": contract_id, "most": MOST_COUNTED + 1}
    found = dict.fromkeys(Progress, 0) | {
        Progress(one.progress): one.number for one in fetch(session, sql.CountedProgress, sql.COUNT_PROGRESS, asked)
    }
    counted = {
        progress.value: BoundedCount(min(number, MOST_COUNTED), number > MOST_COUNTED)
        for progress, number in found.items()
    }
    return {name: count._asdict() for name, count in {**counted, "to_do": _count_steps(session, contract_id)}.items()}


class _StepCount(NamedTuple):
    number: int
    looked_at: int


# Counts those who need a step among the latest participants who have not begun, and the latest with such a mail.
COUNT_STEPS = text(f"""
    WITH failed AS (
      SELECT DISTINCT found.enrollment_id AS id FROM unnest(CAST(:states AS text[])) given CROSS JOIN LATERAL (
        SELECT DISTINCT m.enrollment_id FROM email m
        WHERE m.contract_id = :contract AND m.state = given AND m.state <> 'sent' AND m.enrollment_id IS NOT NULL
        ORDER BY m.enrollment_id DESC LIMIT :most) found),
    invited AS (
      SELECT e.id, e.account_id, e.enrolled_at FROM enrollment e
      WHERE e.contract_id = :contract AND e.progress = 'not_started' AND {LIVE} ORDER BY e.id DESC LIMIT :most),
    looked_at AS (
      SELECT e.id, e.account_id, CAST(NULL AS uuid) AS waiting FROM failed f JOIN enrollment e ON e.id = f.id
      WHERE {LIVE} AND e.contract_id = :contract
      UNION ALL
      SELECT i.id, i.account_id, i.account_id FROM invited i JOIN account a ON a.id = i.account_id
      WHERE a.activated_at IS NULL AND i.enrolled_at <= now() - CAST(:least AS interval))
    SELECT CAST(count(DISTINCT l.id) AS int) AS number,
      CAST(greatest((SELECT count(*) FROM invited), (SELECT count(*) FROM failed)) AS int) AS looked_at
    FROM looked_at l CROSS JOIN LATERAL (
      SELECT m.kind, m.state, m.due_at, m.finished_at FROM email m
      WHERE m.account_id = l.account_id AND m.enrollment_id = l.id ORDER BY m.id DESC LIMIT 1) m
    WHERE (m.state = ANY(CAST(:states AS text[])) AND (m.state <> 'uncertain' OR m.due_at IS NULL))
      OR (m.state = 'sent' AND l.waiting IS NOT NULL AND m.kind = ANY(CAST(:kinds AS text[]))
        AND (m.finished_at <= now() - CAST(:unanswered AS interval) OR NOT EXISTS (
          SELECT 1 FROM link k WHERE k.account_id = l.account_id AND k.purpose = 'activation'
            AND k.consumed_at IS NULL AND k.voided_at IS NULL AND k.subject_id IS NULL AND k.expires_at > now())))""")


def _count_steps(session: Session, contract_id: UUID) -> BoundedCount:
    asked = {
        "contract": contract_id,
        "states": STEP_STATES,
        "kinds": text_array([kind.value for kind in INVITATIONS]),
        "least": LEAST_LEFT,
        "unanswered": UNANSWERED_AFTER,
        "most": MOST_LOOKED_AT,
    }
    [counted] = fetch(session, _StepCount, COUNT_STEPS, asked)
    return BoundedCount(counted.number, counted.looked_at >= MOST_LOOKED_AT)
