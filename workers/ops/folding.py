"""Folds the work that ended into counts by minute, by hour and in total, and samples how much waits.

`now()` is the start of a transaction, so a row may be seen minutes after its `finished_at`. Each fold therefore counts
the last minutes anew, and writes the counts over those before: it may run twice, or be left out. Only what a count has
grown by is added to the totals, which never fall, not even when a dead job is retried.
"""

from itertools import pairwise
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text

from models.counts import BANDS, BOUNDS
from models.job import ENDED_IN_TIME
from models.retention import RETENTION, RetentionClass
from workers.database import Session, transaction
from workers.engine.ledger import EMAILS, JOBS, LEDGERS
from workers.ops.capped import CAPS, StatusCaps, read_by_index
from workers.ops.queue_counts import read_waiting
from workers.sql import change, fetch_value

FOLDED_MINUTES: Final = 15
"""Minutes that the clock counts anew each time: no transaction of ours is open for longer."""

LATEST_MINUTES: Final = 1
"""Minutes that a reader counts anew, so that what it shows is as new as the rest of the status."""

# Lets one fold run at a time: two would both add the same growth to the totals.
TAKE_FOLD: Final = text("SELECT pg_try_advisory_xact_lock(hashtextextended('matricule fold', 0))")

# Tells whether this clock leads.
FIND_LEAD: Final = text("SELECT EXISTS (SELECT FROM clock WHERE holder = :me AND until > now())")

_MINUTES_KEPT: Final = RETENTION[RetentionClass.LEDGER_MINUTE].keeps

_SINCE: Final = f"""date_trunc('minute', greatest(now() - interval '{_MINUTES_KEPT}', least(
    now() - make_interval(mins => :minutes),
    coalesce((SELECT max(l.minute) FROM ledger_minute l WHERE l.ledger = :ledger AND l.minute <= now()),
      now() - interval '{_MINUTES_KEPT}'))))"""
"""The SQL value of the minute from which to count: further back than usual when no clock has counted meanwhile."""

_OF_REQUEST: Final = """CASE WHEN substr(CAST(t.job_id AS text), 15, 1) = '7' THEN to_timestamp(
    CAST(CAST('x' || substr(replace(CAST(t.job_id AS text), '-', ''), 1, 12) AS bit(48)) AS bigint) / 1000.0)
    ELSE t.created_at END"""
"""The SQL value of the moment of the request that owed a mail: identifiers of jobs carry it (UUID version 7)."""

REQUESTED: Final = {JOBS.table: "t.created_at", EMAILS.table: _OF_REQUEST}

_KEY: Final = "queue, kind, state"
_MEASURES: Final = ("rows", "wait_ms", "run_ms", "took_ms")
_BANDED: Final = ("waited", "took")


def _banded(seconds: str) -> str:
    """Returns the SQL value of the number of rows in each band of ``BOUNDS``."""
    edges = [f"{seconds} <= {bound}" for bound in BOUNDS]
    bands = [
        edges[0],
        *(f"NOT {one} AND {two}" for one, two in pairwise(edges)),
        f"NOT {edges[-1]}",
    ]
    return f"ARRAY[{', '.join(f'count(*) FILTER (WHERE {band})' for band in bands)}]"


def _summed(column: str) -> str:
    """Returns the SQL value of the sum of a column of bands."""
    return f"ARRAY[{', '.join(f'CAST(sum({column}[{band}]) AS bigint)' for band in range(1, BANDS + 1))}]"


def _grown(column: str) -> str:
    """Returns the SQL value of what the bands of a column have grown by since the fold before."""
    bands = (f"g.{column}[{band}] - coalesce(b.{column}[{band}], 0)" for band in range(1, BANDS + 1))
    return f"ARRAY[{', '.join(f'CAST(sum(greatest({band}, 0)) AS bigint)' for band in bands)}]"


