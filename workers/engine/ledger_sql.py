"""The SQL of the ledger, a statement per verb, for any table with the working columns of ``models.base.Work``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sqlalchemy import TextClause, text

MAX_RESCUES: Final = 3
"""Leases a row may lose before it is taken for the one that kills its workers."""

LAST_RESCUE: Final = MAX_RESCUES - 1
"""Leases lost so far by a row that its next loss would bury."""


@dataclass(frozen=True)
class Ledger:
    """One table of owed work and the words its states use.

    Parameters:
      table: a table with the columns of ``models.base.Work``, and `id`, `state`, `result`, `error`.
      columns: what a claim returns beside the working columns, as SQL expressions by name.
      one_claimer_per_lane: whether rows of one lane are done one batch after the other, in the order they were
        recorded, also when some of them were postponed.
      stuck: the rows that ended without what they are for, and may be given all their attempts again: a condition.
      revived: what such a row needs besides, as assignments that begin with a comma.
      kept: what such a row must still hold to be done again, after retention or an erasure: a condition.
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
        """The column that says which row of a lane is first."""
        return "created_at" if self.one_claimer_per_lane else "due_at"

    @property
    def _free(self) -> str:
        """Whether a lane may be claimed from: nobody is at work in it, and its first row does not wait to come back.

        What was postponed keeps its place: rows recorded later must not overtake it. What failed lost its place.
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
        """Claims a batch: walks the lanes round robin from `cursor`, takes due rows, the first of each lane first.

        Lanes that are not free are passed over and do not count, so that a claim of one row finds the one free lane.
        A row that would be buried at its next loss is claimed alone, so that only the row that kills its worker dies of
        it; after a first loss rows still go together, or one kill would leave hundreds to be done one by one.
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

        Two claims at once cannot see each other's rows: both would take from one lane, and its order would be lost.
        """
        return text(f"SELECT pg_advisory_xact_lock(hashtextextended('claim {self.table} ' || CAST(:queue AS text), 0))")

    @cached_property
    def hold_sql(self) -> TextClause:
        """Locks the claimed rows that are still ours; the lock keeps the rescuer away until the transaction ends."""
        return text(f"""
            SELECT t.id FROM {self.table} t
            JOIN unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim) ON m.id = t.id AND m.claim = t.claim
            WHERE t.leased_until IS NOT NULL ORDER BY t.id FOR NO KEY UPDATE OF t""")

    @cached_property
    def finish_sql(self) -> TextClause:
        """Records final outcomes of exactly the claims given."""
        # One JSON text: escaping the quotes of many results inside an array costs more than recording them.
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
        """Makes claims due again later, or ends them, and keeps an attempt row for each."""
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
        """Puts claims that were not begun back among the waiting, as if they had not been taken."""
        return text(f"""
            UPDATE {self.table} t SET state = '{self.waiting}', leased_until = NULL
            FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)
            WHERE t.id = m.id AND t.claim = m.claim AND t.leased_until IS NOT NULL""")

    @cached_property
    def renew_sql(self) -> TextClause:
        """Moves the end of leases that are still ours."""
        return text(f"""
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)),
            {self._ours}
            UPDATE {self.table} t SET leased_until = now() + make_interval(secs => :lease)
            FROM ours JOIN m ON m.id = ours.id
            WHERE t.id = ours.id AND t.claim = m.claim AND t.leased_until IS NOT NULL RETURNING t.id""")

    @property
    def _ours(self) -> str:
        """Locks the claims in `m` that are still ours, in the order of the id: leases are renewed while outcomes of
        the same rows are recorded, and the two would deadlock.
        """
        return f"""ours AS MATERIALIZED (SELECT t.id FROM {self.table} t JOIN m ON m.id = t.id AND m.claim = t.claim
                WHERE t.leased_until IS NOT NULL ORDER BY t.id FOR NO KEY UPDATE OF t)"""

    @cached_property
    def rescue_sql(self) -> TextClause:
        """Returns rows whose lease ran out to the waiting, or buries those that did so too often.

        SKIP LOCKED: a row inside a live transaction is not lost, whatever its lease says.
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
        """The queues that have due rows."""
        # A loose index scan: jumps from queue to queue instead of reading every waiting row.
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
