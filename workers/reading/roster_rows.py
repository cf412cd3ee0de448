"""Shows the rows of an imported file page by page: its values, the results, and the participants as they are now."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.label import trim
from models.words import DONE_CODES, Code
from workers.database import Session, array, autocommit, text_array
from workers.imports.files import open_file
from workers.imports.reports import StoredRows, find_rows
from workers.portals.keys import KnownKey
from workers.reading.participants import show_participants
from workers.reading.visible_jobs import find_visible_job
from workers.requests.imports import ImportRoster
from workers.rosters.kept_rows import KeptRows, recall
from workers.rosters.reader import RosterRow
from workers.rosters.refused import RosterRefused
from workers.sql import as_json, fetch, fetch_value

LOOKED_AT: Final = 20_000
"""The most results that one page looks at."""

READ_AT_ONCE: Final = 5_000_000
"""The most bytes of a file that is read among other reads; a larger one is read as files are made."""

LONGEST: Final = 1_000
"""Characters of a value that a page shows; no valid one is longer."""

Only = Literal["accepted", "refused", "to_correct", "accented"]
"""The rows that are asked for: enrolled ones; refused ones; of these the ones that are wrong themselves, so that a seat
more would not help; or those with accents that tell how the file was read."""

RIGHT_CODES: Final = DONE_CODES | {Code.NO_SEAT_LEFT, Code.NOT_CARRIED_OUT}
"""The codes of rows in which nothing is to be corrected."""

# The next results of an import, among so many that are looked at.
LIST_ROWS = text("""
    SELECT p.position, p.code, p.field, p.detail, p.account_id, p.enrollment_id
    FROM (
      SELECT * FROM job_person pe WHERE pe.job_id = :job AND pe.position >= :first
      ORDER BY pe.position LIMIT :looked_at) p
    WHERE (CAST(:code AS text) IS NULL OR p.code = :code)
      AND (CAST(:within AS text[]) IS NULL OR p.code = ANY(CAST(:within AS text[])))
      AND (CAST(:without AS text[]) IS NULL OR NOT p.code = ANY(CAST(:without AS text[])))
      AND (CAST(:positions AS int[]) IS NULL OR p.position = ANY(CAST(:positions AS int[])))
    ORDER BY p.position LIMIT :size""")

# The first result behind those that such a page looks at.
FIND_NEXT_ROW = text("""
    SELECT pe.position FROM job_person pe WHERE pe.job_id = :job AND pe.position >= :first
    ORDER BY pe.position OFFSET :looked_at LIMIT 1""")


class _RowResult(NamedTuple):
    position: int
    code: str
    field: str | None
    detail: dict[str, Any] | None
    account_id: UUID | None
    enrollment_id: UUID | None


class RowsAsked(NamedTuple):
    """The rows that are asked for.

    Parameters:
      first: the position of the row with which the page begins, from 0.
      size: the most rows of the page.
      code: only rows with this result.
    """

    first: int
    size: int
    only: Only | None = None
    code: Code | None = None


class FoundRows(NamedTuple):
    """The results of a page, before its file is read.

    Parameters:
      next: the position of the next page; None after the last.
      stored: the rows in the file; None when it is kept no longer, or is too large to be read for a page.
    """

    results: Sequence[_RowResult]
    next: int | None
    stored: StoredRows | None

    @property
    def takes_long(self) -> bool:
        """Whether the file is so large that reading it would keep others waiting."""
        return self.stored is not None and self.stored.size > READ_AT_ONCE


def find_row_results(session: Session, key: KnownKey, job_id: UUID, asked: RowsAsked) -> FoundRows | None:
    """Finds the results of rows; returns None when this key may see no such import."""
    found = find_visible_job(session, key, job_id)
    if found is None or found.kind != ImportRoster.kind:
        return None
    stored = find_rows(session, job_id, ())
    accented = stored.understood["accented"] if stored and asked.only == "accented" else []
    given = {"job": job_id, "first": asked.first, "looked_at": LOOKED_AT}
    excluded = {"refused": DONE_CODES, "to_correct": RIGHT_CODES}.get(asked.only or "")
    wanted = {
        "code": asked.code,
        "within": text_array(sorted(DONE_CODES)) if asked.only == "accepted" else None,
        "without": text_array(sorted(excluded)) if excluded else None,
        "positions": array(accented) if asked.only == "accented" else None,
        "size": asked.size + 1,
    }
    results = fetch(session, _RowResult, LIST_ROWS, given | wanted)
    if len(results) > asked.size:
        return _with_positions(results[: asked.size], results[asked.size].position, stored)
    return _with_positions(results, fetch_value(session, int, FIND_NEXT_ROW, given), stored)


def _with_positions(results: Sequence[_RowResult], following: int | None, stored: StoredRows | None) -> FoundRows:
    positions = [one.position for one in results]
    return FoundRows(results, following, replace(stored, positions=positions) if stored and positions else None)


def show_rows(found: FoundRows) -> list[dict[str, Any]]:
    """Returns rows as JSON; reads the file outside any transaction."""
    written = _read_rows(found.stored) if found.stored else {}
    enrolled = {one.enrollment_id for one in found.results if one.enrollment_id is not None}
    with autocommit() as session:
        participants = show_participants(session, enrolled)
    return [_shown(one, written.get(one.position), participants) for one in found.results]


def _read_rows(stored: StoredRows) -> Mapping[int, RosterRow]:
    """Reads rows of a file by their positions; none when it cannot be read any more."""
    with autocommit() as session:
        file = open_file(session, stored.portal_id, stored.sha256)
    if file is None:
        return {}
    with file:
        try:
            rows = KeptRows(file, recall(file, stored.understood), stored.positions)
            return dict(zip(stored.positions, rows, strict=True))
        except RosterRefused:
            return {}


def _shown(one: _RowResult, row: RosterRow | None, participants: Mapping[UUID, Any]) -> dict[str, Any]:
    line = (one.detail or {}).get("line")
    return {
        "position": one.position,
        "line": row.line if line is None and row is not None else line,
        "email": None if row is None else _text(row.email),
        "first_name": None if row is None else _text(row.first_name),
        "last_name": None if row is None else _text(row.last_name),
        **{name: value for name, value in as_json(one).items() if name != "position"},
        "participant": participants.get(one.enrollment_id) if one.enrollment_id else None,
    }


def _text(value: str) -> str:
    """Returns a value as JSON can carry it, without half of a surrogate pair."""
    return trim(value)[:LONGEST].encode("utf-8", "replace").decode()
