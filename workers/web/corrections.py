"""The pages of an address correction: the new address confirms it, and the old address agrees or refuses."""

from collections.abc import Callable
from functools import partial
from typing import Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from models.correction import CorrectionGround, CorrectionVerdict, mask_address
from models.words import Code, CorrectionState, Purpose
from workers.access.sign_ins import VerifiedCredentials
from workers.access.verifying import verify_credentials
from workers.corrections.answers import (
    CorrectionAnswer,
    CorrectionPage,
    agree_to_correction,
    confirm_address,
    look_at_correction,
    read_verdict,
    refuse_correction,
)
from workers.database import transaction
from workers.engine.wake import waking_transaction
from workers.i18n.moments import shown_moment
from workers.logs import get_logger
from workers.security.link_views import LinkUse, LinkView
from workers.security.tokens import SigningKeys
from workers.web.answers import busy, refuse
from workers.web.hashing import hashing_place
from workers.web.rendering import asked_locale, note, page

log = get_logger("links")

GONE: Final = 410

_ENDED: Final = {
    CorrectionGround.SHARED: "correction_shared",
    CorrectionGround.TAKEN: "correction_taken",
    CorrectionGround.REFUSAL: "correction_refused",
}

ANSWERS: Final[dict[str, Callable[..., CorrectionAnswer | Code]]] = {
    "agree": agree_to_correction,
    "refuse": refuse_correction,
}
"""The values of the two buttons on the page of the old address."""


async def show_confirmation(request: Request, view: LinkView) -> Response:
    """Shows the page of the new address, with its form."""
    return await _confirmation(request, view)


async def confirm(request: Request, token: str, view: LinkView, fields: dict[str, str]) -> Response:
    """Confirms the new address; a password that was given must be the account's, or the link stays unused."""
    password = fields.get("password", "")
    if password:
        place = hashing_place(request)
        if place is None:
            return busy(request, view.locale)
        verified = await to_thread.run_sync(verify_credentials, view.email, password, limiter=place)
        if not isinstance(verified, VerifiedCredentials):
            return await _confirmation(request, view, verified.code)
        if verified.account_id != view.account_id:  # another account got the address at this moment
            return refuse(request, Code.INVALID_LINK, view.locale, view.purpose)
    return await _hear(request, view, partial(confirm_address, token=token, password_given=bool(password)))


async def show_used(request: Request, use: LinkUse) -> Response:
    """Shows the state of a correction to the new address, after it has confirmed."""
    verdict = await to_thread.run_sync(_verdict, use)
    locale = asked_locale(request, use.locale)
    if verdict is None or verdict.state is CorrectionState.PENDING:
        return refuse(request, Code.USED_LINK, use.locale, use.purpose)
    if verdict.state is CorrectionState.APPLIED:
        return note("correction_made", locale, status=GONE)
    return note(_ended(verdict, use.purpose), locale, status=GONE)


async def show_answer(request: Request, view: LinkView) -> Response:
    """Shows the page of the old address; the new one is masked, because the old mailbox may be a stranger's by now."""
    shown = await to_thread.run_sync(_look, view)
    if shown is None:
        return refuse(request, Code.INVALID_LINK, view.locale, view.purpose)
    values = {"company": shown.company_name, "new_address": mask_address(shown.new_email)}
    return page("answer_correction", asked_locale(request, view.locale), values)


async def answer(request: Request, token: str, view: LinkView, fields: dict[str, str]) -> Response:
    """Records that the old address agrees or refuses."""
    say = ANSWERS.get(fields.get("answer", ""))
    if say is None:
        return refuse(request, Code.INVALID_REQUEST, view.locale, view.purpose)
    return await _hear(request, view, partial(say, token=token))


async def _confirmation(request: Request, view: LinkView, error: Code | None = None) -> Response:
    shown = await to_thread.run_sync(_look, view)
    if shown is None:
        return refuse(request, Code.INVALID_LINK, view.locale, view.purpose)
    values = {
        "company": shown.company_name,
        "new_address": shown.new_email,
        "error": error and error.value,
    }
    locale = asked_locale(request, view.locale)
    return page("confirm_address", locale, values, status=200 if error is None else 422)


def _look(view: LinkView) -> CorrectionPage | None:
    with transaction() as session:
        return look_at_correction(session, view)


def _verdict(use: LinkUse) -> CorrectionVerdict | None:
    with transaction() as session:
        return read_verdict(session, use)


async def _hear(request: Request, view: LinkView, say: Callable[..., CorrectionAnswer | Code]) -> Response:
    """Records the answer to a correction, wakes the queues of the mails it owes, and shows the result."""
    heard = await to_thread.run_sync(_say, say, request.app.state.keys)
    return _told(request, view, heard)


def _say(say: Callable[..., CorrectionAnswer | Code], keys: SigningKeys) -> CorrectionAnswer | Code:
    with waking_transaction() as session:
        return say(session, keys)


def _told(request: Request, view: LinkView, heard: CorrectionAnswer | Code) -> Response:
    """Makes the page that tells the result."""
    if isinstance(heard, Code):
        return refuse(request, heard, view.locale, view.purpose)
    state, ground = heard.verdict
    log.info("correction.answered", account=str(view.account_id), purpose=view.purpose, state=state, ground=ground)
    locale = asked_locale(request, view.locale)
    new = heard.waiting.new_email
    shown = new if view.purpose is Purpose.CORRECTION_CONFIRMATION else mask_address(new)
    if state is CorrectionState.APPLIED:
        return note("correction_applied", locale, new_address=shown)
    if state is CorrectionState.PENDING:
        return _waits(view, heard, locale, shown)
    return note(_ended(heard.verdict, view.purpose), locale)


def _ended(verdict: CorrectionVerdict, purpose: Purpose) -> str:
    """Returns the note of a correction that was not made; after a refusal, each of the two addresses has its own."""
    if verdict.ground is CorrectionGround.REFUSAL and purpose is Purpose.CORRECTION_CONFIRMATION:
        return "correction_declined"
    return _ENDED.get(verdict.ground, "correction_ended") if verdict.ground else "correction_ended"


def _waits(view: LinkView, heard: CorrectionAnswer, locale: str, shown: str) -> Response:
    pending = heard.waiting.pending
    if view.purpose is Purpose.CORRECTION_ANSWER:
        return note("correction_agreed", locale, new_address=shown)
    if pending.silent_until is not None:
        return note("correction_waits_until", locale, moment=shown_moment(pending.silent_until, locale))
    name = "correction_waits_message" if pending.silence_counts else "correction_waits_agreement"
    return note(name, locale, moment=shown_moment(pending.ends_at, locale))