def _fold(table: str) -> TextClause:
    """Builds the statement that counts the minutes of a ledger anew, and adds to the totals what they grew by."""
    columns = ", ".join((*_MEASURES, *_BANDED))
    written = ", ".join(f"{name} = excluded.{name}" for name in (*_MEASURES, *_BANDED))
    added = ", ".join(f"t.took[{band}] + excluded.took[{band}]" for band in range(1, BANDS + 1))
    return text(f"""
        WITH since AS MATERIALIZED (SELECT {_SINCE} AS minute),
        ended AS (
          SELECT date_trunc('minute', t.finished_at) AS minute, t.queue, t.kind, t.state,
            greatest(extract(epoch FROM coalesce(t.started_at, t.finished_at) - t.created_at), 0)::float8 AS waited,
            greatest(extract(epoch FROM t.finished_at - coalesce(t.started_at, t.finished_at)), 0)::float8 AS ran,
            greatest(extract(epoch FROM t.finished_at - {REQUESTED[table]}), 0)::float8 AS took
          FROM {table} t WHERE {ENDED_IN_TIME} AND t.finished_at >= (SELECT minute FROM since)),
        folded AS (
          SELECT minute, {_KEY}, count(*) AS rows, CAST(1000 * sum(waited) AS bigint) AS wait_ms,
            CAST(1000 * sum(ran) AS bigint) AS run_ms, CAST(1000 * sum(took) AS bigint) AS took_ms,
            {_banded("waited")} AS waited, {_banded("took")} AS took
          FROM ended GROUP BY minute, {_KEY}),
        before AS MATERIALIZED (
          SELECT minute, {_KEY}, rows, took_ms, took FROM ledger_minute
          WHERE ledger = :ledger AND minute >= (SELECT minute FROM since)),
        kept AS (
          INSERT INTO ledger_minute AS l (ledger, minute, {_KEY}, {columns})
          SELECT :ledger, minute, {_KEY}, {columns} FROM folded
          ON CONFLICT (ledger, minute, {_KEY}) DO UPDATE SET {written} WHERE excluded.rows > l.rows
          RETURNING minute, {_KEY}, rows, took_ms, took)
        INSERT INTO ledger_total AS t (ledger, {_KEY}, rows, took_ms, took)
        SELECT :ledger, {_KEY}, CAST(sum(g.rows - coalesce(b.rows, 0)) AS bigint),
          CAST(sum(greatest(g.took_ms - coalesce(b.took_ms, 0), 0)) AS bigint), {_grown("took")}
        FROM kept g LEFT JOIN before b USING (minute, {_KEY}) GROUP BY {_KEY}
        ON CONFLICT (ledger, {_KEY}) DO UPDATE
          SET rows = t.rows + excluded.rows, took_ms = t.took_ms + excluded.took_ms, took = ARRAY[{added}]""")


FOLD_MINUTES: Final = {ledger.table: _fold(ledger.table) for ledger in LEDGERS}
"""The statement that folds the work of a ledger that has ended."""

# Folds the minutes of the last hours into hours.
FOLD_HOURS: Final = text(f"""
    INSERT INTO ledger_hour AS l (ledger, hour, {_KEY}, {", ".join((*_MEASURES, *_BANDED))})
    SELECT ledger, date_trunc('hour', minute), {_KEY},
      {", ".join(f"CAST(sum({name}) AS bigint)" for name in _MEASURES)},
      {", ".join(_summed(name) for name in _BANDED)}
    FROM ledger_minute WHERE ledger = :ledger AND minute >= date_trunc('hour', coalesce(
      (SELECT max(h.hour) FROM ledger_hour h WHERE h.ledger = :ledger AND h.hour <= now()) - interval '1 hour',
      now() - interval '{_MINUTES_KEPT}'))
    GROUP BY 1, 2, {_KEY}
    ON CONFLICT (ledger, hour, {_KEY}) DO UPDATE
      SET {", ".join(f"{name} = excluded.{name}" for name in (*_MEASURES, *_BANDED))} WHERE excluded.rows > l.rows""")

