"""The ledger: owed work is rows with a due time, which are claimed in batches under a lease and a fencing token.

Jobs and mails use the same few statements. These read only `due_at`, `leased_until`, `claim`, `failures`, `rescues` and
`worker` (``models.base.OwedWork``); only the domain reads `state`. All times are those of the database.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text

from models.retention import RETENTION, RetentionClass
from models.words import EmailState, JobState
from workers.database import Session
from workers.errors import Transient

FIRST_LANE: Final = UUID(int=0)


class LostClaimError(Transient):
    """Another process holds these rows now; this transaction must not commit."""


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """A row this process holds until its lease ends; `claim` is the fencing token that proves it."""

    id: UUID
    claim: int
    failures: int
    rescues: int
    lane: UUID
    columns: Mapping[str, Any] = field(default_factory=dict)  # the domain's columns, as `Ledger.columns` names them
    asked_at: float = field(default=0.0, compare=False)  # monotonic clock of this process just before the claim


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
    """

    id: UUID
    claim: int
    state: str
    seconds: float | None
    outcome: str  # retry, postponed, uncertain, dead
    error: Mapping[str, Any] | None = None
    counts: bool = True


MAX_RESCUES: Final = 3
"""Leases that a row may lose before it counts as one that kills its workers, and ends as dead."""

LAST_RESCUE: Final = MAX_RESCUES - 1
"""The number of lost leases after which the next loss ends a row as dead."""


