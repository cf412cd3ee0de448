"""The page "this is not me", opened by the link in a mail that tells a person of a new enrollment."""

from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from models.withdrawal import DETACHING, DetachmentStep
from models.words import Code
from workers.database import transaction
from workers.engine.wake import waking_transaction
from workers.logs import get_logger
from workers.people.detachment import DisputedEnrollment, detach, look_at_attachment
from workers.security.link_views import LinkView
from workers.security.tokens import SigningKeys
from workers.web.answers import refuse
from workers.web.rendering import asked_locale, note, page

log = get_logger("links")

GONE: Final = 410


async def show(request: Request, view: LinkView) -> Response:
    """Shows the enrollment, the effect of saying "not me", and the button."""
    attachment = await to_thread.run_sync(_look, view)
    if attachment is None or attachment.step not in DETACHING:
        return _nothing_done(request, view, DetachmentStep.NOTHING_LEFT if attachment is None else attachment.step)
    values = {
        "company": attachment.company_name,
        "training": attachment.training_title,
        "greeted": view.greeted,
        "email": view.email,
        "told": attachment.told,
    }
    return page("not_me", asked_locale(request, view.locale), values)


async def take(request: Request, token: str, view: LinkView, _: dict[str, str]) -> Response:
    """Detaches the person. The answer does not tell whether a seat became free, which concerns only the company."""
    answer = await to_thread.run_sync(_detach, request.app.state.keys, token)
    if isinstance(answer, Code):
        return refuse(request, answer, view.locale, view.purpose)
    if answer not in DETACHING:
        return _nothing_done(request, view, answer)
    log.info("person.detached", enrollment=str(view.subject_id), step=answer)
    return note("detached", asked_locale(request, view.locale))


def _look(view: LinkView) -> DisputedEnrollment | None:
    with transaction() as session:
        return look_at_attachment(session, view)


def _detach(keys: SigningKeys, token: str) -> DetachmentStep | Code:
    with waking_transaction() as session:
        return detach(session, keys, token)


def _nothing_done(request: Request, view: LinkView, step: DetachmentStep) -> Response:
    if step is DetachmentStep.DONE_BEFORE:
        return refuse(request, Code.USED_LINK, view.locale, view.purpose)
    return note("nothing_to_detach", asked_locale(request, view.locale), status=GONE)
