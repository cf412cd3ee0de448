"""The ledger: owed work is rows with a due time, which are claimed in batches under a lease and a fencing token.

Jobs and mails use the same few statements. These read only `due_at`, `leased_until`, `claim`, `failures`, `rescues` and
`worker` (``models.base.OwedWork``); only the domain reads `state`. All times are those of the database.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.trouble import trouble_of
from workers.database import Session, array
from workers.engine.owed_tables import (
    EMAILS,
    JOBS,
    LAST_RESCUE,
    LEDGERS,
    LOCKED,
    MAX_RESCUES,
    POSTPONED,
    UNREADABLE,
    Claimed,
    ColumnsT,
    ColumnsT_co,
    JobColumns,
    Ledger,
    MailColumns,
)
from workers.engine.rollout import ANOTHER_RUNS, this_release
from workers.errors import Transient
from workers.sql import change, fetch, fetch_value, fetch_values

FIRST_LANE: Final = UUID(int=0)

# Tells whether a process of another release is alive.
FIND_ANOTHER = text(f"SELECT {ANOTHER_RUNS}")


class LostClaimError(Transient):
    """Another process holds these rows now; this transaction must not commit."""


@dataclass(frozen=True, slots=True)
class ClaimedRow(Generic[ColumnsT_co]):
    """A row this process holds until its lease ends; `claim` is the fencing token that proves it."""

    id: UUID
    claim: int
    failures: int
    rescues: int
    lane: UUID
    columns: ColumnsT_co  # what the job asks for, or the mail is about
    asked_at: float = field(default=0.0, compare=False)  # monotonic clock of this process just before the claim
    postponements: int = 0  # how often in a row it was postponed
    postponed_for: float = field(default=0.0, compare=False)  # seconds since the first of these


@dataclass(frozen=True, slots=True)
class WorkOutcome:
    """The end of a claimed row: its final state and its result."""

    id: UUID
    claim: int
    state: str
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt at a claimed row that did not succeed.

    Parameters:
      seconds: seconds until the row is due again; None when it ends as dead.
      counts: True when the attempt counts as a failure; a postponement does not.
      keeps_place: True when later rows of its lane wait for a postponed row.
    """

    id: UUID
    claim: int
    state: str
    seconds: float | None
    outcome: str  # retry, postponed, uncertain, dead
    error: Mapping[str, Any] | None = None
    counts: bool = True
    keeps_place: bool = True


class RescuedRow(NamedTuple):
    """A row with a lease that ended, and the number of times this has happened to it."""

    id: UUID
    queue: str
    rescues: int


WORKING_COLUMNS: Final = 8


def claim(
    session: Session,
    ledger: Ledger[ColumnsT],
    queue: str,
    *,
    size: int,
    lease: float,
    worker: UUID,
    cursor: UUID = FIRST_LANE,
) -> list[ClaimedRow[ColumnsT]]:
    """Claims up to `size` due rows; the caller must commit before it works on them.

    Parameters:
      lease: seconds until other processes may rescue the rows, unless the lease is renewed.
      cursor: the lane where the last claim ended, so that every lane has its turn.

    Returns: the rows; those of one lane are in their order.
    """
    # Read before the database starts the lease: a process that freezes in between then expects a shorter one.
    asked_at = time.monotonic()
    if ledger.one_claimer_per_lane:
        session.execute(ledger.turn_sql, {"queue": queue})
    found: Sequence[Any] = []
    for start in {cursor: 0, FIRST_LANE: 0}:  # after the last lane it starts again with the first
        wanted = {"queue": queue, "size": size, "lease": lease, "worker": worker, "cursor": start}
        known = {"known": list(ledger.known), "release": this_release()}
        found = session.execute(ledger.claim_sql, wanted | known).all()
        if found:
            break
    rows = sorted(found, key=lambda row: (row.place, row.id))
    return [_claimed(row, ledger.columns, asked_at) for row in rows]


def _claimed(row: Any, record: type[ColumnsT], asked_at: float) -> ClaimedRow[ColumnsT]:
    columns = record(*row[WORKING_COLUMNS:])
    return ClaimedRow(
        row.id,
        row.claim,
        row.failures,
        row.rescues,
        row.lane,
        columns,
        asked_at,
        row.postponements,
        row.postponed_for,
    )


def hold(
    session: Session, ledger: Ledger[ColumnsT], rows: Sequence[ClaimedRow[ColumnsT]]
) -> list[ClaimedRow[ColumnsT]]:
    """Locks the rows for this transaction and returns those that are still ours. The work must begin with it."""
    held = set(fetch_values(session, UUID, ledger.hold_sql, _pairs(rows)))
    return [row for row in rows if row.id in held]


def finish(session: Session, ledger: Ledger[Claimed], outcomes: Sequence[WorkOutcome]) -> None:
    """Records the final outcomes of rows, as the last statement in the transaction of the work.

    Raises: LostClaimError when a row was rescued meanwhile: the transaction must not commit.
    """
    if not outcomes:
        return
    rows = [{"id": str(o.id), "claim": o.claim, "state": o.state, "result": o.result} for o in outcomes]
    if change(session, ledger.finish_sql, {"outcomes": json.dumps(rows)}) != len(outcomes):
        raise LostClaimError("a claimed row was taken back before it was finished")


def set_back(session: Session, ledger: Ledger[Claimed], setbacks: Sequence[FailedAttempt]) -> None:
    """Makes rows due again later, or ends them as dead; rows that are no longer ours are not changed."""
    session.execute(
        ledger.set_back_sql,
        _pairs(setbacks)
        | {
            "states": [s.state for s in setbacks],
            "seconds": [s.seconds for s in setbacks],
            "outcomes": [s.outcome for s in setbacks],
            "errors": [None if s.error is None else json.dumps(s.error) for s in setbacks],
            "counts": [int(s.counts) for s in setbacks],
            "keeps": [s.keeps_place for s in setbacks],
            "troubles": [trouble_of(s.error) for s in setbacks],
        },
    )


