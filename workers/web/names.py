"""The page of a correction of a name: the person confirms the name or refuses it."""

from collections.abc import Callable
from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from models.words import Code
from workers.corrections.name_answers import NamePage, confirm_name, look_at_name, refuse_name
from workers.corrections.name_rows import PendingNameCorrection
from workers.database import Session, transaction
from workers.engine.wake import waking_transaction
from workers.logs import get_logger
from workers.security.link_views import LinkView
from workers.security.tokens import SigningKeys
from workers.web.answers import refuse
from workers.web.rendering import asked_locale, note, page

log = get_logger("links")

Answer = Callable[[Session, SigningKeys, str], PendingNameCorrection | Code]

ANSWERS: Final[dict[str, tuple[Answer, str]]] = {
    "confirm": (confirm_name, "name_confirmed"),
    "refuse": (refuse_name, "name_refused"),
}
"""The values of the two buttons: the answer, and the note that follows it."""


async def show(request: Request, view: LinkView) -> Response:
    """Shows the present name, the corrected one and the two buttons; it changes nothing."""
    shown = await to_thread.run_sync(_look, view)
    if shown is None:
        return refuse(request, Code.INVALID_LINK, view.locale, view.purpose)
    values = {
        "company": shown.company_name,
        "email": view.email,
        "old_name": _full(view.first_name, view.last_name),
        "new_name": _full(shown.first_name, shown.last_name),
    }
    return page("confirm_name", asked_locale(request, view.locale), values)


async def take(request: Request, token: str, view: LinkView, fields: dict[str, str]) -> Response:
    """Records the answer and shows what it changed."""
    answer = fields.get("answer", "")
    if answer not in ANSWERS:
        return refuse(request, Code.INVALID_REQUEST, view.locale, view.purpose)
    say, told = ANSWERS[answer]
    heard = await to_thread.run_sync(_say, say, request.app.state.keys, token)
    if isinstance(heard, Code):
        return refuse(request, heard, view.locale, view.purpose)
    log.info("name.answered", account=str(view.account_id), answer=answer)
    name = _full(heard.new_first_name, heard.new_last_name)
    return note(told, asked_locale(request, view.locale), new_name=name)


def _full(first_name: str, last_name: str) -> str:
    return " ".join(part for part in (first_name, last_name) if part)


def _look(view: LinkView) -> NamePage | None:
    with transaction() as session:
        return look_at_name(session, view)


def _say(say: Answer, keys: SigningKeys, token: str) -> PendingNameCorrection | Code:
    with waking_transaction() as session:
        return say(session, keys, token)
