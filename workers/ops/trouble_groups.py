"""Groups what gave up by its error for a page: counted to a cap, with the last 24 hours and the people who are hit.

It jumps over the index from one error, queue and kind to the next, so that it costs what there are of these and not
what there are rows. ``workers/ops/errors.py`` counts all rows instead.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import text

from models.words import EmailState
from workers.database import Session, text_array
from workers.engine.ledger import LEDGERS
from workers.ops.capped import CAPS, CappedNumber, first_rows, read_by_index
from workers.ops.errors import READ_RELEASE, Release
from workers.ops.stuck import STUCK
from workers.requests.enrollment import Enroll
from workers.requests.personal import Personal, marks_of
from workers.requests.registry import KINDS
from workers.sql import fetch, fetch_one, fetch_value

MOST_PARTS: Final = 300
"""The most combinations of error, queue and kind of a ledger that are looked at."""

HOURS: Final = 24

MOST_AN_HOUR: Final = 20
"""The rows of an hour to which the curve counts."""

HIT_LOOKED_AT: Final = 40
"""The latest rows of a group that are looked at for the people and contracts they are about."""

ABOUT_PEOPLE: Final = [
    kind
    for kind, request in KINDS.items()
    if {Personal.ADDRESS, Personal.ENROLLMENT, Personal.ACCOUNT} & set(marks_of(request).values())
]
"""Kinds of requests that are about one person."""


def _stuck(table: str) -> str:
    return f"{STUCK[table]} AND t.trouble IS NOT NULL AND t.state <> '{EmailState.SUPPRESSED}'"


_NEXT: Final = "ORDER BY t.trouble, t.queue, t.kind LIMIT 1"
_OF_PART: Final = "t.trouble = g.trouble AND t.queue = g.queue AND t.kind = g.kind"
_SINCE: Final = "t.finished_at >= CAST(:since AS timestamptz)"

GROUP_PARTS: Final = {
    ledger.table: text(f"""
        WITH RECURSIVE g (trouble, queue, kind, place) AS (
          (SELECT t.trouble, t.queue, t.kind, 1 FROM {ledger.table} t WHERE {_stuck(ledger.table)} {_NEXT})
          UNION ALL
          SELECT n.trouble, n.queue, n.kind, g.place + 1 FROM g CROSS JOIN LATERAL (
            SELECT t.trouble, t.queue, t.kind FROM {ledger.table} t
            WHERE {_stuck(ledger.table)} AND (t.trouble, t.queue, t.kind) > (g.trouble, g.queue, g.kind) {_NEXT}) n
          WHERE g.place < :parts)
        SELECT g.trouble, g.queue, g.kind, {
        first_rows(
            f"{ledger.table} t", f"{_stuck(ledger.table)} AND {_OF_PART} AND {_SINCE}", "t.finished_at", cap="alike"
        )
    } AS rows,
          (SELECT t.finished_at FROM {ledger.table} t WHERE {_stuck(ledger.table)} AND {_OF_PART}
            ORDER BY t.finished_at LIMIT 1) AS first_at,
          (SELECT t.finished_at FROM {ledger.table} t WHERE {_stuck(ledger.table)} AND {_OF_PART}
            ORDER BY t.finished_at DESC LIMIT 1) AS last_at
        FROM g ORDER BY g.place""")
    for ledger in LEDGERS
}
"""The statement that counts the rows of each error, queue and kind of a ledger that ended since a moment."""

_GIVEN: Final = """unnest(CAST(:troubles AS text[]), CAST(:queues AS text[]), CAST(:kinds AS text[]))
          g (trouble, queue, kind)"""

CURVE: Final = {
    ledger.table: text(f"""
        SELECT g.trouble, h.hour, CAST(sum({
        first_rows(
            f"{ledger.table} t",
            f"{_stuck(ledger.table)} AND {_OF_PART}"
            f" AND t.finished_at > CAST(:now AS timestamptz) - make_interval(hours => {HOURS} - h.hour)"
            f" AND t.finished_at <= CAST(:now AS timestamptz) - make_interval(hours => {HOURS} - 1 - h.hour)",
            "t.finished_at",
            cap="most",
        )
    }) AS bigint) AS rows
        FROM {_GIVEN} CROSS JOIN generate_series(0, {HOURS - 1}) h (hour)
        GROUP BY g.trouble, h.hour ORDER BY g.trouble, h.hour""")
    for ledger in LEDGERS
}
"""The statement that counts what gave up in each of the last 24 hours, by error, to a cap in each hour."""

_PEOPLE: Final = f"""CASE WHEN t.request IS NULL THEN 0
              WHEN t.kind = '{Enroll.kind}' THEN (length(CAST(t.request AS text))
                - length(replace(CAST(t.request AS text), '"email"', ''))) / 7
              WHEN t.kind = ANY(CAST(:personal AS text[])) THEN 1
              ELSE coalesce(array_length(string_to_array(
                substring(CAST(t.request AS text), '"enrollment_ids" ?: ?\\[([^]]*)'), ','), 1), 0) END"""

_CONTRACT: Final = """t.portal_id || coalesce(substring(CAST(t.request AS text), '"contract" ?: ?("[^"]*")'), '')"""

_HIT: Final = {
    "job": f"{_PEOPLE} AS people, CASE WHEN {_CONTRACT} LIKE '%\"' THEN {_CONTRACT} END AS contract",
    "email": """CASE WHEN t.account_id IS NULL THEN 0 ELSE 1 END AS people,
            CAST(t.contract_id AS text) AS contract""",
}

COUNT_HIT: Final = {
    ledger.table: text(f"""
        SELECT s.trouble, CAST(sum(s.people) AS bigint) AS people, count(DISTINCT s.contract) AS contracts,
          count(*) AS looked_at
        FROM (
          SELECT g.trouble, o.people, o.contract FROM {_GIVEN} CROSS JOIN LATERAL (
            SELECT {_HIT[ledger.table]} FROM {ledger.table} t
            WHERE {_stuck(ledger.table)} AND {_OF_PART} ORDER BY t.finished_at DESC LIMIT {HIT_LOOKED_AT}) o) s
        WHERE CAST(:personal AS text[]) IS NOT NULL
        GROUP BY s.trouble""")
    for ledger in LEDGERS
}
"""The statement that counts the people and contracts of the latest rows of each error."""

# Reads the time of the database.
READ_NOW: Final = text("SELECT now()")


class _Part(NamedTuple):
    trouble: str
    queue: str
    kind: str
    rows: int
    first_at: datetime | None
    last_at: datetime | None


class _HourCount(NamedTuple):
    trouble: str
    hour: int
    rows: int


class _HitCount(NamedTuple):
    trouble: str
    people: int
    contracts: int
    looked_at: int


class ErrorGroup(NamedTuple):
    """The rows of a ledger that gave up with one error.

    Parameters:
      trouble: `class|reason|message` (``models.trouble``).
      new_in: the release that runs since before the first of them; else None.
      hours: what gave up in each of the last 24 hours, the present one last; each to ``MOST_AN_HOUR`` for a queue and
        kind.
      people, contracts: those that the latest rows are about; None when it was not looked for.
    """

    ledger: str
    trouble: str
    rows: CappedNumber
    first_at: datetime | None
    last_at: datetime | None
    queues: tuple[str, ...]
    kinds: tuple[str, ...]
    new_in: str | None
    hours: tuple[int, ...] = ()
    people: CappedNumber | None = None
    contracts: CappedNumber | None = None


class ErrorGroups(NamedTuple):
    """All errors, those that are new with the latest release first, then the most frequent.

    Parameters:
      release: the latest release, if another one ran before it.
      cut: there are more errors than were looked at.
    """

    groups: list[ErrorGroup]
    release: Release | None
    cut: bool


def list_error_groups(session: Session, *, since: datetime | None = None) -> ErrorGroups:
    """Groups what gave up by its error, counted to a cap.

    Parameters:
      since: only rows that ended at this moment or later are counted.
    """
    read_by_index(session)
    asked = {"parts": MOST_PARTS, "alike": CAPS.alike, "since": since or "-infinity"}
    now = fetch_value(session, datetime, READ_NOW)
    release = fetch_one(session, Release, READ_RELEASE)
    groups: list[ErrorGroup] = []
    cut = False
    for ledger in LEDGERS:
        parts = fetch(session, _Part, GROUP_PARTS[ledger.table], asked)
        cut = cut or len(parts) >= MOST_PARTS
        groups += _grouped(session, ledger.table, [one for one in parts if one.rows], release, now)
    groups.sort(key=lambda one: (one.new_in is None, -one.rows.number, one.trouble))
    return ErrorGroups(groups, release, cut)


def _grouped(
    session: Session, table: str, parts: Sequence[_Part], release: Release | None, now: datetime | None
) -> list[ErrorGroup]:
    by_trouble: dict[str, list[_Part]] = {}
    for part in parts:
        by_trouble.setdefault(part.trouble, []).append(part)
    curves = _read_curves(session, table, parts, now)
    hits = {one.trouble: one for one in fetch(session, _HitCount, COUNT_HIT[table], _given(parts))} if parts else {}
    return [
        _group(table, some, release, curves.get(trouble), hits.get(trouble)) for trouble, some in by_trouble.items()
    ]


def _given(parts: Sequence[_Part]) -> dict[str, object]:
    return {
        "troubles": text_array(one.trouble for one in parts),
        "queues": text_array(one.queue for one in parts),
        "kinds": text_array(one.kind for one in parts),
        "personal": text_array(ABOUT_PEOPLE),
    }


def _read_curves(
    session: Session, table: str, parts: Sequence[_Part], now: datetime | None
) -> dict[str, tuple[int, ...]]:
    """Reads the curves of the errors that still happen."""
    fresh = [one for one in parts if now and one.last_at and one.last_at > now - timedelta(hours=HOURS)]
    if not fresh:
        return {}
    given = {name: value for name, value in _given(fresh).items() if name != "personal"}
    counted = fetch(session, _HourCount, CURVE[table], given | {"now": now, "most": MOST_AN_HOUR - 1})
    curves: dict[str, list[int]] = {}
    for one in counted:
        curves.setdefault(one.trouble, [0] * HOURS)[one.hour] = one.rows
    return {trouble: tuple(hours) for trouble, hours in curves.items()}


def _group(
    table: str,
    parts: Sequence[_Part],
    release: Release | None,
    hours: tuple[int, ...] | None,
    hit: _HitCount | None,
) -> ErrorGroup:
    rows = CappedNumber.total([CappedNumber.of(one.rows, CAPS.alike) for one in parts])
    first_at = min((one.first_at for one in parts if one.first_at), default=None)
    is_new = release is not None and first_at is not None and first_at >= release.first_seen_at
    whole = hit is not None and not rows.at_least and hit.looked_at >= rows.number
    return ErrorGroup(
        table,
        parts[0].trouble,
        rows,
        first_at,
        max((one.last_at for one in parts if one.last_at), default=None),
        tuple(sorted({one.queue for one in parts})),
        tuple(sorted({one.kind for one in parts})),
        release.release if is_new and release else None,
        hours or (0,) * HOURS,
        None if hit is None else CappedNumber(hit.people, not whole),
        None if hit is None else CappedNumber(hit.contracts, not whole),
    )


__all__ = ["HOURS", "MOST_AN_HOUR", "ErrorGroup", "ErrorGroups", "list_error_groups"]
