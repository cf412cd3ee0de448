"""Answers what is refused, unknown or failed, with pages of the console."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from workers.console.access.forms import FormRefused
from workers.console.access.visitor import RoleNeeded, SignInNeeded, Visitor
from workers.console.view import page
from workers.errors import NotConfigured
from workers.logs import get_logger

SIGN_IN: Final = "/ops/sign-in"

log = get_logger("console")


async def ask_to_sign_in(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette calls it
    """Sends a browser to the sign-in.

    A browser that follows a link of another site sends no cookie yet; it is told to open the page itself, and does.
    """
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    reads = request.method in ("GET", "HEAD")
    if reads and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return await page(request, None, "again.html", address=asked)
    query = urlencode({"next": asked}) if reads and asked != "/ops" else ""
    return RedirectResponse(f"{SIGN_IN}?{query}" if query else SIGN_IN, 303)


async def refuse_role(request: Request, error: Exception) -> Response:
    """Says which role a page or an action needs."""
    needed = error.role if isinstance(error, RoleNeeded) else None
    return await page(request, _visitor(request), "refused.html", status=403, needed=needed)


async def refuse_form(request: Request, error: Exception) -> Response:
    """Says why a form was not read."""
    reason, status = (error.reason, error.status) if isinstance(error, FormRefused) else ("no_form", 400)
    return await _note(request, f"access.form.{reason}", "access.form.title", status)


async def refuse_request(request: Request, error: Exception) -> Response:
    """Answers a request for another path, by another method, or with parameters that cannot be read."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    headers = (error.headers or {}) if isinstance(error, HTTPException) else {}
    if _visitor(request) is None or status not in (400, 404):
        return PlainTextResponse(f"{getattr(error, 'detail', 'Bad Request')}\n", status, headers)
    return await _note(request, "access.missing.text", "access.missing.title", status)


async def refuse_unset(request: Request, error: Exception) -> Response:
    """Says that this process lacks the keys by which addresses are found, and logs which setting it is."""
    log.warning("console.not_configured", path=request.url.path, setting=str(error))
    return await _note(request, "access.unset.text", "access.unset.title", 503)


async def answer_fault(request: Request, status: int) -> Response:
    """Answers an error of the server: 503 while the database is away, or 500."""
    if not request.url.path.startswith("/ops"):
        return PlainTextResponse("an error of the server\n", status)
    what = "away" if status == 503 else "failed"
    answer = await page(
        request, None, "note.html", status=status, title_key=f"access.{what}.title", text_key=f"access.{what}.text"
    )
    if status == 503:
        answer.headers["Retry-After"] = "10"
    return answer


async def _note(request: Request, text_key: str, title_key: str, status: int) -> Response:
    return await page(request, None, "note.html", status=status, title_key=title_key, text_key=text_key)


def _visitor(request: Request) -> Visitor | None:
    return getattr(request.state, "visitor", None)


REFUSALS: Final[dict[Any, Callable[[Request, Exception], Awaitable[Response]]]] = {
    SignInNeeded: ask_to_sign_in,
    RoleNeeded: refuse_role,
    FormRefused: refuse_form,
    HTTPException: refuse_request,
    RequestValidationError: refuse_request,
    NotConfigured: refuse_unset,
}
"""The answers to errors by which a route says no."""
