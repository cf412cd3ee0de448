"""Reads the forms of the console, and refuses those that its own pages have not sent.

Two checks, because each alone has failed somewhere: the browser says that a page of the same site sends the form
(``Sec-Fetch-Site``), and the form carries the token of the session (an HMAC of it, which no other site can read).
"""

from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl

from anyio import fail_after
from markupsafe import Markup
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from workers.console.access.visitor import Visitor

TOKEN_FIELD: Final = "form_token"  # noqa: S105 - the name of a field

MOST_BYTES: Final = 128 * 1024
"""The most bytes of a form: room for a thousand ticked rows."""

MOST_FIELDS: Final = 2_000

READ_SECONDS: Final = 20.0
"""Seconds in which a form must arrive."""

FORM_TYPE: Final = "application/x-www-form-urlencoded"


class FormRefused(Exception):
    """A form is not read.

    Parameters:
      reason: `no_fetch_site` (the browser does not say where it comes from), `foreign` (from another site), `token` (of
        another session), `too_large`, `too_slow`, `no_form`; each has a text `access.form.…`.
      status: of the answer.
    """

    def __init__(self, reason: str, status: int = 403) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


async def posted(request: Request) -> FormData:
    """Reads the form that a signed-in user has sent; a field may have several values (``getlist``).

    Raises: FormRefused when it is not from a page of this session, or cannot be read.
    """
    data = await read_form(request)
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    given = data.get(TOKEN_FIELD, "")
    wanted = visitor.form_token if visitor else ""
    if not wanted or not isinstance(given, str) or not compare_digest(given.encode(), wanted.encode()):
        raise FormRefused("token")
    return data


async def read_form(request: Request) -> FormData:
    """Reads a form that a page of this site has sent, without looking at its token.

    Raises: FormRefused.
    """
    check_site(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise FormRefused("no_form", 400)
    try:
        with fail_after(READ_SECONDS):
            body = await _read_body(request)
    except TimeoutError:
        raise FormRefused("too_slow", 408) from None
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise FormRefused("no_form", 400) from None
    if any("\0" in name + value for name, value in fields):
        raise FormRefused("no_form", 400)
    sent: list[tuple[str, str | UploadFile]] = [*fields]
    return FormData(sent)


def check_site(request: Request) -> None:
    """Checks that the browser says a page of this site sends the request; without its word the answer is no.

    Raises: FormRefused.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        raise FormRefused("no_fetch_site")
    if site != "same-origin":
        raise FormRefused("foreign")


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise FormRefused("too_large", 413)
    return bytes(body)


def token_field(visitor: Visitor | None) -> Markup:
    """Writes the hidden field with the token, which each form of a page carries; templates call it `form_token()`."""
    token = visitor.form_token if visitor else ""
    return Markup('<input type="hidden" name="{}" value="{}">').format(TOKEN_FIELD, token)


__all__ = ["FormRefused", "check_site", "posted", "read_form", "token_field"]
