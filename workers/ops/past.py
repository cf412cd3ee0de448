"""Reads the past: curves of what ended, and what waited and ran at a moment.

Curves come from the counts that the clock has folded, by minute for two days and by hour for 400 days. What waited and
ran at a moment is found from the rows themselves, which know when they were recorded, begun and ended.
"""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.job import ENDED_IN_TIME
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS, LEDGERS
from workers.ops.capped import read_by_index
from workers.sql import fetch

MOST_ROWS: Final = 50_000
"""The rows of each ledger that are looked at for one moment; where there are more, it is said."""

SHOWN: Final = 20

GAVE_UP: Final = ", ".join(f"'{state}'" for state in ("dead", "failed", "expired", "uncertain"))


class Span(NamedTuple):
    """A time that a curve covers.

    Parameters:
      table: the counts it is drawn from; the column of their moments has the same name.
      points: how many.
      each: the time of one.
    """

    table: str
    points: int
    each: timedelta


SPANS: Final = {
    "24h": Span("minute", 96, timedelta(minutes=15)),
    "7d": Span("hour", 168, timedelta(hours=1)),
    "90d": Span("hour", 90, timedelta(days=1)),
}

READ_CURVE: Final = {
    name: text(f"""
        SELECT c.ledger, CAST(floor(extract(epoch FROM now() - c.{span.table}) / :each) AS int) AS ago,
          CAST(sum(c.rows) AS int) AS ended,
          CAST(coalesce(sum(c.rows) FILTER (WHERE c.state IN ({GAVE_UP})), 0) AS int) AS gave_up
        FROM ledger_{span.table} c
        WHERE c.ledger IN ('{JOBS.table}', '{EMAILS.table}') AND c.{span.table} <= now()
          AND c.{span.table} > now() - make_interval(secs => :each * {span.points})
        GROUP BY 1, 2""")
    for name, span in SPANS.items()
}
"""The statement that reads the points of a curve, the latest first."""

# Reads the releases that were first seen in a span.
READ_RELEASES: Final = text("""
    SELECT rr.release, rr.first_seen_at FROM release_run rr
    WHERE rr.first_seen_at > now() - make_interval(secs => :seconds) AND rr.release <> ''
    ORDER BY rr.first_seen_at DESC LIMIT 20""")

_AT: Final = "CAST(:at AS timestamptz)"

_NOT_ENDED: Final = {
    ledger.table: f"""
        (SELECT t.id, t.queue, t.kind, t.state, t.created_at, t.started_at, t.finished_at FROM {ledger.table} t
          WHERE {ENDED_IN_TIME} AND t.finished_at > {_AT} ORDER BY t.finished_at LIMIT CAST(:rows AS bigint) + 1)
        UNION ALL
        (SELECT t.id, t.queue, t.kind, t.state, t.created_at, t.started_at, t.finished_at FROM {ledger.table} t
          WHERE t.due_at IS NOT NULL AND t.leased_until IS NULL AND t.claim >= 0
          ORDER BY t.queue, t.due_at LIMIT CAST(:rows AS bigint) + 1)
        UNION ALL
        (SELECT t.id, t.queue, t.kind, t.state, t.created_at, t.started_at, t.finished_at FROM {ledger.table} t
          WHERE t.leased_until IS NOT NULL LIMIT CAST(:rows AS bigint) + 1)"""
    for ledger in LEDGERS
}
"""The SQL of the rows that had not ended at a moment, and others that were recorded later."""

COUNT_THEN: Final = {
    ledger.table: text(f"""
        WITH n AS MATERIALIZED ({_NOT_ENDED[ledger.table]})
        SELECT '{ledger.table}' AS ledger, n.queue,
          CAST(count(*) FILTER (WHERE n.started_at IS NULL OR n.started_at > {_AT}) AS int) AS waiting,
          CAST(count(*) FILTER (WHERE n.started_at <= {_AT}) AS int) AS begun,
          min(n.created_at) FILTER (WHERE n.started_at IS NULL OR n.started_at > {_AT}) AS oldest,
          (SELECT count(*) > :rows FROM n) AS at_least
        FROM n WHERE n.created_at <= {_AT} GROUP BY n.queue ORDER BY n.queue""")
    for ledger in LEDGERS
}
"""The statement that counts, by queue, what had not begun at a moment, and what had begun and not ended."""

