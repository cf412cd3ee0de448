"""Carries out actions of operators, part by part; each part is one transaction with the notes of what it did.

The leading clock does so in a thread. Killed between two parts, or within one, it leaves whole parts: the next clock
goes on with the rows that have no outcome yet.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from models.ops_action import (
    CANARY_SECONDS,
    PART,
    RETRY_SECONDS,
    ActionState,
    ActionVerb,
    RowOutcome,
    after_failure,
    judge_canary,
    next_part,
)
from models.trouble import trouble_of
from workers.audit import record
from workers.database import Session, array, is_transient, text_array, transaction
from workers.engine.job_events import tell_ended
from workers.engine.ledger import JOBS
from workers.logs import get_logger
from workers.ops.actions_sql import (
    ACT,
    AUDIT_ROWS,
    JUDGE_FIRST,
    LOCK_NOTE,
    NOTE_FAILED,
    NOTE_PART,
    PICK_ROWS,
    POSTPONE_ACTION,
    READ_ERRORS,
    TAKE_ACTION,
    UNDO,
)
from workers.sql import change, fetch, fetch_one, fetch_value

log = get_logger()

WAITS_FOR_FIRST: Final = "waits for its first rows"
FIRST_FAILED: Final = "stopped: its first rows failed again"


class DueAction(NamedTuple):
    """An action that is carried out, locked for this transaction.

    Parameters:
      undone_verb: the verb of the action that this one takes back; None for another verb.
      canary: the number of its first rows that are still to be waited for; 0 if there is nothing to wait for.
    """

    id: UUID
    verb: str
    undoes: UUID | None
    undone_verb: str | None
    asked_by: str
    reason: str
    expected: int
    done: int
    skipped: int
    failed: int
    canary: int
    rate: int | None

    @property
    def taken(self) -> int:
        """The rows that have an outcome."""
        return self.done + self.skipped + self.failed


class ActedRow(NamedTuple):
    """A row of an action with its end.

    Parameters:
      state: its state when it was shown.
      queue: its queue; None unless it was changed.
    """

    row_id: UUID
    ledger: str
    state: str
    outcome: str
    why: str | None
    queue: str | None


class _PickedRow(NamedTuple):
    row_id: UUID
    ledger: str


class _FirstRows(NamedTuple):
    size: int
    waiting: int
    ill: int


class _Error(NamedTuple):
    id: UUID
    error: str


def carry_out_due() -> None:
    """Carries out what is due of all actions, a transaction for each part."""
    while carry_out_part():
        pass


def carry_out_part() -> bool:
    """Carries out the next part of the action that is due first; returns False when none is due.

    An action that fails is due again later, or stopped, so that the others do not wait for it.
    """
    action: DueAction | None = None
    try:
        with transaction() as session:
            action = fetch_one(session, DueAction, TAKE_ACTION)
            if action is not None:
                _carry_out(session, action)
    except Exception as error:
        if action is None:
            raise
        log.exception("action.part_failed", action=str(action.id), exc_info=error)
        with transaction() as session:
            _postpone(session, action.id, error)
    return action is not None


def _carry_out(session: Session, action: DueAction) -> None:
    if action.canary and action.done >= action.canary:
        _judge_first(session, action)
    else:
        _act_on_next(session, action)


def _postpone(session: Session, action: UUID, error: Exception) -> None:
    """Tries a part that failed again later, or stops its action; one that an operator stopped meanwhile stays so."""
    note = fetch_value(session, str, LOCK_NOTE, {"action": action})
    if note is None:
        return
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    failed = after_failure(note, type(cause).__name__, transient=is_transient(error))
    state = ActionState.STOPPED if failed.stops else ActionState.RUNNING
    postponed = {"action": action, "note": failed.note, "state": state, "seconds": RETRY_SECONDS}
    change(session, POSTPONE_ACTION, postponed)
    if failed.stops:
        record(session, "stop_action", requested_by="clock", subject_id=action, detail={"reason": failed.note})


def _judge_first(session: Session, action: DueAction) -> None:
    """Goes on with an action because its first rows did well, waits for them, or stops it because they failed."""
    asked = {"action": action.id, "taken": action.taken}
    first = fetch_one(session, _FirstRows, JUDGE_FIRST, asked) or _FirstRows(0, 0, 0)
    verdict = judge_canary(waiting=first.waiting, ill=first.ill, size=first.size)
    if verdict == "stop":
        _note(session, action, [], state=ActionState.STOPPED, note=FIRST_FAILED)
        record(session, "stop_action", requested_by="clock", subject_id=action.id, detail={"reason": FIRST_FAILED})
    elif verdict == "wait":
        _note(session, action, [], seconds=CANARY_SECONDS, note=WAITS_FOR_FIRST, canary=action.canary)
    else:
        _note(session, action, [])


def _act_on_next(session: Session, action: DueAction) -> None:
    part = next_part(action.rate)
    size = min(part.size, action.canary - action.done) if action.canary else part.size
    rows = act_on_next(session, action, size)
    ended = action.taken + len(rows) >= action.expected or not rows
    state = ActionState.DONE if ended else ActionState.RUNNING
    _note(session, action, rows, state=state, seconds=part.seconds, canary=action.canary)


def act_on_next(session: Session, action: DueAction, size: int = PART) -> list[ActedRow]:
    """Changes the next rows of an action, and records each that was changed in the audit trail."""
    picked = fetch(session, _PickedRow, PICK_ROWS, {"action": action.id, "size": size})
    acted: list[ActedRow] = []
    for ledger in sorted({row.ledger for row in picked}, reverse=True):
        acted += _act(session, action, ledger, [row.row_id for row in picked if row.ledger == ledger])
    done = [row for row in acted if row.outcome == RowOutcome.DONE]
    asked = {"action": action.id, "ids": array([row.row_id for row in done])}
    session.execute(AUDIT_ROWS, asked | {"verb": action.verb, "asked_by": action.asked_by, "reason": action.reason})
    if action.verb == ActionVerb.CANCEL:
        tell_ended(session, [row.row_id for row in done if row.ledger == JOBS.table])
    return acted


def _act(session: Session, action: DueAction, ledger: str, ids: Sequence[UUID]) -> list[ActedRow]:
    """Changes rows of one ledger; where the database refuses a change, it is found by halves, and noted as failed."""
    try:
        with session.begin_nested():
            return _change(session, action, ledger, ids)
    except DBAPIError as error:
        if is_transient(error):
            raise
        if len(ids) == 1:
            failed = {"action": action.id, "row": ids[0], "why": type(error.orig).__name__}
            return fetch(session, ActedRow, NOTE_FAILED, failed)
    middle = len(ids) // 2
    return _act(session, action, ledger, ids[:middle]) + _act(session, action, ledger, ids[middle:])


def _change(session: Session, action: DueAction, ledger: str, ids: Sequence[UUID]) -> list[ActedRow]:
    asked: dict[str, Any] = {"action": action.id, "ids": array(ids)}
    if action.undone_verb is None:
        return fetch(session, ActedRow, ACT[ActionVerb(action.verb), ledger], asked)
    asked["undoes"] = action.undoes
    verb = ActionVerb(action.undone_verb)
    errors = fetch(session, _Error, READ_ERRORS[ledger], asked) if verb is ActionVerb.RETRY else []
    return fetch(session, ActedRow, UNDO[verb, ledger], asked | _troubles(errors))


def _troubles(errors: Iterable[_Error]) -> dict[str, Any]:
    """Returns the troubles of rows anew from their errors: a retry empties them, and no copy outlives an erasure."""
    found = [(row.id, trouble_of(_read(row.error))) for row in errors]
    return {"troubled": array([row_id for row_id, _ in found]), "troubles": text_array([said for _, said in found])}


def _read(error: str) -> Mapping[str, Any]:
    read: Mapping[str, Any] = json.loads(error)
    return read


def _note(
    session: Session,
    action: DueAction,
    rows: Sequence[ActedRow],
    *,
    state: ActionState = ActionState.RUNNING,
    seconds: float = 0.0,
    note: str = "",
    canary: int = 0,
) -> None:
    counted = {str(outcome): sum(row.outcome == outcome for row in rows) for outcome in RowOutcome}
    noted = {"action": action.id, "canary": canary, "note": note, "state": state, "seconds": seconds}
    change(session, NOTE_PART, noted | counted)


__all__ = ["ActedRow", "DueAction", "act_on_next", "carry_out_due", "carry_out_part"]
