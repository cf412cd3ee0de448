"""The page of errors: what gave up, by its error, with the last 24 hours and the people who are hit."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.label import names_address
from models.ops_action import ActionVerb
from workers.console.access.visitor import Reader
from workers.console.filters import command_of, query_of, said
from workers.console.view import in_transaction, page, table
from workers.ops.capped import CappedNumber
from workers.ops.row_filter import RowFilter
from workers.ops.trouble_groups import HOURS, ErrorGroup, list_error_groups

router = APIRouter()

WINDOWS: Final = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
"""The windows of the page by their names in the address; without one everything is counted."""

COLUMNS: Final = (
    *("ledger", "trouble", "rows", "at_least", "people", "contracts", "first_at", "last_at", "queues", "kinds"),
    *("new_in", "last_24_hours"),
)

_SHOWN: Final = 60


class ShownGroup(NamedTuple):
    """An error on the page.

    Parameters:
      parts: its class, and the rest of it.
      may_act: its text can be kept with an action.
      commands: the command for each thing that can be done.
    """

    group: ErrorGroup
    parts: tuple[str, str]
    may_act: bool
    commands: dict[str, str]


@router.api_route("/ops/errors", methods=["GET", "HEAD"], response_model=None)
async def show_errors(request: Request, visitor: Reader) -> Response:
    """Groups what gave up by its error; ``?queue=`` leaves out the errors that a queue does not have."""
    window = said(query_of(request), "window")
    since = datetime.now(UTC) - WINDOWS[window] if window in WINDOWS else None
    queue = said(query_of(request), "queue")
    found = await in_transaction(list_error_groups, since=since)
    groups = [one for one in found.groups if not queue or queue in one.queues]
    if (answer := table(request, visitor, "errors", COLUMNS, [_exported(one) for one in groups])) is not None:
        return answer
    shown = [_shown(one) for one in groups[:_SHOWN]]
    new = [one for one in shown if one.group.new_in]
    return await page(
        request,
        visitor,
        "errors.html",
        new=new,
        known=[one for one in shown if not one.group.new_in],
        release=found.release,
        total=CappedNumber.total([one.rows for one in groups]),
        troubles=len(groups),
        cut=found.cut or len(groups) > _SHOWN,
        queue=queue,
        window=window if window in WINDOWS else "",
        windows=list(WINDOWS),
        hours=HOURS,
        hit=_hit(new),
    )


def _shown(group: ErrorGroup) -> ShownGroup:
    first, *rest = [part for part in group.trouble.split("|") if part] or [""]
    wanted = RowFilter(group.ledger, trouble=group.trouble)
    commands = {str(verb): command_of(verb, wanted) for verb in (ActionVerb.RETRY, ActionVerb.DISMISS)}
    return ShownGroup(group, (first, " ".join(rest)), not names_address(group.trouble), commands)


def _hit(shown: Sequence[ShownGroup]) -> tuple[CappedNumber, CappedNumber] | None:
    """Adds up the people and contracts that new errors hit; None when none are hit."""
    people = CappedNumber.total([one.group.people for one in shown if one.group.people])
    contracts = CappedNumber.total([one.group.contracts for one in shown if one.group.contracts])
    return (people, contracts) if people.number else None


def _exported(one: ErrorGroup) -> tuple[object, ...]:
    return (
        *(one.ledger, one.trouble, one.rows.number, one.rows.at_least),
        *(one.people and one.people.number, one.contracts and one.contracts.number, one.first_at, one.last_at),
        *(" ".join(one.queues), " ".join(one.kinds), one.new_in, " ".join(map(str, one.hours))),
    )
