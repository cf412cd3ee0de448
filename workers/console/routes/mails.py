"""The pages on mails: a list, one mail with the words of the relay, its text without its token, and its address."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from models.address import normalise_email
from models.ops_action import ActionVerb
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, EmailKind, EmailState
from workers.audit import record
from workers.console.access.forms import posted
from workers.console.access.sign_ins import LIVE_HEADER
from workers.console.access.visitor import Operator, Reader, Role, RoleNeeded, Support, Visitor
from workers.console.acting import act_on_one, back_to
from workers.console.edge import POLICY
from workers.console.filters import (
    WrongFilter,
    command_of,
    may_freeze,
    query_of,
    read_filter,
    read_id,
    said,
)
from workers.console.told import error_words, row_words
from workers.console.view import in_transaction, page, table
from workers.database import Session, transaction
from workers.ops.audit_search import search_audit
from workers.ops.job_story import read_attempts
from workers.ops.mail_list import LOOKED_AT, MailFactsForOps, MailsPage, list_mails, read_mail
from workers.ops.row_filter import RowFilter
from workers.ops.why import explain_wait
from workers.outbox.suppression import lift
from workers.reading.mail_preview import MailPreview, preview_mail

router = APIRouter()

COLUMNS: Final = (
    *("id", "kind", "queue", "state", "why", "created_at", "finished_at", "due_at", "expires_at", "failures"),
    *("dismissed_at", "account_id", "job_id"),
)

FILTERS: Final = ("state", "kind", "queue", "portal", "contract", "trouble", "to", "since", "until")

QUEUES: Final = ("emails", "emails_bulk")

UNSENT: Final = (EmailState.FAILED, EmailState.EXPIRED, EmailState.UNCERTAIN)

PREVIEW_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""The policy of the text of a mail in its frame: its own styles, and nothing that runs, loads, leads or sends."""


@router.api_route("/ops/mails", methods=["GET", "HEAD"], response_model=None)
async def show_mails(request: Request, visitor: Reader) -> Response:
    """Lists mails by the filter in the address."""
    given = query_of(request)
    try:
        wanted, after, to = read_filter(given, "email"), read_id(given, "after"), _read_to(visitor, given)
    except WrongFilter as wrong:
        return await _show_list(request, visitor, RowFilter("email"), MailsPage([]), wrong=wrong.name, status=400)
    found = await in_transaction(list_mails, wanted, to=to, after=after)
    rows = [tuple(getattr(mail, name) for name in COLUMNS) for mail in found.mails]
    if (answer := table(request, visitor, "mails", COLUMNS, rows)) is not None:
        return answer
    return await _show_list(request, visitor, wanted, found)


def _read_to(visitor: Visitor, given: Mapping[str, str]) -> str:
    """Returns the address that is asked for, or its beginning with a star.

    Raises:
      RoleNeeded: a beginning is for users who may see addresses; letter by letter it would tell any of them.
      WrongFilter: it is neither.
    """
    text = said(given, "to")
    if text.endswith("*"):
        if not visitor.may(Role.SUPPORT):
            raise RoleNeeded(Role.SUPPORT)
        return text.lower() if len(text) > 3 else _refuse_to()
    if not text:
        return ""
    address = normalise_email(text)
    return _refuse_to() if isinstance(address, Code) else address


def _refuse_to() -> str:
    raise WrongFilter("to")


async def _show_list(
    request: Request, visitor: Visitor, wanted: RowFilter, found: MailsPage, *, wrong: str = "", status: int = 200
) -> Response:
    given = query_of(request)
    ticked = _verbs(wanted.state)
    verbs = ticked if may_freeze(wanted) and not said(given, "to") else ()
    return await page(
        request,
        visitor,
        "mails.html",
        status=status,
        found=found,
        wanted=wanted,
        given={name: said(given, name) for name in FILTERS},
        states=list(EmailState),
        kinds=sorted(EmailKind),
        queues=QUEUES,
        looked_at=LOOKED_AT,
        wrong=wrong,
        ticked_verbs=ticked,
        verbs=verbs,
        commands={verb: command_of(verb, wanted) for verb in verbs},
    )


def _verbs(state: str) -> tuple[ActionVerb, ...]:
    """Returns what can be done to mails of a state."""
    if state in UNSENT:
        return (ActionVerb.RETRY, ActionVerb.DISMISS)
    if state == EmailState.OWED:
        return (ActionVerb.CANCEL,)
    return () if state else (ActionVerb.RETRY, ActionVerb.DISMISS, ActionVerb.CANCEL)


def _read_story(session: Session, mail_id: UUID) -> dict[str, Any] | None:
    mail = read_mail(session, mail_id)
    if mail is None:
        return None
    audit = search_audit(session, job=mail.job_id, limit=10) if mail.job_id else []
    return {
        "mail": mail,
        "wait": explain_wait(session, mail_id),
        "attempts": read_attempts(session, mail_id),
        "audit": audit,
    }