@dataclass(frozen=True)
class Ledger:
    """One table of owed work, and the values of its states.

    Parameters:
      table: a table with the columns of ``models.base.OwedWork``, and `id`, `state`, `result`, `error`.
      columns: what a claim returns beside the working columns, as SQL expressions by name.
      one_claimer_per_lane: True when rows of one lane are done one batch after the other, in the order they were
        recorded, also when some of them were postponed.
      stuck: the SQL condition of rows that ended without success and may be given all their attempts again.
      revived: further assignments for such a row, which begin with a comma.
      kept: the SQL condition that such a row still has the data it needs, after retention or an erasure.
    """

    table: str
    waiting: str
    running: str
    dead: str
    columns: Mapping[str, str]
    one_claimer_per_lane: bool
    stuck: str
    revived: str = ""
    kept: str = "true"

    @property
    def order(self) -> str:
        """The column that gives the order of rows in a lane."""
        return "created_at" if self.one_claimer_per_lane else "due_at"

    @property
    def _free(self) -> str:
        """The SQL condition of a lane that can be claimed: no process works in it, and its first row is not postponed.

        A postponed row keeps its place, so that later rows do not overtake it. A row that failed has lost its place.
        """
        if not self.one_claimer_per_lane:
            return "true"
        return f"""(NOT EXISTS (
              SELECT 1 FROM {self.table} r WHERE r.queue = :queue AND r.lane = walk.lane AND r.leased_until IS NOT NULL)
            AND NOT (
              SELECT h.due_at > now() AND h.claim > 0 AND h.failures = 0 FROM {self.table} h
              WHERE h.queue = :queue AND h.lane = walk.lane AND h.due_at IS NOT NULL AND h.leased_until IS NULL
              ORDER BY h.{self.order}, h.id LIMIT 1))"""

    @cached_property
    def claim_sql(self) -> TextClause:
        """Claims a batch: it visits the lanes in turn from `cursor`, and takes due rows, the first of each lane first.

        Lanes that are not free are skipped and do not count, so that a claim of one row finds the one free lane. A row
        that would end as dead with its next lost lease is claimed alone, so that only the row that kills its worker
        dies. After a first loss rows are still claimed together, or one kill would leave hundreds to do one by one.
        """
        due = "queue = :queue AND due_at <= now() AND due_at IS NOT NULL AND leased_until IS NULL"
        columns = "".join(f", {expression} AS {name}" for name, expression in self.columns.items())
        return text(f"""
            WITH RECURSIVE walk (lane, passed) AS (
              (SELECT lane, 0 FROM {self.table} WHERE {due} AND lane > :cursor ORDER BY lane LIMIT 1)
              UNION ALL
              SELECT (SELECT w.lane FROM {self.table} w WHERE {due} AND w.lane > walk.lane ORDER BY w.lane LIMIT 1),
                passed + CASE WHEN {self._free} THEN 1 ELSE 0 END
              FROM walk WHERE walk.lane IS NOT NULL AND passed < :size),
            free AS MATERIALIZED (SELECT lane FROM walk WHERE lane IS NOT NULL AND {self._free} ORDER BY lane),
            picked AS MATERIALIZED (
              SELECT p.id, p.rescues, p.place FROM free CROSS JOIN LATERAL (
                SELECT id, rescues, {self.order} AS place FROM {self.table} WHERE {due} AND lane = free.lane
                ORDER BY {self.order}, id LIMIT :size FOR NO KEY UPDATE SKIP LOCKED) p
              LIMIT :size),
            chosen AS MATERIALIZED (
              SELECT id FROM picked WHERE NOT EXISTS (SELECT 1 FROM picked WHERE rescues >= {LAST_RESCUE})
              UNION ALL
              (SELECT id FROM picked WHERE rescues >= {LAST_RESCUE} ORDER BY place, id LIMIT 1))
            UPDATE {self.table} SET state = '{self.running}', claim = claim + 1, worker = :worker,
              started_at = coalesce(started_at, now()), leased_until = now() + make_interval(secs => :lease)
            WHERE id IN (SELECT id FROM chosen)
            RETURNING id, claim, failures, rescues, lane, {self.order} AS place{columns}""")

    @cached_property
    def turn_sql(self) -> TextClause:
        """Waits until no other transaction is claiming from this queue.

        Two claims at once do not see each other's rows: both would take rows of one lane, and break its order.
        """
        return text(f"SELECT pg_advisory_xact_lock(hashtextextended('claim {self.table} ' || CAST(:queue AS text), 0))")

    @cached_property
    def hold_sql(self) -> TextClause:
        """Locks the claimed rows that are still ours, so that the clock does not rescue them in this transaction."""
        return text(f"""
            SELECT t.id FROM {self.table} t
            JOIN unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim) ON m.id = t.id AND m.claim = t.claim
            WHERE t.leased_until IS NOT NULL ORDER BY t.id FOR NO KEY UPDATE OF t""")

    @cached_property
    def finish_sql(self) -> TextClause:
        """Records final outcomes of exactly the claims given."""
        # They come as one JSON text: escaping the quotes of many results in an array costs more than recording them.
        return text(f"""
            WITH m AS MATERIALIZED (SELECT * FROM json_to_recordset(CAST(:outcomes AS json))
                m (id uuid, claim int, state text, result json)),
            {self._ours}
            UPDATE {self.table} t SET state = m.state, result = coalesce(m.result, t.result),
              due_at = NULL, leased_until = NULL, finished_at = now()
            FROM ours JOIN m ON m.id = ours.id
            WHERE t.id = ours.id AND t.claim = m.claim AND t.leased_until IS NOT NULL""")

    @cached_property
    def set_back_sql(self) -> TextClause:
        """Makes claimed rows due again later, or ends them as dead, and adds a row for each failed attempt."""
        return text(f"""
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[]), CAST(:states AS text[]),
                CAST(:seconds AS float8[]), CAST(:outcomes AS text[]), CAST(:errors AS text[]), CAST(:counts AS int[]))
                m (id, claim, state, seconds, outcome, error, counts)),
            {self._ours},
            moved AS (
              UPDATE {self.table} t SET state = m.state, failures = t.failures + m.counts, leased_until = NULL,
                due_at = now() + make_interval(secs => m.seconds), error = coalesce(CAST(m.error AS json), t.error),
                finished_at = CASE WHEN m.seconds IS NULL THEN now() END
              FROM ours JOIN m ON m.id = ours.id
              WHERE t.id = ours.id AND t.claim = m.claim AND t.leased_until IS NOT NULL
              RETURNING t.id, t.claim, t.worker, m.outcome, m.error)
            INSERT INTO job_attempt (ledger, row_id, claim, outcome, error, worker)
            SELECT '{self.table}', id, claim, outcome, CAST(error AS json), worker FROM moved""")

    @cached_property
    def give_back_sql(self) -> TextClause:
        """Gives back claimed rows that were not begun, as if they had never been claimed."""
        return text(f"""
            UPDATE {self.table} t SET state = '{self.waiting}', leased_until = NULL
            FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)
            WHERE t.id = m.id AND t.claim = m.claim AND t.leased_until IS NOT NULL""")

    @cached_property
    def renew_sql(self) -> TextClause:
        """Renews the leases that are still ours."""
        return text(f"""
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)),
            {self._ours}
            UPDATE {self.table} t SET leased_until = now() + make_interval(secs => :lease)
            FROM ours JOIN m ON m.id = ours.id
            WHERE t.id = ours.id AND t.claim = m.claim AND t.leased_until IS NOT NULL RETURNING t.id""")

    @property
    def _ours(self) -> str:
        """Locks the claims in `m` that are still ours, in the order of their id.

        Leases are renewed while outcomes of the same rows are recorded, and without an order the two would deadlock.
        """
        return f"""ours AS MATERIALIZED (SELECT t.id FROM {self.table} t JOIN m ON m.id = t.id AND m.claim = t.claim
                WHERE t.leased_until IS NOT NULL ORDER BY t.id FOR NO KEY UPDATE OF t)"""

    @cached_property
    def rescue_sql(self) -> TextClause:
        """Makes rows with an expired lease due again, or ends them as dead when they lost too many leases.

        SKIP LOCKED leaves out rows that a live transaction has locked: they are not lost, even if their lease expired.
        """
        return text(f"""
            WITH lost AS MATERIALIZED (SELECT id FROM {self.table} WHERE leased_until < now()
                ORDER BY leased_until LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED),
            moved AS (
              UPDATE {self.table} t SET rescues = rescues + 1, leased_until = NULL,
                state = CASE WHEN rescues + 1 >= {MAX_RESCUES} THEN '{self.dead}' ELSE '{self.waiting}' END,
                due_at = CASE WHEN rescues + 1 >= {MAX_RESCUES} THEN NULL ELSE due_at END,
                finished_at = CASE WHEN rescues + 1 >= {MAX_RESCUES} THEN now() END,
                error = CASE WHEN rescues + 1 >= {MAX_RESCUES} THEN CAST(:error AS json) ELSE error END
              FROM lost WHERE t.id = lost.id RETURNING t.id, t.claim, t.worker, t.queue, t.rescues),
            kept AS (
              INSERT INTO job_attempt (ledger, row_id, claim, outcome, worker)
              SELECT '{self.table}', id, claim, CASE WHEN rescues >= {MAX_RESCUES} THEN 'dead' ELSE 'rescued' END,
                worker
              FROM moved)
            SELECT id, queue, rescues FROM moved""")

    @cached_property
    def due_sql(self) -> TextClause:
        """Finds the queues that have due rows."""
        # A loose index scan jumps from queue to queue instead of reading every waiting row.
        waiting = "due_at IS NOT NULL AND leased_until IS NULL"
        return text(f"""
            WITH RECURSIVE q (queue) AS (
              (SELECT queue FROM {self.table} WHERE {waiting} ORDER BY queue LIMIT 1)
              UNION ALL
              SELECT (
                SELECT t.queue FROM {self.table} t WHERE {waiting} AND t.queue > q.queue
                ORDER BY t.queue LIMIT 1)
              FROM q WHERE q.queue IS NOT NULL)
            SELECT queue FROM q WHERE queue IS NOT NULL AND EXISTS (
              SELECT 1 FROM {self.table} t WHERE t.queue = q.queue AND {waiting} AND t.due_at <= now())""")

    @cached_property
    def revive_sql(self) -> TextClause:
        """Gives a stuck row all its attempts again."""
        return text(f"""
            UPDATE {self.table} SET state = '{self.waiting}', due_at = now(), failures = 0, rescues = 0,
              finished_at = NULL{self.revived} WHERE id = :id AND ({self.stuck}) AND ({self.kept}) RETURNING queue""")


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
        # The number of times a mail was lost inside DATA, without other failures such as greylisting.
        "losses": "(SELECT count(*) FROM job_attempt a WHERE a.row_id = email.id AND a.outcome = 'uncertain')",
    },
    one_claimer_per_lane=False,
    stuck=f"state IN ('{EmailState.FAILED}', '{EmailState.EXPIRED}')"
    f" OR (state = '{EmailState.UNCERTAIN}' AND due_at IS NULL)",
    revived=", expires_at = greatest(expires_at, now() + interval '5 days')",  # or the next claim would expire it
    kept="to_address <> ''"
    f" AND coalesce(finished_at >= now() - CAST('{RETENTION[RetentionClass.MAIL_WORDS].keeps}' AS interval), true)",
)

