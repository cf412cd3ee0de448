"""The pages of actions on many rows: what was shown, its confirmation, its progress, its undo, and the audit of ops."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from models.ops_action import CANARY, REASON_FROM, SHOWN_FOR, TYPED_FROM, ActionState, ActionVerb, RowOutcome
from workers.console.access.forms import posted
from workers.console.access.visitor import Operator, Reader, Visitor
from workers.console.acting import back_to, has_typed, read_reason, show_set
from workers.console.filters import WrongFilter, query_of, read_id, said
from workers.console.masking import masked_text
from workers.console.told import row_words
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.ops.action_sets import PAGE, count_seats, list_rows, read_set
from workers.ops.actions import (
    ListedAction,
    confirm,
    list_actions,
    read_action,
    skipped_by_reason,
    stop,
    undo,
)
from workers.ops.ops_audit import OpsEntries, list_ops_audit

router = APIRouter()

LISTED: Final = 50

MOST_RATE: Final = 100_000
MOST_CANARY: Final = 1_000

COLUMNS: Final = (
    *("id", "verb", "state", "expected", "done", "skipped", "failed", "rate", "reason", "asked_by", "undoes"),
    *("undone_by", "created_at", "confirmed_at", "finished_at"),
)


@router.api_route("/ops/actions", methods=["GET", "HEAD"], response_model=None)
async def show_actions(request: Request, visitor: Reader) -> Response:
    """Lists what operators did to many rows, and the audit of everything they did."""
    at = said(query_of(request), "before")
    place = int(at) if at.isascii() and at.isdecimal() and len(at) <= 18 else None
    actions, audit = await in_transaction(_read_lists, place)
    rows = [tuple(getattr(one, name) for name in COLUMNS) for one in actions]
    entries = [
        (one.at, one.requested_by and masked_text(one.requested_by), one.action, one.result, one.subject_id, one.job_id)
        for one in audit.entries
    ]
    audited = ("at", "requested_by", "action", "result", "subject_id", "job_id")
    answer = table(request, visitor, "actions", COLUMNS, rows) or table(request, visitor, "audit", audited, entries)
    if answer is not None:
        return answer
    return await page(request, visitor, "actions.html", actions=actions, audit=audit, **row_words(visitor))


def _read_lists(session: Session, place: int | None) -> tuple[list[ListedAction], OpsEntries]:
    return list_actions(session, limit=LISTED), list_ops_audit(session, before=place)


@router.post("/ops/actions/show", response_model=None)
async def show_rows(request: Request, visitor: Operator) -> Response:
    """Freezes the rows that a form chooses, and shows what they are; nothing is changed."""
    form = await posted(request)
    try:
        action = await show_set(visitor, form)
    except WrongFilter:
        raise HTTPException(400) from None
    if action is None:
        return await page(request, visitor, "nothing_ticked.html", status=422)
    return back_to(f"/ops/actions/{action}")


def _read_story(session: Session, action_id: UUID, after: UUID | None, outcome: str) -> dict[str, Any] | None:
    action = read_action(session, action_id)
    if action is None:
        return None
    shown = read_set(session, action_id) if action.state == ActionState.SHOWN else None
    return {
        "action": action,
        "shown": shown,
        "seats": count_seats(session, action_id) if shown and action.verb == ActionVerb.RETRY else [],
        "left_alone": skipped_by_reason(session, action_id),
        "rows": list_rows(session, action_id, after=after, outcome=outcome),
    }


@router.api_route("/ops/actions/{action_id}", methods=["GET", "HEAD"], response_model=None)
async def show_action(request: Request, visitor: Reader, action_id: UUID) -> Response:
    """Shows one action: its set before it is confirmed, then its progress."""
    return await _show(request, visitor, action_id, query_of(request))


async def _show(
    request: Request,
    visitor: Visitor,
    action_id: UUID,
    given: Mapping[str, str],
    *,
    refusal: str = "",
    status: int = 200,
    typed: Mapping[str, str] | None = None,
) -> Response:
    outcome = said(given, "outcome")
    try:
        after = read_id(given, "after")
    except WrongFilter:
        raise HTTPException(400) from None
    story = await in_transaction(_read_story, action_id, after, outcome if outcome in OUTCOMES else "")
    if story is None:
        raise HTTPException(404)
    if (answer := _as_table(request, visitor, story)) is not None:
        return answer
    action: ListedAction = story["action"]
    rows = story.pop("rows")
    return await page(
        request,
        visitor,
        "action.html",
        status=status,
        **story,
        rows=rows[:PAGE],
        next_row=rows[PAGE - 1].row_id if len(rows) > PAGE else None,
        outcome=outcome if outcome in OUTCOMES else "",
        outcomes=OUTCOMES,
        after=after,
        good_until=action.created_at + SHOWN_FOR,
        is_old=datetime.now(UTC) > action.created_at + SHOWN_FOR,
        reason_from=REASON_FROM,
        typed_from=TYPED_FROM,
        canary=CANARY,
        refusal=refusal,
        typed=typed or {},
        path=f"/ops/actions/{action_id}",
        left=max(0, action.expected - action.done - action.skipped - action.failed),
        **row_words(visitor),
    )


OUTCOMES: Final = ("waiting", *(str(word) for word in RowOutcome))


def _as_table(request: Request, visitor: Visitor, story: Mapping[str, Any]) -> Response | None:
    rows = [tuple(one) for one in story["rows"]]
    seats = [tuple(one) for one in story["seats"]]
    return table(request, visitor, "rows", ("row_id", "ledger", "state", "outcome", "why", "acted_at"), rows) or table(
        request, visitor, "contracts", ("contract", "portal", "company", "jobs", "people", "seats_left"), seats
    )


def _number(form: FormData, name: str, most: int) -> int | None:
    """Returns a number of a form, None when it is left out.

    Raises: WrongFilter when it is none, or too large.
    """
    text = said(dict(form), name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 7 and int(text) <= most):
        raise WrongFilter(name)
    return int(text)


@router.post("/ops/actions/{action_id}/confirm", response_model=None)
async def confirm_action(request: Request, visitor: Operator, action_id: UUID) -> Response:
    """Begins an action as it was shown; the clock carries it out."""
    form = await posted(request)
    action = await in_transaction(read_action, action_id)
    if action is None:
        raise HTTPException(404)
    refusal = await _begin(visitor, form, action)
    if refusal:
        typed = {name: said(dict(form), name) for name in ("reason", "rate", "canary", "typed")}
        return await _show(request, visitor, action_id, {}, refusal=refusal, status=422, typed=typed)
    return back_to(f"/ops/actions/{action_id}")


async def _begin(visitor: Visitor, form: FormData, action: ListedAction) -> str:
    """Confirms an action; returns why not, or nothing."""
    reason = read_reason(form)
    if reason is None:
        return "wrong_reason"
    if action.expected >= TYPED_FROM and not has_typed(form, action.expected):
        return "not_typed"
    try:
        rate, canary = _number(form, "rate", MOST_RATE), _number(form, "canary", MOST_CANARY)
    except WrongFilter as wrong:
        return f"wrong_{wrong.name}"
    if action.verb not in (ActionVerb.RETRY, ActionVerb.DISMISS, ActionVerb.CANCEL):
        return "not_shown"
    answer = await in_transaction(
        confirm,
        action.id,
        ActionVerb(action.verb),
        asked_by=visitor.asker,
        reason=reason,
        rate=rate or None,
        canary=CANARY if canary is None else canary,
    )
    return "" if answer == "done" else answer


@router.post("/ops/actions/{action_id}/stop", response_model=None)
async def stop_action(request: Request, visitor: Operator, action_id: UUID) -> Response:
    """Stops an action; what was done stays done."""
    form = await posted(request)
    reason = read_reason(form)
    if not reason:
        refusal = "wrong_reason" if reason is None else "stop_reason"
        return await _show(request, visitor, action_id, {}, refusal=refusal, status=422)
    answer = await in_transaction(stop, action_id, asked_by=visitor.asker, reason=reason)
    return await _after(request, visitor, action_id, answer, action_id)


@router.post("/ops/actions/{action_id}/undo", response_model=None)
async def undo_action(request: Request, visitor: Operator, action_id: UUID) -> Response:
    """Begins to take back what an action did, where its rows are as it left them."""
    form = await posted(request)
    reason = read_reason(form)
    if reason is None:
        return await _show(request, visitor, action_id, {}, refusal="wrong_reason", status=422)
    answer, undoing = await in_transaction(undo, action_id, asked_by=visitor.asker, reason=reason)
    return await _after(request, visitor, action_id, answer, undoing)


async def _after(request: Request, visitor: Visitor, action_id: UUID, answer: str, shown: UUID | None) -> Response:
    if answer == "unknown":
        raise HTTPException(404)
    if answer != "done":
        return await _show(request, visitor, action_id, {}, refusal=answer, status=422)
    return back_to(f"/ops/actions/{shown}")
