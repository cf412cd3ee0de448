"""The language and the theme of the pages: chosen by a link, kept in a cookie."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from scripts.portal.texts import LANGUAGES

CHOICES: Final[Mapping[str, Sequence[str]]] = {"lang": LANGUAGES, "theme": ("auto", "light", "dark")}
"""The names of the parameters and cookies, with their values; the first is the default."""

YEAR_SECONDS: Final = 365 * 24 * 3600


def language_of(request: Request) -> str:
    """Returns `fr` or `en`."""
    return chosen(request, "lang")


def chosen(request: Request, name: str) -> str:
    """Returns the choice of this request, or the one that was kept before."""
    for asked in (request.query_params.get(name, ""), request.cookies.get(name, "")):
        if asked in CHOICES[name]:
            return asked
    return CHOICES[name][0]


def keep_choices(request: Request, answer: Response) -> None:
    """Keeps what this request has chosen."""
    for name, values in CHOICES.items():
        if (asked := request.query_params.get(name, "")) in values:
            answer.set_cookie(name, asked, max_age=YEAR_SECONDS, samesite="lax", httponly=True)


def choice_url(request: Request, name: str, value: str) -> str:
    """Returns the address of this page with another choice; of the answer to a form, that of the list."""
    path = request.url.path if request.method == "GET" else "/participants"
    others = [(key, one) for key, one in request.query_params.multi_items() if key not in CHOICES]
    kept = others if request.method == "GET" else []
    return f"{path}?{urlencode([*kept, (name, value)])}"