@router.api_route("/ops/mails/{mail_id}", methods=["GET", "HEAD"], response_model=None)
async def show_mail(request: Request, visitor: Reader, mail_id: UUID) -> Response:
    """Shows one mail: its state, the words of the relay, its address; and its text for those who may read it."""
    given = query_of(request)
    story = await in_transaction(_read_story, mail_id)
    if story is None:
        raise HTTPException(404)
    columns = ("claim", "outcome", "error", "created_at", "times", "host")
    attempts = [(a.claim, a.outcome, error_words(a.error), a.created_at, a.times, a.host) for a in story["attempts"]]
    if (answer := table(request, visitor, "attempts", columns, attempts)) is not None:
        return answer
    mail: MailFactsForOps = story["mail"]
    refreshes = LIVE_HEADER in request.headers  # the text is read once, however long its page stays open
    wants = bool(said(given, "preview")) and visitor.may(Role.SUPPORT) and not refreshes
    shown = await run_in_threadpool(_preview, visitor.asker, mail) if wants else None
    answer = await page(
        request,
        visitor,
        "mail.html",
        **story,
        preview=shown,
        wants_preview=wants,
        verbs=_verbs_of(mail),
        acted=said(given, "acted"),
        outcome=said(given, "outcome"),
        **row_words(visitor),
    )
    answer.headers["Content-Security-Policy"] = POLICY.replace("script-src", "frame-src 'self'; script-src", 1)
    return answer


def _preview(asker: str, mail: MailFactsForOps) -> MailPreview | None:
    """Writes the text of a mail, and records who read it."""
    shown = preview_mail(mail.id)
    with transaction() as session:
        _record_reading(session, asker, mail, "page")
    return shown


def _record_reading(session: Session, asker: str, mail: MailFactsForOps, part: str) -> None:
    record(
        session,
        "show_mail",
        portal_id=LOCAL_PORTAL_ID,
        requested_by=asker,
        account_id=mail.account_id,
        subject_id=mail.id,
        detail={"part": part},
    )


@router.get("/ops/mails/{mail_id}/text", response_model=None)
async def show_text(request: Request, visitor: Support, mail_id: UUID) -> Response:
    """Answers with the HTML of a mail for the frame of its page, and for nothing else.

    It has no token, runs nothing and loads nothing. It is recorded too: a program can send what a frame sends.
    """
    frame = request.headers.get("sec-fetch-dest") == "iframe" and request.headers.get("sec-fetch-site") == "same-origin"
    shown = await run_in_threadpool(preview_mail, mail_id) if frame else None
    if shown is None:
        raise HTTPException(404)
    await in_transaction(_record_reading, visitor.asker, await _known(mail_id), "frame")
    headers = {"Content-Security-Policy": PREVIEW_POLICY, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(shown.html.encode("utf-8", "replace"), headers=headers)


def _verbs_of(mail: MailFactsForOps) -> tuple[ActionVerb, ...]:
    """Returns what can be done to a mail."""
    if mail.state in UNSENT and mail.due_at is None:
        retry = (ActionVerb.RETRY,) if mail.to_address else ()
        return retry if mail.dismissed_at else (*retry, ActionVerb.DISMISS)
    return (ActionVerb.CANCEL,) if mail.state == EmailState.OWED and mail.leased_until is None else ()


@router.post("/ops/mails/{mail_id}/send-again", response_model=None)
async def send_again(request: Request, visitor: Support, mail_id: UUID) -> Response:
    """Gives an unsent mail all its attempts again."""
    form = await posted(request)
    await _known(mail_id)
    answer = await act_on_one(visitor, form, mail_id, ActionVerb.RETRY)
    return back_to(f"/ops/mails/{mail_id}", acted=answer.verb, outcome=answer.outcome)


@router.post("/ops/mails/{mail_id}/act", response_model=None)
async def act(request: Request, visitor: Operator, mail_id: UUID) -> Response:
    """Retries, dismisses or cancels one mail at once."""
    form = await posted(request)
    await _known(mail_id)
    answer = await act_on_one(visitor, form, mail_id)
    return back_to(f"/ops/mails/{mail_id}", acted=answer.verb, outcome=answer.outcome)


@router.post("/ops/mails/{mail_id}/lift", response_model=None)
async def lift_suppression(request: Request, visitor: Support, mail_id: UUID) -> Response:
    """Takes the address of a mail off the list of those that get none."""
    await posted(request)
    mail = await _known(mail_id)
    answer = (
        await in_transaction(lift, mail.to_address, requested_by=visitor.asker) if mail.to_address else "not_listed"
    )
    return back_to(f"/ops/mails/{mail_id}", acted="lift", outcome="done" if answer == "lifted" else "not_listed")


async def _known(mail_id: UUID) -> MailFactsForOps:
    mail = await in_transaction(read_mail, mail_id)
    if mail is None:
        raise HTTPException(404)
    return mail