LEDGERS: Final = (JOBS, EMAILS)

WORKING_COLUMNS: Final = 6


def claim(
    session: Session, ledger: Ledger, queue: str, *, size: int, lease: float, worker: UUID, cursor: UUID = FIRST_LANE
) -> list[ClaimedRow]:
    """Claims up to `size` due rows; the caller must commit before it works on them.

    Parameters:
      lease: seconds until other processes may rescue the rows, unless the lease is renewed.
      cursor: the lane where the last claim ended, so that every lane has its turn.

    Returns: the rows; those of one lane are in their order.
    """
    asked_at = (
        time.monotonic()
    )  # read before the database starts the lease: a process that freezes in between then expects a shorter one
    if ledger.one_claimer_per_lane:
        session.execute(ledger.turn_sql, {"queue": queue})
    found: Sequence[Any] = []
    for start in {cursor: 0, FIRST_LANE: 0}:  # after the last lane it starts again with the first
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
    """Locks the rows for this transaction and returns those that are still ours. The work must begin with it."""
    held = set(session.execute(ledger.hold_sql, _pairs(rows)).scalars())
    return [row for row in rows if row.id in held]


def finish(session: Session, ledger: Ledger, outcomes: Sequence[WorkOutcome]) -> None:
    """Records the final outcomes of rows, as the last statement in the transaction of the work.

    Raises: LostClaimError when a row was rescued meanwhile: the transaction must not commit.
    """
    if not outcomes:
        return
    rows = [{"id": str(o.id), "claim": o.claim, "state": o.state, "result": o.result} for o in outcomes]
    done = session.execute(ledger.finish_sql, {"outcomes": json.dumps(rows)})
    if done.rowcount != len(outcomes):  # type: ignore[attr-defined]
        raise LostClaimError("a claimed row was taken back before it was finished")


