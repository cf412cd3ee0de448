"""Reading a small form: bounded, forgiving about bytes, never about size."""

from typing import Final
from urllib.parse import parse_qsl

from anyio import fail_after
from starlette.requests import Request

from models.words import Code

MAX_BODY: Final = 16 * 1024
"""Bytes. Two passwords of the greatest length, four bytes a character, each written as ``%xx``, take less than half."""

MAX_DISCARDED: Final = 1024 * 1024
"""Bytes read and dropped, so that a browser that sends too much gets to read why. More than this is cut off."""

READ_SECONDS: Final = 30.0
"""How long a body may take to arrive: sent byte by byte it would hold a connection for ever."""

MAX_FIELDS: Final = 16
FORM_TYPE: Final = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str] | Code:
    """The fields of a posted form, or why it could not be read: ``INVALID_REQUEST``, ``REQUEST_TOO_LARGE``,
    ``TOO_SLOW``.

    Bytes that are not UTF-8 come out as lone surrogates, which the rule on passwords refuses by name.

    Raises:
      starlette.requests.ClientDisconnect: the browser went away.
    """
    try:
        with fail_after(READ_SECONDS):
            body = await _read_body(request)
    except TimeoutError:
        return Code.TOO_SLOW
    if len(body) > MAX_BODY:
        return Code.REQUEST_TOO_LARGE
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        return Code.INVALID_REQUEST
    try:
        fields = parse_qsl(
            body.decode("utf-8", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        return Code.INVALID_REQUEST
    return dict(fields)


async def _read_body(request: Request) -> bytes:
    """The body, or its beginning when it is over the limit."""
    kept, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        kept += chunk[: max(0, MAX_BODY + 1 - len(kept))]
        if seen > MAX_DISCARDED:
            break
    return bytes(kept)
