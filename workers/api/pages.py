"""Lists of the API: ``{"items": […], "next": cursor or null}``, with the same cursor in the header ``Link``."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import Field
from starlette.responses import Response

from models.words import Code
from workers.api.calls import Call, json_answer
from workers.api.operation import Query
from workers.api.problems import ApiProblem, FieldError

_ID: Final = re.compile(r"[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")

MOST: Final = 200
"""The most items of a page."""


class PageQuery(Query):
    """The query parameters of every list."""

    limit: int = Field(default=50, ge=1, le=MOST, description="the most items of the page")
    cursor: str | None = Field(default=None, max_length=1_000, description="`next` of the page before")


def page_answer(call: Call, items: Sequence[Any], following: str | None) -> Response:
    """Answers with a page; `following` is the cursor of the next one."""
    headers = {}
    if following is not None:
        others = [(name, value) for name, value in call.http.query_params.multi_items() if name != "cursor"]
        headers["Link"] = f'<{_sent_path(call)}?{urlencode([*others, ("cursor", following)])}>; rel="next"'
    return json_answer({"items": items, "next": following}, headers=headers)


def _sent_path(call: Call) -> str:
    """Returns the path of a call as it was sent: decoded, the slash of a reference would be one of the path."""
    sent: bytes = call.http.scope.get("raw_path") or quote(call.http.scope["path"]).encode()
    return quote(sent.partition(b"?")[0], safe="/%:@!$&'()*+,;=~")


def text_cursor(position: str) -> str:
    """Returns the cursor of a position that is a text."""
    return base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()


def read_text_cursor(cursor: str | None) -> str:
    """Reads the cursor of ``text_cursor``; the empty text is before all others.

    Raises: ApiProblem when it is none.
    """
    if cursor is None:
        return ""
    try:
        position = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise wrong_cursor() from None
    if "\0" in position:
        raise wrong_cursor()
    return position


def id_cursor(position: UUID) -> str:
    """Returns the cursor of a position that is an identifier."""
    return position.hex


def read_id_cursor(cursor: str) -> UUID:
    """Reads the cursor of ``id_cursor``.

    Raises: ApiProblem when it is none.
    """
    if _ID.fullmatch(cursor) is None:
        raise wrong_cursor()
    return UUID(cursor)


def read_number_cursor(cursor: str | None) -> int:
    """Reads a cursor that is a number; the first page begins at 0.

    Raises: ApiProblem when it is none.
    """
    if cursor is None:
        return 0
    if _NUMBER.fullmatch(cursor) is None:
        raise wrong_cursor()
    return int(cursor)


def wrong_cursor() -> ApiProblem:
    """Makes the problem of a cursor that was not given by a page."""
    return ApiProblem(Code.INVALID_REQUEST, errors=[FieldError("cursor", Code.INVALID_REQUEST, "no cursor of a page")])