def set_back(session: Session, ledger: Ledger, setbacks: Sequence[FailedAttempt]) -> None:
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
        },
    )


def give_back(session: Session, ledger: Ledger, rows: Sequence[ClaimedRow]) -> None:
    """Gives back rows that were not begun, for example because this process is stopping."""
    session.execute(ledger.give_back_sql, _pairs(rows))


def renew(session: Session, ledger: Ledger, rows: Sequence[ClaimedRow], *, lease: float) -> set[UUID]:
    """Renews leases to end `lease` seconds from now; returns the identifiers of the rows that are still ours."""
    return set(session.execute(ledger.renew_sql, _pairs(rows) | {"lease": lease}).scalars())


def rescue(session: Session, ledger: Ledger) -> list[tuple[UUID, str, int]]:
    """Rescues rows with an expired lease; returns (id, queue, times rescued). The third time a row ends as dead."""
    error = json.dumps({"class": "WorkerLost", "message": f"{MAX_RESCUES} workers were lost while they did this"})
    found = session.execute(ledger.rescue_sql, {"error": error})
    return [(row_id, queue, rescues) for row_id, queue, rescues in found]


def due_queues(session: Session) -> set[str]:
    """Finds the queues that have due jobs or mails."""
    return {queue for ledger in LEDGERS for queue in session.execute(ledger.due_sql).scalars()}


def revive(session: Session, row_id: UUID) -> str | None:
    """Gives a stuck job or mail all its attempts again; returns its queue, or None when it is not stuck.

    A mail that ended uncertain is sent once more: its losses still count, because each time it may have arrived.
    """
    for ledger in LEDGERS:
        queue: str | None = session.execute(ledger.revive_sql, {"id": row_id}).scalar()
        if queue:
            return queue
    return None


def wake_after_commit(session: Session, queue: str) -> None:
    """Notes in the session that this transaction owes work on a queue, which is woken after the commit."""
    session.info.setdefault("queues_to_wake", set()).add(queue)


def queues_to_wake(session: Session) -> set[str]:
    """Returns the queues to wake after the commit of this session."""
    owed: set[str] = session.info.get("queues_to_wake", set())
    return owed


def by_lane(rows: Sequence[ClaimedRow]) -> list[list[ClaimedRow]]:
    """Groups rows by lane; the rows of each lane stay in order."""
    lanes: dict[UUID, list[ClaimedRow]] = {}
    for row in rows:
        lanes.setdefault(row.lane, []).append(row)
    return list(lanes.values())


def halves(rows: Sequence[ClaimedRow]) -> Iterable[Sequence[ClaimedRow]]:
    """Returns the two halves of a batch that failed as a whole."""
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
"""A domain operation on a batch of locked rows, inside the caller's transaction."""
