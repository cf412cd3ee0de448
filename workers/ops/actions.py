"""Actions of operators on many jobs and mails: a set is shown, confirmed as it was shown, stopped, undone.

``workers/ops/actions_parts.py`` carries them out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import func, insert, text
from sqlmodel import col, update

from models.base import new_id
from models.ops_action import CANARY, SHOWN_FOR, ActionState, ActionVerb, OpsAction, needs_reason
from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import Session, array
from workers.engine.ledger import LEDGERS
from workers.ops.action_sets import SetAction, ShownSet, describe_set
from workers.ops.actions_parts import ActedRow, DueAction, act_on_next
from workers.ops.actions_sql import FREEZE_CHANGED, FREEZE_CHOSEN, FREEZE_NAMED
from workers.ops.row_filter import RowFilter, parameters
from workers.sql import change, fetch, fetch_one, given_values, select_record

AT_ONCE: Final = 9
"""The most named rows that are changed at once, in the transaction of the command."""

# Locks an action that is to be confirmed, stopped or undone.
LOCK_ACTION: Final = text("""
    SELECT a.verb, a.state, a.expected, a.undoes, a.undone_by,
      (SELECT u.state FROM ops_action u WHERE u.id = a.undone_by) AS state_of_undo,
      a.created_at < now() - CAST(:shown_for AS interval) AS is_old
    FROM ops_action a WHERE a.id = :action FOR UPDATE""")


class _LockedAction(NamedTuple):
    verb: str
    state: str
    expected: int
    undoes: UUID | None
    undone_by: UUID | None
    state_of_undo: str | None
    is_old: bool


class ListedAction(NamedTuple):
    """An action as operators see it."""

    id: UUID
    verb: str
    state: str
    expected: int
    done: int
    skipped: int
    failed: int
    canary: int
    rate: int | None
    reason: str
    asked_by: str
    note: str
    chosen_by: Any
    undoes: UUID | None
    undone_by: UUID | None
    created_at: datetime
    confirmed_at: datetime | None
    finished_at: datetime | None


Refusal = Literal["unknown", "other_verb", "too_late", "not_shown", "not_running", "no_reason", "not_ended", "undone"]

ActionAnswer = Literal["done", "is_undo", "nothing"] | Refusal


def show_chosen(session: Session, verb: ActionVerb, wanted: RowFilter, *, asked_by: str) -> ShownSet:
    """Freezes the rows that meet a filter, and shows what they are; nothing is changed."""
    action, taken = new_id(), 0
    asked = parameters(session, wanted) | {"action": action}
    for ledger in LEDGERS:
        if wanted.ledger in ("", ledger.table):
            taken += change(session, FREEZE_CHOSEN[verb, ledger.table], asked | {"taken": taken})
    return _shown(session, OpsAction(id=action, verb=verb, chosen_by=wanted.given, expected=taken, asked_by=asked_by))


def show_named(session: Session, verb: ActionVerb, ids: Sequence[UUID], *, asked_by: str) -> ShownSet:
    """Freezes the rows with these identifiers, fit or not, and shows what they are."""
    action = new_id()
    named = {"action": action, "ids": array(ids)}
    taken = sum(change(session, FREEZE_NAMED[ledger.table], named) for ledger in LEDGERS)
    chosen_by = {"ids": len(set(ids))}
    return _shown(session, OpsAction(id=action, verb=verb, chosen_by=chosen_by, expected=taken, asked_by=asked_by))


def _shown(session: Session, action: OpsAction) -> ShownSet:
    _add(session, action)
    return describe_set(session, SetAction(action.id, action.verb, action.expected))


def _add(session: Session, action: OpsAction) -> None:
    session.execute(insert(OpsAction).values(given_values(action)))


def confirm(
    session: Session,
    action_id: UUID,
    verb: ActionVerb,
    *,
    asked_by: str,
    reason: str,
    rate: int | None = None,
    canary: int = CANARY,
) -> ActionAnswer:
    """Begins an action as it was shown; the clock carries it out.

    Parameters:
      reason: the reason; from ten rows on it may not be empty.
      rate: rows a minute; None: as fast as it goes.
      canary: rows of a retry to try first, if there are more; 0: none.
    """
    found = _lock(session, action_id)
    if found is None:
        return "unknown"
    if refusal := _refusal(found, verb, reason):
        return refusal
    first = canary if verb is ActionVerb.RETRY and found.expected > canary else 0
    begun = {"asked_by": asked_by, "reason": reason, "rate": rate, "canary": first}
    _begin(session, action_id, begun)
    detail = {"expected": found.expected, "reason": reason, "rate": rate}
    _record_action(session, f"{verb}_many", action_id, asked_by, detail)
    return "done"


def _refusal(found: _LockedAction, verb: ActionVerb, reason: str) -> ActionAnswer | None:
    if found.verb != verb:
        return "other_verb"
    if found.state != ActionState.SHOWN:
        return "not_shown"
    if found.is_old:
        return "too_late"
    return "no_reason" if needs_reason(found.expected) and not reason else None


def _begin(session: Session, action_id: UUID, values: Mapping[str, Any]) -> None:
    begun = {"state": ActionState.RUNNING, "confirmed_at": func.now(), "due_at": func.now()}
    change(session, update(OpsAction).where(col(OpsAction.id) == action_id).values(begun | dict(values)))


def act_at_once(
    session: Session, verb: ActionVerb, ids: Sequence[UUID], *, asked_by: str, reason: str = ""
) -> list[ActedRow]:
    """Changes a few named rows in this transaction, as an action that may be undone; unknown ones are left out."""
    shown = show_named(session, verb, ids, asked_by=asked_by)
    action = DueAction(shown.action, verb, None, None, asked_by, reason, shown.expected, 0, 0, 0, 0, None)
    rows = act_on_next(session, action)
    counted = {name: sum(row.outcome == name for row in rows) for name in ("done", "skipped", "failed")}
    ended = {"state": ActionState.DONE, "confirmed_at": func.now(), "finished_at": func.now(), "reason": reason}
    change(session, update(OpsAction).where(col(OpsAction.id) == shown.action).values(ended | counted))
    return rows


def stop(session: Session, action_id: UUID, *, asked_by: str, reason: str) -> ActionAnswer:
    """Stops an action that is carried out; what was done stays done, the rest is left alone."""
    found = _lock(session, action_id)
    if found is None:
        return "unknown"
    if found.state != ActionState.RUNNING:
        return "not_running"
    stopped = {
        "state": ActionState.STOPPED,
        "due_at": None,
        "finished_at": func.now(),
        "note": f"stopped by {asked_by}",
    }
    change(session, update(OpsAction).where(col(OpsAction.id) == action_id).values(stopped))
    _record_action(session, "stop_action", action_id, asked_by, {"reason": reason})
    return "done"


def undo(session: Session, action_id: UUID, *, asked_by: str, reason: str) -> tuple[ActionAnswer, UUID | None]:
    """Begins an action that takes back another one where its rows are as it left them; returns its identifier.

    An undo that was stopped may be followed by another one, which leaves alone the rows that are put back already.
    """
    found = _lock(session, action_id)
    if found is None:
        return "unknown", None
    if refusal := _refusal_to_undo(found, reason):
        return refusal, None
    undoing = new_id()
    taken = change(session, FREEZE_CHANGED, {"action": undoing, "undoes": action_id})
    if not taken:
        return "nothing", None
    _add(session, OpsAction(id=undoing, verb=ActionVerb.UNDO, undoes=action_id, asked_by=asked_by, expected=taken))
    _begin(session, undoing, {"reason": reason})
    change(session, update(OpsAction).where(col(OpsAction.id) == action_id).values({"undone_by": undoing}))
    _record_action(session, "undo_many", undoing, asked_by, {"undoes": str(action_id), "reason": reason})
    return "done", undoing


def _refusal_to_undo(found: _LockedAction, reason: str) -> ActionAnswer | None:
    if found.verb == ActionVerb.UNDO:
        return "is_undo"
    if found.undone_by is not None and found.state_of_undo != ActionState.STOPPED:
        return "undone"
    if found.state not in (ActionState.DONE, ActionState.STOPPED):
        return "not_ended"
    return "no_reason" if needs_reason(found.expected) and not reason else None


def list_actions(session: Session, *, limit: int) -> list[ListedAction]:
    """Lists the actions that were confirmed, the latest first."""
    listed = select_record(ListedAction, OpsAction).where(col(OpsAction.state) != ActionState.SHOWN)
    return fetch(session, ListedAction, listed.order_by(col(OpsAction.id).desc()).limit(limit))


def read_action(session: Session, action_id: UUID) -> ListedAction | None:
    return fetch_one(
        session, ListedAction, select_record(ListedAction, OpsAction).where(col(OpsAction.id) == action_id)
    )


def skipped_by_reason(session: Session, action_id: UUID) -> dict[str, int]:
    """Counts the rows of an action that were not changed, by the reason."""
    return {row.why: row.rows for row in fetch(session, _Reason, COUNT_REASONS, {"action": action_id})}


class _Reason(NamedTuple):
    why: str
    rows: int


# Counts the rows of an action that were skipped or failed, by the reason.
COUNT_REASONS: Final = text("""
    SELECT why, count(*) AS rows FROM ops_action_row
    WHERE action_id = :action AND why IS NOT NULL GROUP BY why ORDER BY why""")


def _lock(session: Session, action_id: UUID) -> _LockedAction | None:
    return fetch_one(session, _LockedAction, LOCK_ACTION, {"action": action_id, "shown_for": SHOWN_FOR})


def _record_action(session: Session, action: str, action_id: UUID, asked_by: str, detail: dict[str, Any]) -> None:
    given = {name: value for name, value in detail.items() if value not in (None, "")}
    record(session, action, portal_id=LOCAL_PORTAL_ID, requested_by=asked_by, subject_id=action_id, detail=given)


__all__ = [
    "AT_ONCE",
    "ActionAnswer",
    "ListedAction",
    "ShownSet",
    "act_at_once",
    "confirm",
    "list_actions",
    "read_action",
    "show_chosen",
    "show_named",
    "skipped_by_reason",
    "stop",
    "undo",
]
