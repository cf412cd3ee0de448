"""``/links/{token}``: where the link of a mail leads. What for is in the link's row; each purpose has its page.

GET and HEAD show and change nothing, because mail scanners open links, some of them several times. POST acts.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.words import Code, Purpose
from workers.database import transaction
from workers.security.link_views import (
    LinkUse,
    LinkView,
    look_at_link,
    read_link_use,
)
from workers.security.tokens import SigningKeys
from workers.web import corrections, not_me, passwords
from workers.web.answers import refuse
from workers.web.forms import read_form

router = APIRouter()


class LinkPage(NamedTuple):
    """What one purpose of links looks like.

    Parameters:
      show: the page with its form; changes nothing.
      take: does what was filled in. The link may have been used since it was looked at: it looks again.
    """

    show: Callable[[Request, LinkView], Awaitable[Response]]
    take: Callable[[Request, str, LinkView, dict[str, str]], Awaitable[Response]]


PAGES: Final[dict[Purpose, LinkPage]] = {
    Purpose.ACTIVATION: LinkPage(passwords.show, passwords.take),
    Purpose.PASSWORD_RESET: LinkPage(passwords.show, passwords.take),
    Purpose.NOT_ME: LinkPage(not_me.show, not_me.take),
    Purpose.CORRECTION_CONFIRMATION: LinkPage(corrections.show_confirmation, corrections.confirm),
    Purpose.CORRECTION_ANSWER: LinkPage(corrections.show_answer, corrections.answer),
}
"""The page of each purpose."""


# One route for all methods, so that `Allow` names them all when another one is refused.
@router.api_route("/links/{token}", methods=["GET", "HEAD", "POST"], response_model=None)
async def answer_link(request: Request, token: str) -> Response:
    """Shows the form, or takes what was filled in."""
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
    """What the link answers; and of one that is over what it was for, as far as its holder may know."""
    with transaction() as session:
        view = look_at_link(session, keys, token)
        return view, None if isinstance(view, LinkView) else read_link_use(session, keys, token)


async def _refuse(request: Request, code: Code, use: LinkUse | None) -> Response:
    if use is None:
        return refuse(request, code)
    if code is Code.USED_LINK and use.purpose is Purpose.CORRECTION_CONFIRMATION:
        return await corrections.show_used(request, use)
    return refuse(request, code, use.locale, use.purpose)
