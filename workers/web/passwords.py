"""The page "choose a password", opened by the link of an invitation or a reset."""

from functools import partial
from uuid import UUID

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from models.access_url import WayIn
from models.password import check_password
from models.words import Code
from workers.access.passwords import choose_password, hash_password
from workers.access.trainings import read_ways_in
from workers.database import transaction
from workers.engine.wake import waking_transaction
from workers.i18n.moments import shown_moment
from workers.logs import get_logger
from workers.security.link_views import LinkUse, LinkView, look_at_link
from workers.security.tokens import SigningKeys
from workers.settings import get_settings
from workers.web.answers import busy, refuse
from workers.web.hashing import hashing_place
from workers.web.rendering import asked_locale, note, page

log = get_logger("links")


async def show(request: Request, view: LinkView) -> Response:
    """Shows the empty form."""
    return _form(request, view)


async def take(request: Request, token: str, view: LinkView, fields: dict[str, str]) -> Response:
    """Sets the password, or shows the form again with the reason why it was refused."""
    password, again = fields.get("password", ""), fields.get("again", "")
    own = (view.email, view.first_name, view.last_name, get_settings().platform_name)
    error = check_password(password, again, own)
    if error is not None:
        return _form(request, view, error)
    place = hashing_place(request)
    if place is None:
        return busy(request, view.locale)
    chosen = await to_thread.run_sync(_choose, request.app.state.keys, token, password, limiter=place)
    if isinstance(chosen, Code):
        return refuse(request, chosen, view.locale, view.purpose)
    log.info("password.chosen", account=str(chosen.account_id), purpose=chosen.purpose)
    ways = await to_thread.run_sync(partial(_ways_in, chosen.account_id, titles=True))
    return note("password_chosen", asked_locale(request, chosen.locale), ways=ways, email=chosen.email)


async def show_used(request: Request, use: LinkUse) -> Response:
    """Says that a password was chosen with this link, and leads to the trainings."""
    ways = await to_thread.run_sync(partial(_ways_in, use.account_id, titles=False))
    return refuse(request, Code.USED_LINK, use.locale, use.purpose, ways=ways)


def _ways_in(account_id: UUID, *, titles: bool) -> list[WayIn]:
    with transaction() as session:
        return read_ways_in(session, account_id, titles=titles)


def _choose(keys: SigningKeys, token: str, password: str) -> LinkView | Code:
    """Sets the password; reads the link first, and hashes nothing if it was used while this request waited."""
    with transaction() as session:
        view = look_at_link(session, keys, token)
    if isinstance(view, Code):
        return view
    password_hash = hash_password(password)
    with waking_transaction() as session:
        return choose_password(session, keys, token, password_hash)


def _form(request: Request, view: LinkView, error: Code | None = None) -> Response:
    locale = asked_locale(request, view.locale)
    values = {
        "purpose": view.purpose.value,
        "greeted": view.greeted,
        "email": view.email,
        "until": shown_moment(view.expires_at, locale),
        "error": error and error.value,
    }
    return page("choose_password", locale, values, status=200 if error is None else 422)