def give_back(session: Session, ledger: Ledger[Claimed], rows: Sequence[ClaimedRow[Claimed]]) -> None:
    """Gives back rows that were not begun, for example because this process is stopping."""
    session.execute(ledger.give_back_sql, _pairs(rows))


def renew(session: Session, ledger: Ledger[Claimed], rows: Sequence[ClaimedRow[Claimed]], *, lease: float) -> set[UUID]:
    """Renews leases to end `lease` seconds from now; returns the identifiers of the rows that are still ours."""
    return set(fetch_values(session, UUID, ledger.renew_sql, _pairs(rows) | {"lease": lease}))


def rescue(session: Session, ledger: Ledger[Claimed]) -> list[RescuedRow]:
    """Rescues rows with an expired lease, and returns them. The third time a row ends as dead."""
    error = {"class": "WorkerLost", "message": f"{MAX_RESCUES} workers were lost while they did this"}
    return fetch(session, RescuedRow, ledger.rescue_sql, _as_parameters(error))


def due_queues(session: Session) -> set[str]:
    """Finds the queues that have due jobs or mails."""
    return {queue for ledger in LEDGERS for queue in fetch_values(session, str, ledger.due_sql)}


def another_release_runs(session: Session) -> bool:
    """Tells whether a process of another release is alive, which may read what this one cannot."""
    return bool(fetch_value(session, bool, FIND_ANOTHER, {"release": this_release()}))


def resume(
    session: Session, ledger: Ledger[Claimed], queue: str, *, after: datetime | None, most: int
) -> datetime | None:
    """Ends the pauses of postponed work on a queue: a new process may have the setting or the code it lacked.

    Parameters:
      after: what the call before returned; None for the first one.
      most: the most rows to make due.

    Returns: the time at which the last of these rows was to be due; None when there were fewer than `most`.
    """
    ended = fetch_values(session, datetime, ledger.resume_sql, {"queue": queue, "after": after, "most": most})
    return max(ended) if len(ended) == most else None


def bury(session: Session, ledger: Ledger[Claimed], *, seconds: float) -> list[UUID]:
    """Ends rows of kinds that this release does not know, due for this many seconds; returns their identifiers.

    Only a process of the newest release that runs may call it: to an older one the kinds of the newer are unknown.
    """
    message = "no release that runs knows this kind of work, or this version of it"
    error = {"class": "UnknownKind", "message": message, "reason": UNREADABLE}
    given = {"seconds": seconds, "known": list(ledger.known)}
    return fetch_values(session, UUID, ledger.bury_sql, given | _as_parameters(error))


def revive(session: Session, row_id: UUID) -> str | None:
    """Gives a stuck job or mail all its attempts again; returns its queue, or None when it is not stuck.

    A mail that ended uncertain is sent once more: its losses still count, because each time it may have arrived.
    """
    for ledger in LEDGERS:
        if queue := fetch_value(session, str, ledger.revive_sql, {"id": row_id}):
            return queue
    return None


def wake_after_commit(session: Session, queue: str) -> None:
    """Notes in the session that this transaction owes work on a queue, which is woken after the commit."""
    session.info.setdefault("queues_to_wake", set()).add(queue)


def queues_to_wake(session: Session) -> set[str]:
    """Returns the queues to wake after the commit of this session."""
    owed: set[str] = session.info.get("queues_to_wake", set())
    return owed


def by_lane(rows: Sequence[ClaimedRow[ColumnsT]]) -> list[list[ClaimedRow[ColumnsT]]]:
    """Groups rows by lane; the rows of each lane stay in order."""
    lanes: dict[UUID, list[ClaimedRow[ColumnsT]]] = {}
    for row in rows:
        lanes.setdefault(row.lane, []).append(row)
    return list(lanes.values())


def halves(rows: Sequence[ClaimedRow[ColumnsT]]) -> Iterable[Sequence[ClaimedRow[ColumnsT]]]:
    """Returns the two halves of a batch that failed as a whole."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _as_parameters(error: Mapping[str, str]) -> dict[str, str | None]:
    return {"error": json.dumps(error), "trouble": trouble_of(error)}


def _pairs(rows: Sequence[ClaimedRow[Claimed]] | Sequence[FailedAttempt]) -> dict[str, Any]:
    return {"ids": array([row.id for row in rows]), "claims": array([row.claim for row in rows])}


__all__ = [
    "EMAILS",
    "FIRST_LANE",
    "JOBS",
    "LAST_RESCUE",
    "LEDGERS",
    "LOCKED",
    "MAX_RESCUES",
    "POSTPONED",
    "UNREADABLE",
    "Claimed",
    "ClaimedRow",
    "ColumnsT",
    "DoWork",
    "FailedAttempt",
    "JobColumns",
    "Ledger",
    "LostClaimError",
    "MailColumns",
    "RescuedRow",
    "WorkOutcome",
    "bury",
    "by_lane",
    "claim",
    "due_queues",
    "finish",
    "give_back",
    "halves",
    "hold",
    "queues_to_wake",
    "renew",
    "rescue",
    "resume",
    "revive",
    "set_back",
    "wake_after_commit",
]

DoWork = Callable[[Session, Sequence[ClaimedRow[ColumnsT]]], Sequence[WorkOutcome]]
"""A domain operation on a batch of locked rows, inside the caller's transaction."""
