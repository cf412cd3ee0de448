"""The ledger: whatever is owed is a row with a due time, claimed in batches under a lease and a fence.

Jobs and mails use the same few statements. They read only `due_at`, `leased_until`, `claim`, `failures`, `rescues` and
`worker` (``models.base.Work``); what `state` means belongs to the domain. Database time alone decides.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from models.retention import RETENTION, RetentionClass
from models.words import EmailState, JobState
from workers.database import Session
from workers.engine.ledger_sql import LAST_RESCUE, MAX_RESCUES, Ledger
from workers.errors import Transient

FIRST_LANE: Final = UUID(int=0)


class LostClaimError(Transient):
    """Another process holds these rows now; nothing of this transaction may stay."""


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A row this process holds until its lease ends; `claim` is the fence that proves it."""

    id: UUID
    claim: int
    failures: int
    rescues: int
    lane: UUID
    columns: Mapping[str, Any] = field(default_factory=dict)  # the domain's columns, as the ledger was asked for
    asked_at: float = field(default=0.0, compare=False)  # monotonic clock of this process just before the claim


@dataclass(frozen=True, slots=True)
class WorkOutcome:
    """How a claimed row ended: its final state and what to keep about it."""

    id: UUID
    claim: int
    state: str
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """How a claimed row did not end: when it is due again, or never when `seconds` is None.

    `counts` is whether the attempt counts as a failure; a postponement does not.
    """

    id: UUID
    claim: int
    state: str
    seconds: float | None
    outcome: str  # retry, postponed, uncertain, dead
    error: Mapping[str, Any] | None = None
    counts: bool = True


JOBS: Final = Ledger(
    table="job",
    waiting=JobState.QUEUED,
    running=JobState.RUNNING,
    dead=JobState.DEAD,
    columns={
        "kind": "kind",
        "portal_id": "portal_id",
        "request": "CAST(request AS text)",
        "position": "position",
        "requested_by": "requested_by",
    },
    one_claimer_per_lane=True,
    stuck=f"state = '{JobState.DEAD}'",
    kept="request IS NOT NULL",
)

EMAILS: Final = Ledger(
    table="email",
    waiting=EmailState.OWED,
    running=EmailState.SENDING,
    dead=EmailState.FAILED,
    columns={
        "kind": "kind",
        "to_address": "to_address",
        "locale": "locale",
        "context": "context",
        "message_id": "message_id",
        "date": "date",
        "expires_at": "expires_at",
        "expired": "expires_at <= now()",
        "account_id": "account_id",
        "contract_id": "contract_id",
        "job_id": "job_id",
        # Times it was lost inside DATA; failures of other kinds (a greylisting) do not count among them.
        "losses": "(SELECT count(*) FROM job_attempt a WHERE a.row_id = email.id AND a.outcome = 'uncertain')",
    },
    one_claimer_per_lane=False,
    stuck=f"state IN ('{EmailState.FAILED}', '{EmailState.EXPIRED}')"
    f" OR (state = '{EmailState.UNCERTAIN}' AND due_at IS NULL)",
    revived=", expires_at = greatest(expires_at, now() + interval '5 days')",  # or its next claim would expire it
    kept="to_address <> ''"
    f" AND coalesce(finished_at >= now() - CAST('{RETENTION[RetentionClass.MAIL_WORDS].keeps}' AS interval), true)",
)

LEDGERS: Final = (JOBS, EMAILS)

WORKING_COLUMNS: Final = 6


def claim(
    session: Session, ledger: Ledger, queue: str, *, size: int, lease: float, worker: UUID, cursor: UUID = FIRST_LANE
) -> list[ClaimedRow]:
    """Claims up to `size` due rows; commit before doing anything with them.

    Parameters:
      lease: seconds until the rows may be taken back if nothing is heard of them.
      cursor: the lane the last claim ended with, so that every lane has its turn.

    Returns: the rows, those of one lane in their order.
    """
    asked_at = time.monotonic()  # before the database's clock starts the lease: frozen in between, we believe in less
    if ledger.one_claimer_per_lane:
        session.execute(ledger.turn_sql, {"queue": queue})
    found: Sequence[Any] = []
    for start in {cursor: 0, FIRST_LANE: 0}:  # past the last lane, start again with the first
        found = session.execute(
            ledger.claim_sql, {"queue": queue, "size": size, "lease": lease, "worker": worker, "cursor": start}
        ).all()
        if found:
            break
    names = tuple(ledger.columns)
    rows = sorted(found, key=lambda row: (row.place, row.id))
    return [_claimed(row, names, asked_at) for row in rows]


def _claimed(row: Any, names: Sequence[str], asked_at: float) -> ClaimedRow:
    columns = dict(zip(names, row[WORKING_COLUMNS:], strict=True))
    return ClaimedRow(row.id, row.claim, row.failures, row.rescues, row.lane, columns, asked_at)


