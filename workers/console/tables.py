"""Answers with a table as CSV or JSON: what a page shows as a table, a program reads from the same address."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from workers.console.access.visitor import Visitor
from workers.rosters.spreadsheet import excel_csv, safe_cell

VERSION: Final = 1
"""The version of the form of the JSON; a field that is added does not change it."""


def table(
    request: Request, _visitor: Visitor, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Response | None:
    """Answers with a table when the address asks for one by ``?format=csv`` or ``json``; returns None otherwise.

    Of a page with several tables ``?table=`` names one. Personal data must be left out, or masked, by the caller.

    Parameters:
      name: of the table, also of the file.
      columns: the names of the columns, in English, as programs read them.
      rows: the values, in the order of the columns.
    """
    form = request.query_params.get("format", "")
    if form not in ("csv", "json") or request.query_params.get("table", name) != name:
        return None
    now = datetime.now(UTC)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{now:%Y%m%dT%H%M}.{form}"'}
    if form == "csv":
        lines = [list(columns), *([_cell(value) for value in row] for row in rows)]
        return Response(excel_csv(lines), media_type="text/csv; charset=utf-8", headers=headers)
    content = {
        "version": VERSION,
        "table": name,
        "at": now.isoformat(timespec="seconds"),
        "rows": [dict(zip(columns, map(_plain, row), strict=True)) for row in rows],
    }
    written = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(written, media_type="application/json", headers=headers)


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return str(value)
    return value


def _cell(value: Any) -> Any:
    plain = _plain(value)
    if isinstance(plain, str):
        return safe_cell(plain)
    return "" if plain is None else plain
