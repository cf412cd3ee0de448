"""What the LMS tells of a participant, and the rule that folds its events into one truth, whatever their order.

Each thing that is known is a minimum or a maximum of what was ever said, so events may come late, twice, together or
one by one: the same events always end in the same knowledge.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from models.words import Code, Progress

HEARD_CODES: Final = frozenset({Code.RECORDED, Code.UNCHANGED})
"""Codes of events that were understood; every other is a refusal."""

LARGEST_LEAD: Final = timedelta(days=1)
"""How far an LMS's clock may be ahead: a wrong time zone is believed, a wrong year would make all that follows old."""

_RANK: Final = {progress: rank for rank, progress in enumerate(Progress)}


class LearningEvent(NamedTuple):
    """One thing the LMS saw.

    Parameters:
      occurred_at: when it happened there, not when it was sent.
      score: percent.
      time_spent_seconds: in all, so far.
      completed_at: when the training was completed, if that was before `occurred_at`.
    """

    progress: Progress
    occurred_at: datetime
    score: float | None = None
    time_spent_seconds: int | None = None
    completed_at: datetime | None = None


class KnownProgress(NamedTuple):
    """What is known of a participant, as the columns of ``models.enrollment.Enrollment`` keep it."""

    progress: Progress = Progress.NOT_STARTED
    started_at: datetime | None = None
    completed_at: datetime | None = None
    progress_at: datetime | None = None
    score: float | None = None
    scored_at: datetime | None = None
    time_spent_seconds: int = 0


def record_events(
    known: KnownProgress, events: Iterable[LearningEvent], now: datetime
) -> tuple[KnownProgress, list[Code]]:
    """What is known after these events, and a code for each: `recorded`, `unchanged`, or `invalid_request` for one that
    claims to come from the future.
    """
    codes = []
    for event in events:
        if max(event.occurred_at, event.completed_at or event.occurred_at) > now + LARGEST_LEAD:
            codes.append(Code.INVALID_REQUEST)
            continue
        before, known = known, fold(known, event)
        codes.append(Code.UNCHANGED if known == before else Code.RECORDED)
    return known, codes


def fold(known: KnownProgress, event: LearningEvent) -> KnownProgress:
    """What is known once this event is heard, too.

    Progress never goes back; the start and the completion are the earliest ever said, the time spent is the longest,
    the score is the one of the latest event that gave one (of two at the same moment, the better).
    """
    begun = event.progress is not Progress.NOT_STARTED
    ended = (event.completed_at or event.occurred_at) if event.progress is Progress.COMPLETED else None
    score, scored_at = _score(known, event)
    return KnownProgress(
        progress=max(known.progress, event.progress, key=_RANK.__getitem__),
        started_at=_earliest(known.started_at, event.occurred_at if begun else None, ended),
        completed_at=_earliest(known.completed_at, ended),
        progress_at=max(known.progress_at or event.occurred_at, event.occurred_at),
        score=score,
        scored_at=scored_at,
        time_spent_seconds=max(known.time_spent_seconds, event.time_spent_seconds or 0),
    )


def _score(known: KnownProgress, event: LearningEvent) -> tuple[float | None, datetime | None]:
    if event.score is None:
        return known.score, known.scored_at
    if known.score is None or known.scored_at is None:
        return event.score, event.occurred_at
    scored_at, score = max((known.scored_at, known.score), (event.occurred_at, event.score))
    return score, scored_at


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
