"""The two tables of owed work, jobs and mails, with a statement per verb, written once for both.

The statements read only the columns of ``models.base.OwedWork``, and what a release must know to read a row. All times
are those of the database. ``workers/engine/ledger.py`` runs them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Generic, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import TextClause, text
from typing_extensions import TypeVar

from models.job import WAITING_IN_TIME
from models.retention import RETENTION, RetentionClass
from models.words import EmailKind, EmailState, JobState
from workers.engine.pauses import EVERY_LANE, PAUSED, PAUSED_LANES, PAUSED_QUEUES
from workers.engine.rollout import ANOTHER_RUNS
from workers.requests.registry import KINDS

UNREADABLE: Final = "unreadable"
"""The reason in the error of work that this release cannot read, because a newer one wrote it."""

LOCKED: Final = "locked"
"""The reason in the error of work that met a lock that another transaction holds, such as that of its contract."""

POSTPONED: Final = "postponed"
"""The outcome of an attempt that met a fault around the work and burns no attempt."""

MAX_RESCUES: Final = 3
"""Leases that a row may lose before it counts as one that kills its workers, and ends as dead."""

LAST_RESCUE: Final = MAX_RESCUES - 1
"""The number of lost leases after which the next loss ends a row as dead."""


BY_ID: Final = "t.id = ANY(ARRAY[m.id])"
"""The SQL condition that joins a table ``t`` to rows ``m`` by their id, with a look-up for each.

