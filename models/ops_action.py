"""An action of operators on many rows: jobs and mails that were shown, and then retried, dismissed or cancelled.

The set is frozen when it is shown, so that an action touches no row that died afterwards. A row that changed meanwhile
is skipped. The pure rules of this module say how fast an action goes on, and when its first rows or its failures stop
it.
"""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, Index, Text, text
from sqlmodel import Field

from models.base import Record, instant, new_id


class ActionVerb(StrEnum):
    """The change that an action makes to each of its rows."""

    RETRY = "retry"  # all attempts again, for what gave up
    DISMISS = "dismiss"  # what gave up is no problem any more; it is kept
    CANCEL = "cancel"  # what has not begun is not done
    UNDO = "undo"  # takes back another action, where its rows are still as it left them


class ActionState(StrEnum):
    """The state of an action; the last two are final."""

    SHOWN = "shown"  # its set is frozen and was shown; nothing is changed
    RUNNING = "running"  # confirmed: the clock carries it out in parts
    STOPPED = "stopped"  # by an operator, or because its first rows or its parts failed; the rest was left alone
    DONE = "done"


class RowOutcome(StrEnum):
    """The end of one row of an action."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"  # the database refused the change of this row


class SkipReason(StrEnum):
    """The reason why a row was left alone."""

    CHANGED = "changed"  # it is no longer as it was shown
    UNFIT = "unfit"  # its state needs no such action
    NOT_KEPT = "not_kept"  # what it asked for is no longer kept (``models.retention``, an erasure)
    GONE = "gone"  # it was deleted
    BEGUN = "begun"  # a retry that is to be undone has begun, or something else changed the row since


class OpsAction(Record, table=True):
    """An action of operators on many jobs and mails, with the filter that chose them, who asked and why."""

    __tablename__ = "ops_action"
    __table_args__ = (
        CheckConstraint(f"verb IN ({', '.join(repr(str(verb)) for verb in ActionVerb)})", name="verb"),
        Index("ix_ops_action_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    verb: str
    state: str = ActionState.SHOWN
    chosen_by: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # the filter
    undoes: UUID | None = None  # the action that this one takes back
    undone_by: UUID | None = None
    expected: int = 0  # rows of the set
    done: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    skipped: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    failed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    canary: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # first rows that are waited for; then 0
    rate: int | None = None  # rows a minute; None: as fast as it goes
    reason: str = Field(default="", sa_column_kwargs={"server_default": ""})
    asked_by: str
    note: str = Field(default="", sa_column_kwargs={"server_default": ""})  # why it waits or was stopped
    created_at: datetime = instant(default_now=True)
    confirmed_at: datetime | None = instant(nullable=True)
    due_at: datetime | None = instant(nullable=True)  # of its next part, while it runs
    finished_at: datetime | None = instant(nullable=True)


class OpsActionRow(Record, table=True):
    """One job or mail of an action, as it was when it was shown, and its end."""

    __tablename__ = "ops_action_row"
    __table_args__ = (Index("ix_ops_action_row_left", "action_id", "row_id", postgresql_where=text("outcome IS NULL")),)

    action_id: UUID = Field(primary_key=True)
    row_id: UUID = Field(primary_key=True)
    ledger: str  # `job` or `email`: the table `row_id` is in
    state: str
    claim: int
    ended_at: datetime | None = instant(nullable=True)  # its `finished_at`
    dismissed_at: datetime | None = instant(nullable=True)
    outcome: str | None = None
    why: str | None = Field(default=None, sa_type=Text)  # why it was skipped, or the class of the error
    before: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # what an undo puts back
    acted_at: datetime | None = instant(nullable=True)


REASON_FROM: Final = 10
"""Rows from which an action needs a reason."""

TYPED_FROM: Final = 1_000
"""Rows from which their number has to be typed to confirm an action."""

SHOWN_FOR: Final = timedelta(hours=1)
"""A set that was shown may be confirmed for this long."""

MOST_ROWS: Final = 100_000
"""Rows of an action; those beyond are left for the next one."""

PART: Final = 1_000
"""Rows of a transaction."""

CANARY: Final = 20
"""Rows that are retried first, if there are more."""

CANARY_SECONDS: Final = 2.0
"""Seconds between two looks at the first rows."""

PARTS_A_MINUTE: Final = 12
"""Parts into which a minute of a limited rate is cut."""

LONGEST_PAUSE: Final = 60.0
"""Seconds between two parts at most: those of one row a minute."""

RETRY_SECONDS: Final = 30.0
"""Seconds before a part that failed is tried again."""

MOST_FAILURES: Final = 5
"""Failures of its parts in a row that stop an action."""

_FAILED_BEFORE: Final = re.compile(r"failed (\d+) times?: ")


class PartOfAction(NamedTuple):
    """The next rows of an action, and the seconds before those that follow."""

    size: int
    seconds: float


def next_part(rate: int | None) -> PartOfAction:
    """Returns how many rows come next, and how long those after them wait.

    Parameters:
      rate: rows a minute; None: as fast as it goes.
    """
    if rate is None:
        return PartOfAction(PART, 0.0)
    size = min(PART, max(1, rate // PARTS_A_MINUTE))
    return PartOfAction(size, 60.0 * size / rate)


def judge_canary(*, waiting: int, ill: int, size: int) -> Literal["wait", "go_on", "stop"]:
    """Returns what the first rows of a retry say about the others.

    Parameters:
      waiting: first rows that are not done yet.
      ill: first rows of which an attempt failed again.
      size: the number of first rows that were retried.
    """
    if ill and 2 * ill >= size:
        return "stop"
    return "wait" if waiting else "go_on"


class FailedPart(NamedTuple):
    """The note of an action after a part of it failed, and its end, if it ends."""

    note: str
    stops: bool


def after_failure(note: str, error: str, *, transient: bool) -> FailedPart:
    """Returns how an action goes on after a part of it failed; its note counts the failures in a row.

    Parameters:
      note: the note of the action so far; a part that succeeds writes another one.
      error: the class of the error.
      transient: the database could not do it now; that is never a reason to stop.
    """
    if transient:
        return FailedPart(f"waits for the database: {error}", stops=False)
    before = _FAILED_BEFORE.match(note)
    failures = 1 + (int(before[1]) if before else 0)
    said = f"failed {failures} time{'s' if failures > 1 else ''}: {error}"
    stops = failures >= MOST_FAILURES
    return FailedPart(f"stopped: {said}" if stops else said, stops)


def needs_reason(expected: int) -> bool:
    return expected >= REASON_FROM
