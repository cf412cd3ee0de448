"""``/links/{token}``: the page a mail leads to, where somebody chooses their password.

GET and HEAD show and change nothing, because mail scanners open links, some of them several times. POST acts.
"""

from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.passwords import check_password
from models.words import Code, Purpose
from workers.database import transaction
from workers.logs import get_logger
from workers.services.passwords import LinkView, choose_password, hash_password, look_at_link, read_link_use
from workers.settings import get_settings
from workers.tokens import SigningKeys
from workers.web.forms import read_form
from workers.web.rendering import asked_locale, note, page

HASHES_AT_ONCE: Final = 2
"""Passwords hashed at the same time by one process: 64 MiB and a core each."""

HASHES_WAITING: Final = 32
"""Beyond these, people are asked to come back in a minute rather than left waiting."""

STATUS: Final = {
    Code.INVALID_LINK: 404,
    Code.EXPIRED_LINK: 410,
    Code.USED_LINK: 410,
    Code.REQUEST_TOO_LARGE: 413,
    Code.INVALID_REQUEST: 400,
}

router = APIRouter()
log = get_logger("links")


# One route for all methods, so that `Allow` names them all when another one is refused.
@router.api_route("/links/{token}", methods=["GET", "HEAD", "POST"], response_model=None)
async def answer_link(request: Request, token: str) -> Response:
    """Shows the form, or takes what was filled in."""
    view, use = await to_thread.run_sync(_look, request.app.state.keys, token)
    if isinstance(view, Code):
        return _refuse(request, view, *(use or ()))
    if request.method != "POST":
        return _form(request, view)
    return await _take(request, token, view)


async def _take(request: Request, token: str, view: LinkView) -> Response:
    fields = await read_form(request)
    if isinstance(fields, Code):
        return _refuse(request, fields, view.locale)
    password, again = fields.get("password", ""), fields.get("again", "")
    own = (view.email, view.first_name, view.last_name, get_settings().platform_name)
    error = check_password(password, again, own)
    if error is not None:
        return _form(request, view, error)
    hashing: CapacityLimiter = request.app.state.hashing
    if hashing.statistics().tasks_waiting >= HASHES_WAITING:
        return busy(request, view.locale)
    chosen = await to_thread.run_sync(_choose, request.app.state.keys, token, password, limiter=hashing)
    if isinstance(chosen, Code):
        return _refuse(request, chosen, view.locale, view.purpose)
    log.info("password.chosen", account=str(chosen.account_id), purpose=chosen.purpose)
    return note("password_chosen", asked_locale(request, chosen.locale), email=chosen.email)


def busy(request: Request, locale: str | None = None) -> Response:
    """Says to come back in a minute, to people and to programs."""
    answer = note("busy", asked_locale(request, locale), status=503)
    answer.headers["Retry-After"] = "60"
    return answer


def _look(keys: SigningKeys, token: str) -> tuple[LinkView | Code, tuple[str, Purpose] | None]:
    """What the link answers; and in which language, and what it was for, as far as its holder may know."""
    with transaction() as session:
        view = look_at_link(session, keys, token)
        if isinstance(view, LinkView):
            return view, (view.locale, view.purpose)
        return view, read_link_use(session, keys, token)


def _choose(keys: SigningKeys, token: str, password: str) -> LinkView | Code:
    """Looks once more, for the link may have been used while this waited for its turn: then nothing is hashed."""
    view, _ = _look(keys, token)
    if isinstance(view, Code):
        return view
    password_hash = hash_password(password)
    with transaction() as session:
        return choose_password(session, keys, token, password_hash)


def _form(request: Request, view: LinkView, error: Code | None = None) -> Response:
    values = {
        "purpose": view.purpose.value,
        "first_name": view.first_name,
        "email": view.email,
        "error": error and error.value,
    }
    locale = asked_locale(request, view.locale)
    return page("choose_password", locale, values, status=200 if error is None else 422)


def _refuse(request: Request, code: Code, locale: str | None = None, purpose: Purpose | None = None) -> Response:
    """Says why, and the next step: a reset is asked for again by oneself, an invitation from the company."""
    resets = code is Code.EXPIRED_LINK and purpose is Purpose.PASSWORD_RESET
    return note("expired_reset_link" if resets else code.value, asked_locale(request, locale), status=STATUS[code])
