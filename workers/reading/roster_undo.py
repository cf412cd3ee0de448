"""Shows the effect that undoing an import would have now: the seats that come back, and the people who keep theirs."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE, PARTICIPATING
from models.mails import quoted
from models.withdrawal import WithdrawalCandidate, WithdrawalVerdict, decide_withdrawals
from models.words import Code, Progress
from workers.database import Session
from workers.portals.keys import KnownKey
from workers.reading.visible_jobs import find_visible_job
from workers.requests.imports import ImportRoster
from workers.sql import fetch

KEEPING: Final = 200
"""The most people who keep their seat that are named."""

# The enrollments that an import made: undoing it withdraws these.
_ENROLLED = f"""job_person p JOIN enrollment e ON e.id = p.enrollment_id
    WHERE p.job_id = :job AND p.code IN ({quoted((Code.ENROLLED, Code.ATTACHED))}) AND e.job_id = :job"""

# Counts them by everything that decides whether a seat comes back.
COUNT_STANDINGS = text(f"""
    SELECT e.progress, e.withdrawn_at IS NOT NULL AS withdrawn, e.detached_at IS NOT NULL AS detached,
      count(*) AS people
    FROM {_ENROLLED} GROUP BY 1, 2, 3""")

# The first of them who would not be withdrawn, and are no longer free to be.
LIST_KEEPING = text(f"""
    SELECT p.position, CAST(p.detail ->> 'line' AS int) AS line, e.id, e.progress, e.withdrawn_at, e.detached_at,
      CASE e.progress WHEN 'completed' THEN e.completed_at ELSE e.started_at END AS since,
      a.first_name, a.last_name, a.email_norm AS email
    FROM {_ENROLLED.replace("WHERE", "JOIN account a ON a.id = e.account_id WHERE", 1)}
      AND {LIVE} AND NOT (e.progress = 'not_started' AND {PARTICIPATING}) AND a.erased_at IS NULL
    ORDER BY p.position LIMIT :most""")


class _StandingCount(NamedTuple):
    progress: str
    withdrawn: bool
    detached: bool
    people: int


class _KeepingPerson(NamedTuple):
    position: int
    line: int | None
    id: UUID
    progress: str
    withdrawn_at: datetime | None
    detached_at: datetime | None
    since: datetime | None
    first_name: str
    last_name: str
    email: str


def show_undo(session: Session, key: KnownKey, job_id: UUID) -> dict[str, Any] | None:
    """Returns what undoing an import would answer now; None when this key may see no such import.

    `counts` has the number of people by code, as the job would count them, and `keeping` names the first of those who
    keep their seat.
    """
    found = find_visible_job(session, key, job_id)
    if found is None or found.kind != ImportRoster.kind:
        return None
    counts: Counter[Code] = Counter()
    for one in fetch(session, _StandingCount, COUNT_STANDINGS, {"job": job_id}):
        counts[_verdict(_standing(one)).code] += one.people
    keeping = fetch(session, _KeepingPerson, LIST_KEEPING, {"job": job_id, "most": KEEPING})
    return {"counts": dict(counts), "keeping": [_keeping(one) for one in keeping]}


def _standing(one: _StandingCount) -> WithdrawalCandidate:
    """Returns what decides about these people; when it happened is of no weight."""
    now = datetime.now(UTC)
    left = WithdrawalCandidate(Progress(one.progress), None, now if one.withdrawn else None)
    return left._replace(detached_at=now if one.detached else None)


def _verdict(standing: WithdrawalCandidate) -> WithdrawalVerdict:
    person = UUID(int=0)
    return decide_withdrawals([person], {person: standing}, datetime.now(UTC)).verdicts[0]


def _keeping(one: _KeepingPerson) -> dict[str, Any]:
    verdict = _verdict(WithdrawalCandidate(Progress(one.progress), one.since, one.withdrawn_at, one.detached_at))
    return {
        "line": one.line,
        "enrollment_id": str(one.id),
        "email": one.email,
        "first_name": one.first_name,
        "last_name": one.last_name,
        "code": verdict.code,
        "detail": verdict.detail,
    }
