"""Groups the jobs and mails that gave up by their trouble: two thousand failures are mostly a few faults."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text

from models.job import ERROR_CLASS, ERROR_REASON
from models.words import EmailState
from workers.database import Session
from workers.engine.ledger import LEDGERS
from workers.ops.capped import CAPS, read_by_index
from workers.ops.stuck import STUCK
from workers.sql import fetch, fetch_one, fetch_value

_KINDS: Final = """array_agg(DISTINCT s.queue) AS queues, array_agg(DISTINCT s.kind) AS kinds,
      CAST(NULL AS text) AS new_in"""

_NARROWED: Final = """(CAST(:queue AS text) = '' OR t.queue = :queue) AND (CAST(:kind AS text) = '' OR t.kind = :kind)
        AND (CAST(:since AS timestamptz) IS NULL OR t.finished_at >= :since)"""

GAVE_UP: Final = {table: f"{stuck} AND t.state <> '{EmailState.SUPPRESSED}'" for table, stuck in STUCK.items()}
"""The SQL condition of rows that gave up; a mail to a suppressed address did not."""

GROUP_TROUBLES: Final = {
    table: text(f"""
        SELECT '{table}' AS ledger, s.trouble, CAST(sum(s.rows) AS bigint) AS rows, min(s.first_at) AS first_at,
          max(s.last_at) AS last_at, {_KINDS}
        FROM (
          SELECT t.trouble, t.queue, t.kind, count(*) AS rows, min(t.finished_at) AS first_at,
            max(t.finished_at) AS last_at
          FROM {table} t WHERE {gave_up} AND t.trouble IS NOT NULL AND {_NARROWED}
          GROUP BY t.trouble, t.queue, t.kind) s
        GROUP BY s.trouble""")
    for table, gave_up in GAVE_UP.items()
}
"""The statement that groups the rows of a ledger that gave up: first by what an index holds in this order, for sorting
hundreds of thousands of queues and kinds to tell them apart would take ten times as long."""

GROUP_OLDER: Final = {
    table: text(f"""
        SELECT '{table}' AS ledger, s.error_class || '|' || s.error_reason || '|' AS trouble, count(*) AS rows,
          min(s.finished_at) AS first_at, max(s.finished_at) AS last_at, {_KINDS}
        FROM (
          SELECT {ERROR_CLASS} AS error_class, {ERROR_REASON} AS error_reason, t.queue, t.kind, t.finished_at
          FROM {table} t WHERE {gave_up} AND t.trouble IS NULL AND {_NARROWED} LIMIT :rows) s
        GROUP BY s.error_class, s.error_reason""")
    for table, gave_up in GAVE_UP.items()
}
"""The statement that groups those without a trouble, which an earlier release left, by class and reason: to a cap."""

COUNT_GAVE_UP: Final = {
    table: text(f"""
        SELECT count(*) FROM {table} t WHERE {gave_up} AND (CAST(:queue AS text) = '' OR t.queue = :queue)
          AND (CAST(:since AS timestamptz) IS NULL OR t.finished_at >= :since)""")
    for table, gave_up in GAVE_UP.items()
}
"""The statement that counts the rows of a ledger that gave up, of every kind, by an index that holds what it asks."""

# Reads the release that was seen first most lately, if another one ran before it.
READ_RELEASE: Final = text("""
    SELECT r.release, r.first_seen_at FROM release_run r
    WHERE (SELECT count(*) FROM release_run) > 1 ORDER BY r.first_seen_at DESC LIMIT 1""")


class TroubleGroup(NamedTuple):
    """The rows of a ledger that gave up with the same trouble.

    Parameters:
      trouble: `class|reason|message` (``models.trouble``).
      new_in: the release that runs since before the first of them, when the trouble is new with it; else None.
    """

    ledger: str
    trouble: str
    rows: int
    first_at: datetime | None
    last_at: datetime | None
    queues: list[str]
    kinds: list[str]
    new_in: str | None


class Release(NamedTuple):
    """A release, and the moment at which a process of it was first seen."""

    release: str
    first_seen_at: datetime


def group_errors(
    session: Session, *, queue: str = "", kind: str = "", since: datetime | None = None
) -> list[TroubleGroup]:
    """Groups what gave up by its trouble: what is new with the latest release first, then the most frequent.

    Parameters:
      queue, kind: only rows of these, if given.
      since: only rows that ended at this moment or later; then nothing is told to be new.
    """
    read_by_index(session)
    asked = {"queue": queue, "kind": kind, "since": since}
    found: list[TroubleGroup] = []
    for ledger in LEDGERS:
        known = fetch(session, TroubleGroup, GROUP_TROUBLES[ledger.table], asked)
        found += known
        if kind or _there_are_more(session, ledger.table, known, asked):
            found += fetch(session, TroubleGroup, GROUP_OLDER[ledger.table], asked | {"rows": CAPS.rows})
    latest = fetch_one(session, Release, READ_RELEASE) if since is None else None
    groups = [one._replace(new_in=_new_in(one, latest)) for one in found]
    return sorted(groups, key=lambda group: (group.new_in is None, -group.rows, group.trouble))


def _there_are_more(session: Session, table: str, known: Sequence[TroubleGroup], asked: Mapping[str, object]) -> bool:
    """Tells whether rows have no trouble: to find out that none has none, each would be read in the table."""
    narrowed = {"queue": asked["queue"], "since": asked["since"]}
    return (fetch_value(session, int, COUNT_GAVE_UP[table], narrowed) or 0) > sum(group.rows for group in known)


def _new_in(found: TroubleGroup, latest: Release | None) -> str | None:
    is_new = latest is not None and found.first_at is not None and found.first_at >= latest.first_seen_at
    return latest.release if latest is not None and is_new else None


__all__ = ["READ_RELEASE", "Release", "TroubleGroup", "group_errors"]
