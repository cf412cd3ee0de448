"""Reads the body of a call, with limits on its size and time, and the request in it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from anyio import fail_after
from starlette.requests import Request as HttpRequest

from models.words import Code
from workers.api.problems import ApiProblem, FieldError, invalid
from workers.errors import InvalidRequest
from workers.requests.base import ModelType, read

READ_SECONDS: Final = 30.0
"""Seconds in which a body must arrive; the server itself cuts off what comes later."""

BODY_UNTIL: Final = "matricule.body_until"
"""The place, among what the server knows of a call, of the moment until which its body may arrive, by the clock of the
event loop. Only a call with a file has one; other bodies have the time that the server gives to all."""


async def read_body(http: HttpRequest, most: int) -> bytes:
    """Reads the whole body.

    Raises:
      ApiProblem: it is too large, or too slow; the connection is then closed.
      starlette.requests.ClientDisconnect: the client left.
    """
    length = http.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_large(most)
    body = bytearray()
    try:
        with fail_after(READ_SECONDS):
            async for chunk in http.stream():
                body += chunk
                if len(body) > most:
                    raise too_large(most)
    except TimeoutError:
        raise ApiProblem(Code.TOO_SLOW, hang_up=True) from None
    return bytes(body)


def too_large(most: int) -> ApiProblem:
    """Makes the problem of a body that is over its limit."""
    return ApiProblem(Code.TOO_LARGE, f"over {most} bytes", hang_up=True)


def read_request(shape: type[ModelType], body: bytes, given: Mapping[str, Any]) -> tuple[ModelType, str]:
    """Reads a body into its class; returns it with its JSON, as a request is kept in the ledger.

    Parameters:
      given: fields that the address gives; the body may not have them.

    Raises: ApiProblem naming each wrong field.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_object(f"not UTF-8: byte {error.start}") from None
    whole = _with_given(text, given)
    try:
        return read(shape, whole), whole
    except InvalidRequest as refused:
        raise invalid(refused) from None


def _with_given(text: str, given: Mapping[str, Any]) -> str:
    """Puts fields at the end of a JSON object, where they win over others of the same name."""
    inner = text.strip(" \t\r\n") or "{}"
    if not (inner.startswith("{") and inner.endswith("}")):
        raise _no_object("a JSON object is required")
    if not given:
        return inner
    _refuse_given(inner, given)
    fields = json.dumps(dict(given), ensure_ascii=False)[1:-1]
    others = inner[1:-1].strip(" \t\r\n")
    return f"{{{others}, {fields}}}" if others else f"{{{fields}}}"


def _refuse_given(inner: str, given: Mapping[str, Any]) -> None:
    """Refuses a body with a field that the address gives; it is read for that only if it may have one."""
    if "\\u" not in inner and not any(f'"{name}"' in inner for name in given):
        return
    try:
        names = json.loads(inner)
    except (ValueError, RecursionError):
        return  # the strict reader says why
    if twice := [name for name in given if name in names]:
        errors = [FieldError(name, Code.INVALID_REQUEST, "the address gives it") for name in twice]
        raise ApiProblem(Code.INVALID_REQUEST, errors=errors)


def _no_object(detail: str) -> ApiProblem:
    return ApiProblem(Code.INVALID_REQUEST, errors=[FieldError("", Code.INVALID_REQUEST, detail)])