# Keeps what is due on a queue at this moment; later in the same minute it is written over.
KEEP_DEPTH: Final = text("""
    INSERT INTO ledger_depth (ledger, minute, queue, waiting, oldest_seconds)
    SELECT :ledger, date_trunc('minute', now()), d.queue, d.waiting, d.oldest
    FROM unnest(CAST(:queues AS text[]), CAST(:waiting AS int[]), CAST(:oldest AS int[])) d (queue, waiting, oldest)
    WHERE d.waiting > 0
    ON CONFLICT (ledger, minute, queue) DO UPDATE
      SET waiting = excluded.waiting, oldest_seconds = excluded.oldest_seconds""")


def _first_id(moment: str) -> str:
    """Returns the SQL value of the smallest identifier of a moment, as ``models.retention.first_id``."""
    written = f"lpad(to_hex(CAST(1000 * extract(epoch FROM {moment}) AS bigint)), 12, '0')"
    return f"CAST({written} || repeat('0', 20) AS uuid)"


COUNT_ARRIVED: Final = {
    ledger.table: text(f"""
        INSERT INTO ledger_depth (ledger, minute, queue, arrived)
        SELECT :ledger, m.minute, t.queue, count(*)
        FROM (SELECT date_trunc('minute', now()) - interval '1 minute' * n AS minute FROM generate_series(1, 2) n) m
        JOIN {ledger.table} t ON t.id >= {_first_id("m.minute")}
          AND t.id < {_first_id("m.minute + interval '1 minute'")}
        GROUP BY m.minute, t.queue
        ON CONFLICT (ledger, minute, queue) DO UPDATE SET arrived = excluded.arrived""")
    for ledger in LEDGERS
}
"""The statement that counts what was recorded in each of the last two whole minutes: identifiers grow with time."""

# Keeps when the releases of the processes that run were first and last seen.
KEEP_RELEASES: Final = text("""
    INSERT INTO release_run AS r (release, first_seen_at, last_seen_at)
    SELECT pr.release, min(pr.started_at), max(pr.seen_at) FROM process pr WHERE pr.release <> '' GROUP BY pr.release
    ON CONFLICT (release) DO UPDATE SET last_seen_at = greatest(r.last_seen_at, excluded.last_seen_at)""")


class _Depths(NamedTuple):
    queues: list[str]
    waiting: list[int]
    oldest: list[int]


def fold_ended(session: Session, *, minutes: int) -> bool:
    """Counts the work that ended in the last minutes anew; returns False while another process does so.

    What ended before the first fold was made is counted for as long as minutes are kept.
    """
    read_by_index(session)
    if not fetch_value(session, bool, TAKE_FOLD):
        return False
    for ledger in LEDGERS:
        change(session, FOLD_MINUTES[ledger.table], {"ledger": ledger.table, "minutes": minutes})
    return True


def sample_depth(session: Session, caps: StatusCaps = CAPS) -> None:
    """Keeps how much is due on each queue now, and what arrived in the minutes before."""
    read_by_index(session)
    for ledger in LEDGERS:
        depths = _Depths([], [], [])
        for one in read_waiting(session, ledger, caps):
            depths.queues.append(one.queue)
            depths.waiting.append(min(one.waiting, caps.rows))
            depths.oldest.append(int(one.oldest_due_seconds or 0))
        change(session, KEEP_DEPTH, {"ledger": ledger.table} | depths._asdict())
        change(session, COUNT_ARRIVED[ledger.table], {"ledger": ledger.table})


def count_as_leader(me: UUID) -> None:
    """Folds what ended, samples what waits and notes the releases that run, if this clock leads."""
    with transaction() as session:
        if not fetch_value(session, bool, FIND_LEAD, {"me": me}):
            return
        if fold_ended(session, minutes=FOLDED_MINUTES):
            for ledger in LEDGERS:
                change(session, FOLD_HOURS, {"ledger": ledger.table})
    with transaction() as session:
        sample_depth(session)
        change(session, KEEP_RELEASES)


__all__ = ["count_as_leader", "fold_ended", "sample_depth"]
