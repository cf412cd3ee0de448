"""The answers that all links share: a link that cannot be used, and a server that is busy."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from models.access_url import WayIn
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


def refuse(
    request: Request,
    code: Code,
    locale: str | None = None,
    purpose: Purpose | None = None,
    *,
    ways: Sequence[WayIn] | None = None,
) -> Response:
    """Answers why a link cannot be used, and what to do next, which may depend on the purpose of the link.

    A person asks their company for a new invitation, but asks for a new reset themselves. ``texts.toml`` may hold a
    note named after code and purpose (``expired_link_password_reset``); without it, the note of the code is used.

    Parameters:
      ways: the buttons that lead to the person's trainings, where the answer tells them to sign in.
    """
    special = f"{code.value}_{purpose.value}" if purpose else code.value
    spoken = asked_locale(request, locale)
    name = special if special in TEXTS[spoken]["notes"] else code.value
    return hang_up(note(name, spoken, status=STATUS[code], ways=ways), code)


def hang_up(answer: Response, code: Code) -> Response:
    """Returns the answer; for a request that is too slow, it also closes the connection."""
    if code is Code.TOO_SLOW:
        answer.headers["Connection"] = "close"
    return answer


def busy(request: Request, locale: str | None = None) -> Response:
    """Answers people and programs that they must try again in a minute (503, ``Retry-After``)."""
    answer = note("busy", asked_locale(request, locale), status=503)
    answer.headers["Retry-After"] = "60"
    return answer
