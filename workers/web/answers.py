"""The answers all links share: what cannot be used any more, and what is too much at this moment."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from models.words import Code, Purpose
from workers.web.rendering import TEXTS, asked_locale, note

STATUS: Final = {
    Code.INVALID_LINK: 404,
    Code.EXPIRED_LINK: 410,
    Code.USED_LINK: 410,
    Code.REQUEST_TOO_LARGE: 413,
    Code.INVALID_REQUEST: 400,
    Code.TOO_SLOW: 408,
}


def refuse(request: Request, code: Code, locale: str | None = None, purpose: Purpose | None = None) -> Response:
    """Says why, and the next step, in the words of what the link was for where they differ.

    An invitation is asked for again from the company, a reset by oneself. ``texts.toml`` may hold a note named after
    code and purpose (``expired_link_password_reset``); without one it is the code's.
    """
    special = f"{code.value}_{purpose.value}" if purpose else code.value
    spoken = asked_locale(request, locale)
    name = special if special in TEXTS[spoken]["notes"] else code.value
    return hang_up(note(name, spoken, status=STATUS[code]), code)


def hang_up(answer: Response, code: Code) -> Response:
    """The answer, after which no more is read from whoever is too slow."""
    if code is Code.TOO_SLOW:
        answer.headers["Connection"] = "close"
    return answer


def busy(request: Request, locale: str | None = None) -> Response:
    """Says to come back in a minute, to people and to programs."""
    answer = note("busy", asked_locale(request, locale), status=503)
    answer.headers["Retry-After"] = "60"
    return answer
