"""Pages for what could not be answered: each says what is so, what is kept, and what to do."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from scripts.portal.answers import see_other, within
from scripts.portal.forms import BadForm, Forbidden
from scripts.portal.headers import SECURITY
from scripts.portal.held import held_form
from scripts.portal.sessions import LEARNER, SignInNeeded
from scripts.portal.view import page
from workers.portal_client import (
    InsufficientScope,
    InvalidRequest,
    KeyUsedBefore,
    NotFound,
    PortalError,
    RateLimited,
    Unanswered,
    Unauthorized,
    Unavailable,
)

RETRY_SECONDS: Final = 10

SIGN_IN_PAGES: Final = {LEARNER: "/apprenant/connexion"}


def _error(request: Request, name: str, status: int, **more: Any) -> Response:
    """Renders a note; its texts are `errors.<name>.…`."""
    values = {"name": name, "tone": "plain", "held": None, "retry": None, "request_id": ""}
    return page(request, "error.html", status=status, bare=True, **(values | more))


def sign_in_needed(request: Request, error: Exception) -> Response:
    """Leads to the sign-in page and back; a form that was sent is kept meanwhile."""
    assert isinstance(error, SignInNeeded)
    held = held_form(request)
    where = SIGN_IN_PAGES.get(error.role, "/connexion")
    if request.method == "POST" and error.role != LEARNER:
        return page(request, "sign_in.html", status=401, bare=True, held=held, after=within(_here(request)), ended=True)
    query = {"suite": within(_here(request))} | ({"fin": "1"} if error.ended else {})
    return see_other(f"{where}?{urlencode(query)}")


def _here(request: Request) -> str:
    if request.method != "GET":
        return "/participants"
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def forbidden(request: Request, error: Exception) -> Response:
    """Says why a form was refused, and leads to a fresh one."""
    assert isinstance(error, Forbidden)
    return _error(request, f"forbidden.{error.reason}", 403)


def bad_form(request: Request, _: Exception) -> Response:
    """Says that a form could not be read."""
    return _error(request, "bad_form", 400)


def away(request: Request, error: Exception) -> Response:
    """Says that Matricule does not answer; the form can be sent again under its key."""
    wait = max(RETRY_SECONDS, int(getattr(error, "retry_after", 0)))
    headers = {"Retry-After": str(wait)}
    if request.method == "GET":
        headers["Refresh"] = str(wait)
    return _error(request, "away", 503, tone="warn", held=held_form(request), retry=wait, headers=headers)


def not_accepted(request: Request, error: Exception) -> Response:
    """Says with the sentence of its code why Matricule did not take a request."""
    assert isinstance(error, PortalError)
    status = 400 if error.status == 400 else 502
    return _error(request, "not_accepted", status, code=error.code, request_id=error.request_id, tone="warn")


def http_error(request: Request, error: Exception) -> Response:
    """Says that there is no such page."""
    assert isinstance(error, HTTPException)
    name = "not_found" if error.status_code in (404, 405) else "bad_form"
    return _error(request, name, error.status_code, headers=error.headers)


def broken(request: Request, _: Exception) -> Response:
    """Says that the site has failed.

    Starlette answers this one outside of all middleware: without the guard, and without a form that was not read yet.
    """
    held = held_form(request) if hasattr(request.state, "form") else None
    return _error(request, "broken", 500, tone="bad", held=held, headers=SECURITY)


def _named(name: str, status: int) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, _: Exception) -> Response:
        return _error(request, name, status)

    return answer


HANDLERS: Final[Mapping[Any, Callable[[Request, Exception], Response]]] = {
    SignInNeeded: sign_in_needed,
    Forbidden: forbidden,
    BadForm: bad_form,
    InvalidRequest: bad_form,
    NotFound: _named("not_found", 404),
    KeyUsedBefore: _named("sent_before", 409),
    Unauthorized: _named("no_access", 502),
    InsufficientScope: _named("no_access", 502),
    Unanswered: away,
    Unavailable: away,
    RateLimited: away,
    PortalError: not_accepted,
    HTTPException: http_error,
    Exception: broken,
}
"""The page for each exception that a handler lets pass."""