def hold(session: Session, ledger: Ledger, rows: Sequence[ClaimedRow]) -> list[ClaimedRow]:
    """Locks the rows for this transaction and drops those that are no longer ours. The first statement of the work."""
    held = set(session.execute(ledger.hold_sql, _pairs(rows)).scalars())
    return [row for row in rows if row.id in held]


def finish(session: Session, ledger: Ledger, outcomes: Sequence[WorkOutcome]) -> None:
    """Records how rows ended. The last statement of the work, in its transaction.

    Raises: LostClaimError when a row was taken back meanwhile: the transaction must not commit.
    """
    if not outcomes:
        return
    rows = [{"id": str(o.id), "claim": o.claim, "state": o.state, "result": o.result} for o in outcomes]
    done = session.execute(ledger.finish_sql, {"outcomes": json.dumps(rows)})
    if done.rowcount != len(outcomes):  # type: ignore[attr-defined]
        raise LostClaimError("a claimed row was taken back before it was finished")


def set_back(session: Session, ledger: Ledger, setbacks: Sequence[FailedAttempt]) -> None:
    """Makes rows due again later, or ends them as dead; rows no longer ours are left alone."""
    session.execute(
        ledger.set_back_sql,
        _pairs(setbacks)
        | {
            "states": [s.state for s in setbacks],
            "seconds": [s.seconds for s in setbacks],
            "outcomes": [s.outcome for s in setbacks],
            "errors": [None if s.error is None else json.dumps(s.error) for s in setbacks],
            "counts": [int(s.counts) for s in setbacks],
        },
    )


def give_back(session: Session, ledger: Ledger, rows: Sequence[ClaimedRow]) -> None:
    """Puts rows that were not begun back among the waiting (this process is stopping)."""
    session.execute(ledger.give_back_sql, _pairs(rows))


def renew(session: Session, ledger: Ledger, rows: Sequence[ClaimedRow], *, lease: float) -> set[UUID]:
    """Moves the end of the leases to `lease` seconds from now; returns the rows that are still ours."""
    return set(session.execute(ledger.renew_sql, _pairs(rows) | {"lease": lease}).scalars())


def rescue(session: Session, ledger: Ledger) -> list[tuple[UUID, str, int]]:
    """Takes back rows whose lease ran out; returns (id, queue, times rescued). The third time a row is buried."""
    error = json.dumps({"class": "WorkerLost", "message": f"{MAX_RESCUES} workers were lost while they did this"})
    found = session.execute(ledger.rescue_sql, {"error": error})
    return [(row_id, queue, rescues) for row_id, queue, rescues in found]


def due_queues(session: Session) -> set[str]:
    """The queues of all ledgers that have due rows: whose bell to ring."""
    return {queue for ledger in LEDGERS for queue in session.execute(ledger.due_sql).scalars()}


def revive(session: Session, row_id: UUID) -> str | None:
    """Gives a stuck row all its attempts again, whichever ledger it is in; returns its queue, None if it is not stuck.

    A mail that ended uncertain is sent once: its losses still count, because each time it may have arrived.
    """
    for ledger in LEDGERS:
        queue: str | None = session.execute(ledger.revive_sql, {"id": row_id}).scalar()
        if queue:
            return queue
    return None


def wake_after_commit(session: Session, queue: str) -> None:
    """Remembers that this transaction owes work on a queue; whoever commits it rings the bell afterwards."""
    session.info.setdefault("bells", set()).add(queue)


def queues_to_wake(session: Session) -> set[str]:
    """The queues whose bells to ring once this session is committed."""
    owed: set[str] = session.info.get("bells", set())
    return owed


def by_lane(rows: Sequence[ClaimedRow]) -> list[list[ClaimedRow]]:
    """The rows of each lane, in order."""
    lanes: dict[UUID, list[ClaimedRow]] = {}
    for row in rows:
        lanes.setdefault(row.lane, []).append(row)
    return list(lanes.values())


def halves(rows: Sequence[ClaimedRow]) -> Iterable[Sequence[ClaimedRow]]:
    """The two halves of a batch that failed as a whole."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _pairs(rows: Sequence[ClaimedRow] | Sequence[FailedAttempt]) -> dict[str, Any]:
    return {"ids": [row.id for row in rows], "claims": [row.claim for row in rows]}


__all__ = [
    "EMAILS",
    "FIRST_LANE",
    "JOBS",
    "LAST_RESCUE",
    "LEDGERS",
    "MAX_RESCUES",
    "ClaimedRow",
    "DoWork",
    "FailedAttempt",
    "Ledger",
    "LostClaimError",
    "WorkOutcome",
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
    "revive",
    "set_back",
    "wake_after_commit",
]

DoWork = Callable[[Session, Sequence[ClaimedRow]], Sequence[WorkOutcome]]
"""One domain operation on a batch of held rows, inside the caller's transaction."""