LIST_BEGUN: Final = {
    ledger.table: text(f"""
        WITH n AS MATERIALIZED ({_NOT_ENDED[ledger.table]})
        SELECT '{ledger.table}' AS ledger, n.id, n.queue, n.kind, n.state, n.started_at, n.finished_at FROM n
        WHERE n.created_at <= {_AT} AND n.started_at <= {_AT} ORDER BY n.started_at LIMIT {SHOWN}""")
    for ledger in LEDGERS
}
"""The statement that lists what had begun at a moment and not ended, what began first."""

COUNT_DEAD: Final = {
    ledger.table: text(f"""
        SELECT CAST(count(*) AS int) AS dead FROM (
          SELECT 1 FROM {ledger.table} t WHERE {ENDED_IN_TIME} AND t.state IN ({GAVE_UP})
            AND t.finished_at <= {_AT} AND t.finished_at > {_AT} - interval '1 day'
          ORDER BY t.finished_at DESC LIMIT CAST(:rows AS bigint) + 1) counted""")
    for ledger in LEDGERS
}
"""The statement that counts what gave up in the day before a moment and was not retried since."""


class _Point(NamedTuple):
    ledger: str
    ago: int
    ended: int
    gave_up: int


class _Dead(NamedTuple):
    dead: int


class SeenRelease(NamedTuple):
    """A release, and when its first process was seen."""

    release: str
    first_seen_at: datetime


class ThenCounts(NamedTuple):
    """The numbers of jobs or mails of a queue at a moment.

    Parameters:
      begun: it had been begun and had not ended; between two attempts it is counted so too.
      oldest: when the oldest that had not begun was recorded.
      at_least: more rows were there than are looked at.
    """

    ledger: str
    queue: str
    waiting: int
    begun: int
    oldest: datetime | None
    at_least: bool


class BegunThen(NamedTuple):
    """A job or mail that had begun at a moment and had not ended."""

    ledger: str
    id: UUID
    queue: str
    kind: str
    state: str
    started_at: datetime
    finished_at: datetime | None


class LedgerCurve(NamedTuple):
    """The jobs or mails that ended in each part of a span, the oldest first, and those of them that had given up."""

    ended: list[int]
    gave_up: list[int]


def read_curves(session: Session, name: str) -> dict[str, LedgerCurve]:
    """Reads the curves of jobs and mails over a span of ``SPANS``."""
    span = SPANS[name]
    curves = {ledger.table: LedgerCurve([0] * span.points, [0] * span.points) for ledger in LEDGERS}
    for point in fetch(session, _Point, READ_CURVE[name], {"each": span.each.total_seconds()}):
        if 0 <= point.ago < span.points:
            curve = curves[point.ledger]
            curve.ended[-1 - point.ago], curve.gave_up[-1 - point.ago] = point.ended, point.gave_up
    return curves


def read_releases(session: Session, name: str) -> list[SeenRelease]:
    """Reads the releases that were first seen in a span, the latest first."""
    span = SPANS[name]
    return fetch(session, SeenRelease, READ_RELEASES, {"seconds": span.points * span.each.total_seconds()})


def read_then(session: Session, at: datetime) -> dict[str, Any]:
    """Reads what there was at a moment: `counts` by queue, `begun` (the first ``SHOWN``), and `dead` by ledger.

    It is exact for what has not been retried since: a row keeps its first begin and its last end.
    """
    read_by_index(session)
    asked = {"at": at, "rows": MOST_ROWS}
    return {
        "counts": [one for ledger in LEDGERS for one in fetch(session, ThenCounts, COUNT_THEN[ledger.table], asked)],
        "begun": [one for ledger in LEDGERS for one in fetch(session, BegunThen, LIST_BEGUN[ledger.table], asked)],
        "dead": {ledger.table: fetch(session, _Dead, COUNT_DEAD[ledger.table], asked)[0].dead for ledger in LEDGERS},
    }


__all__ = ["MOST_ROWS", "SPANS", "read_curves", "read_releases", "read_then"]