With ``t.id = m.id`` the planner may merge the two, and reads the whole index of a table that it takes for small.
"""


class Claimed(Protocol):
    """The columns that every claimed row has beside the working columns."""

    @property
    def kind(self) -> str:
        """The kind of the job or mail."""


class JobColumns(NamedTuple):
    """The columns of a claimed job; `request` is its JSON, `position` the number of its people who are done."""

    kind: str
    portal_id: UUID
    request: str
    position: int
    requested_by: str


class MailColumns(NamedTuple):
    """The columns of a claimed mail.

    Parameters:
      context: the plain facts it was owed with.
      expired: it is later than its kind allows.
      losses: the number of times it was lost inside DATA, without other failures such as greylisting.
    """

    kind: str
    to_address: str
    locale: str
    context: Mapping[str, Any] | None
    message_id: str
    date: datetime
    expires_at: datetime
    expired: bool
    account_id: UUID | None
    contract_id: UUID | None
    job_id: UUID | None
    losses: int


ColumnsT = TypeVar("ColumnsT", bound=Claimed, default=JobColumns)
"""The record of a claimed row, in what works on rows of either table: a job if nothing else is said."""

ColumnsT_co = TypeVar("ColumnsT_co", bound=Claimed, default=JobColumns, covariant=True)
"""The same in what only gives it: a row of mails may stand where the kind of work does not matter."""


@dataclass(frozen=True)
class Ledger(Generic[ColumnsT_co]):
    """One table of owed work, and the values of its states.

    Parameters:
      table: a table with the columns of ``models.base.OwedWork``, and `id`, `state`, `result`, `error`.
      columns: the record of what a claim returns beside the working columns.
      expressions: the SQL expression of each of its fields that is no column of the table.
      reads: the SQL expression for what a process must know to read a row: its kind, and the version of the kind.
      known: the values of `reads` that this release knows.
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
    columns: type[ColumnsT_co]
    expressions: Mapping[str, str]
    reads: str
    known: Sequence[str]
    one_claimer_per_lane: bool
    stuck: str
    revived: str = ""
    kept: str = "true"

    @property
    def order(self) -> str:
        """The column that gives the order of rows in a lane."""
        return "sequence_number" if self.one_claimer_per_lane else "due_at"

    @property
    def _due(self) -> str:
        """The SQL condition of a row that this process may claim, if its lane is free.

        In a ledger with an order, rows that this release does not know stay in sight: later rows wait behind them.
        """
        due = "queue = :queue AND due_at <= now() AND due_at IS NOT NULL AND leased_until IS NULL"
        return due if self.one_claimer_per_lane else f"{due} AND {self._is_known}"

    @property
    def _is_known(self) -> str:
        return f"({self.reads}) = ANY(CAST(:known AS text[]))"

    def _of_postponed(self, lane: str, column: str) -> str:
        """The SQL value of the highest value of a column of the postponed rows of a lane; NULL when there are none."""
        return f"""(SELECT max(p.{column}) FROM {self.table} p WHERE p.queue = :queue AND p.lane = {lane}
            AND p.postponements > 0 AND p.due_at IS NOT NULL AND p.leased_until IS NULL)"""

    def _free(self, lane: str) -> str:
        """The SQL condition of a lane that can be claimed: it is not paused, and its work is free to be done."""
        return f"({lane} <> ALL ({PAUSED_LANES}) AND {self._in_order(lane)})"

    def _in_order(self, lane: str) -> str:
        """The SQL condition of a lane that no process works in, and of which the first row can be done.

        A postponed row keeps its place, so that later rows do not overtake it, and so does a row of a kind that only
        another release knows which runs beside this one. A row that failed has lost its place, and so has one that no
        release can read that runs. Earlier releases do not count postponements.
        """
        if not self.one_claimer_per_lane:
            return "true"
        # NOT EXISTS would let the planner read all running rows once, and all that ran since the last VACUUM.
        return f"""(
              SELECT true FROM {self.table} r
              WHERE r.queue = :queue AND r.lane = {lane} AND r.leased_until IS NOT NULL LIMIT 1) IS NULL
            AND coalesce({self._of_postponed(lane, "due_at")} <= now(), true)
            AND coalesce((
              SELECT h.due_at <= now() AND {self._is_known} FROM {self.table} h
              WHERE h.queue = :queue AND h.lane = {lane} AND h.due_at IS NOT NULL AND h.leased_until IS NULL
                AND (h.due_at <= now() OR (h.claim > 0 AND h.failures = 0 AND h.postponed_at IS NULL))
                AND ({self._is_known} OR {ANOTHER_RUNS})
              ORDER BY h.{self.order}, h.id LIMIT 1), false)"""

    @property
    def _most_of_lane(self) -> str:
        """The SQL value of the most rows to take from a lane: one where work was postponed twice or more in a row."""
        if not self.one_claimer_per_lane:
            return ":size"
        return f"CASE WHEN {self._of_postponed('free.lane', 'postponements')} > 1 THEN 1 ELSE :size END"

    @cached_property
    def claim_sql(self) -> TextClause:
        """Claims a batch: it visits the lanes in turn from `cursor`, and takes due rows, the first of each lane first.

        Lanes that are not free are skipped and do not count, so that a claim of one row finds the one free lane; of a
        paused queue nothing is claimed. Rows behind one that this release cannot read are left. A row that would end as
        dead with its next lost lease is claimed alone, so that only the row that kills its worker dies. After a first
        loss rows are still claimed together, or one kill would leave hundreds to do one by one.
        """
        fields: tuple[str, ...] = self.columns._fields  # type: ignore[attr-defined]
        columns = "".join(f", {self.expressions.get(field, field)} AS {field}" for field in fields)
        return text(f"""
            WITH RECURSIVE {PAUSED},
            walk (lane, passed, free) AS (
              (SELECT f.lane, 0, {self._free("f.lane")} FROM (
                SELECT lane FROM {self.table} WHERE {self._due} AND lane > :cursor
                  AND '{EVERY_LANE}' <> ALL ({PAUSED_LANES}) ORDER BY lane LIMIT 1) f)
              UNION ALL
              SELECT n.lane, passed + CAST(walk.free AS int), {self._free("n.lane")}
              FROM walk CROSS JOIN LATERAL (
                SELECT w.lane FROM {self.table} w WHERE {self._due} AND w.lane > walk.lane ORDER BY w.lane LIMIT 1) n
              WHERE passed + CAST(walk.free AS int) < :size),
            free AS MATERIALIZED (SELECT lane FROM walk WHERE free ORDER BY lane),
            found AS MATERIALIZED (
              SELECT p.id, p.rescues, p.place, p.lane, p.is_known FROM free CROSS JOIN LATERAL (
                SELECT id, rescues, {self.order} AS place, lane, {self._is_known} AS is_known FROM {self.table}
                WHERE {self._due} AND lane = free.lane AND ({self._is_known} OR {ANOTHER_RUNS})
                ORDER BY {self.order}, id LIMIT {self._most_of_lane} FOR NO KEY UPDATE SKIP LOCKED) p
              LIMIT :size),
            picked AS MATERIALIZED (
              SELECT id, rescues, place, bool_and(is_known) OVER (PARTITION BY lane ORDER BY place, id) AS readable
              FROM found),
            chosen AS MATERIALIZED (
              SELECT id FROM picked WHERE readable AND NOT EXISTS (
                SELECT 1 FROM picked WHERE readable AND rescues >= {LAST_RESCUE})
              UNION ALL
              (SELECT id FROM picked WHERE readable AND rescues >= {LAST_RESCUE} ORDER BY place, id LIMIT 1))
            UPDATE {self.table} SET state = '{self.running}', claim = claim + 1, worker = :worker,
              started_at = coalesce(started_at, now()), leased_until = now() + make_interval(secs => :lease)
            WHERE id IN (SELECT id FROM chosen)
            RETURNING id, claim, failures, rescues, lane, postponements,
              coalesce(extract(epoch FROM now() - postponed_at), 0)::float8 AS postponed_for,
              {self.order} AS place{columns}""")

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
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)),
            {self._ours}
            SELECT id FROM ours""")

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
            FROM ours m WHERE {BY_ID}""")

    @cached_property
    def set_back_sql(self) -> TextClause:
        """Makes claimed rows due again later, or ends them as dead, and adds a row for each failed attempt.

        A postponement for the same reason as the one before adds to its row: a job that waits for hours has one.
        """
        return text(f"""
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[]), CAST(:states AS text[]),
                CAST(:seconds AS float8[]), CAST(:outcomes AS text[]), CAST(:errors AS text[]), CAST(:counts AS int[]),
                CAST(:keeps AS bool[]), CAST(:troubles AS text[]))
                m (id, claim, state, seconds, outcome, error, counts, keeps, trouble)),
            {self._ours},
            moved AS (
              UPDATE {self.table} t SET state = m.state, failures = t.failures + m.counts, leased_until = NULL,
                due_at = now() + make_interval(secs => m.seconds), error = coalesce(CAST(m.error AS json), t.error),
                trouble = coalesce(m.trouble, t.trouble),
                finished_at = CASE WHEN m.seconds IS NULL THEN now() END,
                postponements = CASE WHEN m.outcome = '{POSTPONED}' AND m.keeps THEN t.postponements + 1 ELSE 0 END,
                postponed_at = CASE WHEN m.outcome = '{POSTPONED}' THEN coalesce(t.postponed_at, now()) END
              FROM ours m WHERE {BY_ID}
              RETURNING t.id, t.claim, t.worker, m.outcome, CAST(m.error AS json) AS error),
            again AS (
              UPDATE job_attempt a SET times = a.times + 1, last_at = now(), claim = moved.claim,
                error = moved.error, worker = moved.worker
              FROM moved
              WHERE a.id = (SELECT max(l.id) FROM job_attempt l WHERE l.row_id = moved.id)
                AND a.outcome = '{POSTPONED}' AND moved.outcome = '{POSTPONED}'
                AND a.error ->> 'class' IS NOT DISTINCT FROM moved.error ->> 'class'
                AND a.error ->> 'reason' IS NOT DISTINCT FROM moved.error ->> 'reason'
              RETURNING a.row_id)
            INSERT INTO job_attempt (ledger, row_id, claim, outcome, error, worker)
            SELECT '{self.table}', id, claim, outcome, error, worker FROM moved
            WHERE id NOT IN (SELECT row_id FROM again)""")

    @cached_property
    def give_back_sql(self) -> TextClause:
        """Gives back claimed rows that were not begun, as if they had never been claimed."""
        return text(f"""
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)),
            {self._ours}
            UPDATE {self.table} t SET state = '{self.waiting}', leased_until = NULL FROM ours m WHERE {BY_ID}""")

    @cached_property
    def renew_sql(self) -> TextClause:
        """Renews the leases that are still ours."""
        return text(f"""
            WITH m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)),
            {self._ours}
            UPDATE {self.table} t SET leased_until = now() + make_interval(secs => :lease)
            FROM ours m WHERE {BY_ID} RETURNING t.id""")

    @property
    def _ours(self) -> str:
        """Locks the claims in `m` that are still ours, in the order of their id, and yields their rows of `m`.

        This is the only check of the fence (the claim and its lease), and it is enough. A row that another transaction
        has changed and not committed is waited for, and PostgreSQL then checks its newest version: a row that was
        rescued, or claimed again, is not ours. A row that passed is locked, so that no other transaction changes it
        before this one ends; the update that follows therefore finds it by its id alone.

        Each row is looked up by its id. The lease is read in a form that no partial index has: to the planner the index
        of running work is almost empty while hundreds of rows run, and it would read that index once for each row.

        Leases are renewed while outcomes of the same rows are recorded, and without an order the two would deadlock.
        """
        return f"""ours AS MATERIALIZED (
              SELECT m.* FROM (SELECT * FROM m ORDER BY id) m CROSS JOIN LATERAL (
                SELECT FROM {self.table} t WHERE t.id = m.id AND t.claim = m.claim AND num_nulls(t.leased_until) = 0
                FOR NO KEY UPDATE) held)"""

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
                error = CASE WHEN rescues + 1 >= {MAX_RESCUES} THEN CAST(:error AS json) ELSE error END,
                trouble = CASE WHEN rescues + 1 >= {MAX_RESCUES} THEN :trouble ELSE trouble END
              FROM lost WHERE t.id = lost.id RETURNING t.id, t.claim, t.worker, t.queue, t.rescues),
            kept AS (
              INSERT INTO job_attempt (ledger, row_id, claim, outcome, worker)
              SELECT '{self.table}', id, claim, CASE WHEN rescues >= {MAX_RESCUES} THEN 'dead' ELSE 'rescued' END,
                worker
              FROM moved)
            SELECT id, queue, rescues FROM moved""")

    @cached_property
    def due_sql(self) -> TextClause:
        """Finds the queues that have due rows and are not paused.

        A queue of which only lanes are paused is found as if none were: which lanes have due rows only a claim tells.
        """
        # A loose index scan jumps from queue to queue instead of reading every waiting row, and LIMIT 1 looks for one
        # due row of each. EXISTS would let the planner read all due rows once, which it does on old statistics. The
        # order makes it begin with the row that is due first: in the order of lanes it would read a queue whole in
        # which everything is due later.
        waiting = WAITING_IN_TIME
        return text(f"""
            WITH RECURSIVE q (queue) AS (
              (SELECT queue FROM {self.table} WHERE {waiting} ORDER BY queue LIMIT 1)
              UNION ALL
              SELECT (
                SELECT t.queue FROM {self.table} t WHERE {waiting} AND t.queue > q.queue
                ORDER BY t.queue LIMIT 1)
              FROM q WHERE q.queue IS NOT NULL)
            SELECT q.queue FROM q CROSS JOIN LATERAL (
              SELECT FROM {self.table} t WHERE t.queue = q.queue AND {waiting} AND t.due_at <= now()
              ORDER BY t.due_at LIMIT 1) due
            WHERE q.queue IS NOT NULL AND q.queue <> ALL ({PAUSED_QUEUES})""")

    @cached_property
    def resume_sql(self) -> TextClause:
        """Makes postponed rows of a queue due now, those first that would be due first.

        It reads the rows that are due later, by the index that is in the order of time, and none that is due. It waits
        for no lock, so the order in which it locks rows cannot matter.
        """
        return text(f"""
            WITH found AS MATERIALIZED (
              SELECT id, due_at FROM {self.table} WHERE queue = :queue AND {WAITING_IN_TIME}
                AND due_at > now() AND due_at >= coalesce(CAST(:after AS timestamptz), now())
                AND postponed_at IS NOT NULL
              ORDER BY due_at LIMIT :most FOR NO KEY UPDATE SKIP LOCKED)
            UPDATE {self.table} t SET due_at = now() FROM found m WHERE {BY_ID} RETURNING m.due_at""")

    @cached_property
    def bury_sql(self) -> TextClause:
        """Ends rows as dead that have been due for too long and that this release does not know, with this reason."""
        return text(f"""
            WITH unread AS MATERIALIZED (
              SELECT id FROM {self.table} WHERE {WAITING_IN_TIME}
                AND due_at < now() - make_interval(secs => :seconds) AND NOT {self._is_known}
              ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED),
            moved AS (
              UPDATE {self.table} t SET state = '{self.dead}', due_at = NULL, finished_at = now(),
                error = CAST(:error AS json), trouble = :trouble
              FROM unread WHERE t.id = unread.id RETURNING t.id, t.claim, t.kind)
            INSERT INTO job_attempt (ledger, row_id, claim, outcome, error)
            SELECT '{self.table}', id, claim, 'dead', CAST(:error AS json) FROM moved RETURNING row_id""")

    @property
    def revival(self) -> str:
        """The SQL assignments that give a row all its attempts again."""
        return f"""state = '{self.waiting}', due_at = now(), failures = 0, rescues = 0, postponements = 0,
              postponed_at = NULL, finished_at = NULL, trouble = NULL, dismissed_at = NULL{self.revived}"""

    @cached_property
    def revive_sql(self) -> TextClause:
        """Gives a stuck row all its attempts again."""
        return text(f"""
            UPDATE {self.table} SET {self.revival}
            WHERE id = :id AND ({self.stuck}) AND ({self.kept}) RETURNING queue""")


JOBS: Final = Ledger[JobColumns](
    table="job",
    waiting=JobState.QUEUED,
    running=JobState.RUNNING,
    dead=JobState.DEAD,
    columns=JobColumns,
    expressions={"request": "CAST(request AS text)"},
    reads="kind || ' ' || version",
    known=[f"{kind} {spoken}" for kind, request in KINDS.items() for spoken in range(1, request.version + 1)],
    one_claimer_per_lane=True,
    stuck=f"state = '{JobState.DEAD}'",
    kept="request IS NOT NULL",
)

EMAILS: Final = Ledger[MailColumns](
    table="email",
    waiting=EmailState.OWED,
    running=EmailState.SENDING,
    dead=EmailState.FAILED,
    columns=MailColumns,
    expressions={
        "expired": "expires_at <= now()",
        "losses": "(SELECT count(*) FROM job_attempt a WHERE a.row_id = email.id AND a.outcome = 'uncertain')",
    },
    reads="kind",
    known=[*EmailKind],
    one_claimer_per_lane=False,
    stuck=f"state IN ('{EmailState.FAILED}', '{EmailState.EXPIRED}')"
    f" OR (state = '{EmailState.UNCERTAIN}' AND due_at IS NULL)",
    revived=", expires_at = greatest(expires_at, now() + interval '5 days')",  # or the next claim would expire it
    kept="to_address <> ''"
    f" AND coalesce(finished_at >= now() - CAST('{RETENTION[RetentionClass.MAIL_WORDS].keeps}' AS interval), true)",
)

LEDGERS: Final[tuple[Ledger[Claimed], ...]] = (JOBS, EMAILS)
