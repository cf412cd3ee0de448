"""Reads a small posted form, with limits on its size and time; bytes that are not UTF-8 are accepted."""

from typing import Final
from urllib.parse import parse_qsl

from anyio import fail_after
from starlette.requests import Request

from models.words import Code

MAX_BODY: Final = 16 * 1024
"""The most bytes of a form: more than twice two of the longest passwords, at 4 bytes a character, each as ``%xx``."""

MAX_DISCARDED: Final = 1024 * 1024
"""Bytes above the limit that are read and dropped, so that a browser can show the error; more is cut off."""

READ_SECONDS: Final = 30.0
"""Seconds in which a body must arrive: a client that sends byte by byte would hold the connection for ever."""

MAX_FIELDS: Final = 16
FORM_TYPE: Final = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str] | Code:
    """Reads the fields of a posted form.

    Bytes that are not UTF-8 become lone surrogates, and the rule on passwords refuses those with its own code.

    Returns: the fields, or why they could not be read: ``INVALID_REQUEST``, ``REQUEST_TOO_LARGE``, ``TOO_SLOW``.

    Raises:
      starlette.requests.ClientDisconnect: the browser closed the connection.
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
    """Reads the body, or its beginning when it is longer than the limit."""
    kept, seen = bytearray(), 0
    async for chunk in request.stream():
        seen += len(chunk)
        kept += chunk[: max(0, MAX_BODY + 1 - len(kept))]
        if seen > MAX_DISCARDED:
            break
    return bytes(kept)
