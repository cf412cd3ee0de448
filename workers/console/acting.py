"""Does what a form asks to one row at once, or shows the set of many before anything is changed."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from models.label import clean_reason
from models.ops_action import ActionVerb, RowOutcome
from models.words import Code
from workers.console.access.visitor import Visitor
from workers.console.filters import as_id, may_freeze, read_filter, said
from workers.database import transaction
from workers.engine.broker import wake
from workers.ops.actions import act_at_once, show_chosen, show_named
from workers.ops.actions_sql import ACTING

MOST_TICKED = 1_000
"""Rows that one form may tick."""


class RowAnswer(NamedTuple):
    """The end of an action on one row: a word of ``RowOutcome`` or, of one that was left alone, of ``SkipReason``."""

    verb: str
    outcome: str


def read_verb(form: FormData) -> ActionVerb:
    """Returns what a form asks to do to rows.

    Raises: HTTPException when it is nothing that is done to rows.
    """
    word = said(dict(form), "verb")
    if word not in list(ACTING):
        raise HTTPException(400)
    return ActionVerb(word)


def read_reason(form: FormData) -> str | None:
    """Returns the reason of a form as the audit trail keeps it, empty when none is given; None when it cannot be."""
    text = said(dict(form), "reason")
    kept = clean_reason(text) if text else ""
    return None if isinstance(kept, Code) else kept


def has_typed(form: FormData, number: int) -> bool:
    """Tells whether a number was typed into a form, or copied from the page with what stands between its thousands."""
    return "".join(said(dict(form), "typed").split()).replace(",", "") == str(number)


async def act_on_one(visitor: Visitor, form: FormData, row_id: UUID, verb: ActionVerb | None = None) -> RowAnswer:
    """Changes one row at once; it can be undone on the page of actions."""
    wanted = verb or read_verb(form)
    reason = read_reason(form)
    if reason is None:
        return RowAnswer(wanted, "wrong_reason")
    return await run_in_threadpool(_act_on_one, visitor.asker, wanted, row_id, reason)


def _act_on_one(asker: str, verb: ActionVerb, row_id: UUID, reason: str) -> RowAnswer:
    with transaction() as session:
        acted = act_at_once(session, verb, [row_id], asked_by=asker, reason=reason)
    for queue in {row.queue for row in acted if row.queue}:
        wake(queue)
    if not acted:
        return RowAnswer(verb, "gone")
    [row] = acted
    return RowAnswer(verb, row.outcome if row.outcome == RowOutcome.DONE else row.why or row.outcome)


async def show_set(visitor: Visitor, form: FormData) -> UUID | None:
    """Freezes the ticked rows of a form, or those of its filter; returns the action, None when nothing was chosen.

    Raises: HTTPException for a form that no page sends; WrongFilter for a moment that is none.
    """
    verb = read_verb(form)
    if said(dict(form), "chosen") == "filter":
        wanted = read_filter(dict(form), said(dict(form), "of"))
        if wanted.ledger not in ("", "job", "email") or not may_freeze(wanted):
            raise HTTPException(400)

        def freeze() -> UUID:
            with transaction() as session:
                return show_chosen(session, verb, wanted, asked_by=visitor.asker).action

        return await run_in_threadpool(freeze)
    ids = _ticked(form)
    if not ids:
        return None

    def freeze_named() -> UUID:
        with transaction() as session:
            return show_named(session, verb, ids, asked_by=visitor.asker).action

    return await run_in_threadpool(freeze_named)


def _ticked(form: FormData) -> Sequence[UUID]:
    given = [as_id(one) if isinstance(one, str) else None for one in form.getlist("id")]
    ids = [one for one in given if one is not None]
    if len(ids) != len(given) or len(ids) > MOST_TICKED:
        raise HTTPException(400)
    return ids


def back_to(path: str, **told: object) -> Response:
    """Sends a browser on after a form, with what came of it."""
    query = urlencode({name: str(value) for name, value in told.items() if value not in (None, "")})
    return RedirectResponse(f"{path}?{query}" if query else path, 303)


__all__ = ["RowAnswer", "act_on_one", "back_to", "has_typed", "read_reason", "read_verb", "show_set"]
