"""The address ``/links/{token}`` of the links in mails. The row of the link names its purpose, which has a page.

GET and HEAD change nothing, because mail scanners open links, some of them several times. POST acts.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.link import PASSWORD_PURPOSES
from models.words import Code, Purpose
from workers.database import transaction
from workers.security.link_views import (
    LinkUse,
    LinkView,
    look_at_link,
    read_link_use,
)
from workers.security.tokens import SigningKeys
from workers.web import corrections, names, not_me, passwords
from workers.web.answers import refuse
from workers.web.forms import read_form

router = APIRouter()


class LinkPage(NamedTuple):
    """The page of one purpose of links.

    Parameters:
      show: makes the page with its form; it changes nothing.
      take: handles the posted form. It reads the link again, because it may have been used meanwhile.
    """

    show: Callable[[Request, LinkView], Awaitable[Response]]
    take: Callable[[Request, str, LinkView, dict[str, str]], Awaitable[Response]]


PAGES: Final[dict[Purpose, LinkPage]] = {
    Purpose.ACTIVATION: LinkPage(passwords.show, passwords.take),
    Purpose.PASSWORD_RESET: LinkPage(passwords.show, passwords.take),
    Purpose.NOT_ME: LinkPage(not_me.show, not_me.take),
    Purpose.CORRECTION_CONFIRMATION: LinkPage(corrections.show_confirmation, corrections.confirm),
    Purpose.CORRECTION_ANSWER: LinkPage(corrections.show_answer, corrections.answer),
    Purpose.NAME_CONFIRMATION: LinkPage(names.show, names.take),
}
"""The page of each purpose."""


# There is one route for all methods, so that `Allow` names them all when another method is refused.
@router.api_route("/links/{token}", methods=["GET", "HEAD", "POST"], response_model=None)
async def answer_link(request: Request, token: str) -> Response:
    """Shows the form of a link, or handles the posted form."""
    view, use = await to_thread.run_sync(_look, request.app.state.keys, token)
    if isinstance(view, Code):
        return await _refuse(request, view, use)
    page = PAGES[view.purpose]
    if request.method != "POST":
        return await page.show(request, view)
    fields = await read_form(request)
    if isinstance(fields, Code):
        return refuse(request, fields, view.locale, view.purpose)
    return await page.take(request, token, view, fields)


def _look(keys: SigningKeys, token: str) -> tuple[LinkView | Code, LinkUse | None]:
    """Reads a link; when it cannot be used any more, also its purpose, as far as its holder may know it."""
    with transaction() as session:
        view = look_at_link(session, keys, token)
        return view, None if isinstance(view, LinkView) else read_link_use(session, keys, token)


async def _refuse(request: Request, code: Code, use: LinkUse | None) -> Response:
    if use is None:
        return refuse(request, code)
    if code is Code.USED_LINK and use.purpose is Purpose.CORRECTION_CONFIRMATION:
        return await corrections.show_used(request, use)
    if code is Code.USED_LINK and use.purpose in PASSWORD_PURPOSES:
        return await passwords.show_used(request, use)
    return refuse(request, code, use.locale, use.purpose)
