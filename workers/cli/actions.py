"""Lists the actions of operators on many rows, shows one, stops one, undoes one."""

from typing import Annotated, Any, Final
from uuid import UUID

import typer

from models.label import clean_reason
from models.ops_action import ActionState
from models.words import Code
from workers.cli.acting import REFUSALS
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, INVALID, LIST_CODES, REFUSED, command_app, edge, fail, print_json
from workers.cli.options import AsJson, is_called_alone
from workers.database import transaction
from workers.ops.actions import ActionAnswer, ListedAction, list_actions, read_action, skipped_by_reason, stop, undo

CODES: Final = f"""\b
Exit codes:
   0  done
   1  no action has this identifier, or it is not in the right state
   2  wrong use of the command
  65  a reason is missing, or names an address; nothing was changed
{COMMON_CODES}
"""

HELP: Final = f"""List what operators did to many rows; stop it, undo it.

With --undo ID an action is undone, by the clock. A row that was dismissed or cancelled is put back exactly as it was,
and so is a retried one that has not begun. One that has begun, or that changed since, is left alone and counted as
skipped. What a portal was told of a cancelled job is not taken back. An action may be undone once, within 30 days;
when its undo was stopped, --undo ID puts back the rest.

\b
  matricule actions
  matricule actions show ID
  matricule actions stop ID --reason "wrong contract"
  matricule actions --undo ID --reason "wrong contract"

{LIST_CODES}"""

SHOW: Final = f"""Show one action: its filter, its progress, and why rows were skipped.

{CODES}"""

STOP: Final = f"""Stop an action: what was done stays done, the rest is left alone.

{CODES}"""

Action = Annotated[UUID, typer.Argument(metavar="ID", help="of the action")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")]

app = command_app()


@app.callback(invoke_without_command=True, help=HELP)
def main(
    context: typer.Context,
    *,
    undone: Annotated[UUID | None, typer.Option("--undo", metavar="ID", help="undo this action")] = None,
    reason: Reason = "",
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="at most so many")] = 20,
    as_json: AsJson = False,
) -> None:
    if not is_called_alone(context):
        return
    if undone is not None:
        _undo(undone, _cleaned(reason), as_json=as_json)
        return
    with edge(), transaction() as session:
        found = list_actions(session, limit=limit)
    if as_json:
        print_json([action._asdict() for action in found])
    elif found:
        headings = ("id", "begun (UTC)", "what", "state", "done", "skipped", "failed", "of", "by", "why")
        print_columns(headings, list(map(_line, found)))
    else:
        print("no action yet")


def _undo(action: UUID, reason: str, *, as_json: bool) -> None:
    with edge(), transaction() as session:
        answer, undoing = undo(session, action, asked_by=asker(), reason=reason)
    _end(answer)
    if as_json:
        print_json({"action": undoing, "undoes": action, "state": ActionState.RUNNING})
    else:
        print(f"begun; the clock does it: matricule actions show {undoing}")


@app.command(help=SHOW)
def show(action: Action, *, as_json: AsJson = False) -> None:
    with edge(), transaction() as session:
        found = read_action(session, action)
        left_alone = skipped_by_reason(session, action)
    if found is None:
        fail(REFUSED, REFUSALS["unknown"])
    if as_json:
        print_json(found._asdict() | {"left_alone": left_alone})
        return
    for name, value in _facts(found, left_alone).items():
        print(f"{name:>10}  {value}")


@app.command("stop", help=STOP)
def stop_action(action: Action, *, reason: Reason) -> None:
    with edge(), transaction() as session:
        answer = stop(session, action, asked_by=asker(), reason=_cleaned(reason))
    _end(answer)
    print("stopped: what was done stays done, the rest is left alone")


def _end(answer: ActionAnswer) -> None:
    if answer != "done":
        fail(INVALID if answer == "no_reason" else REFUSED, REFUSALS[answer])


def _cleaned(reason: str) -> str:
    kept = clean_reason(reason) if reason else ""
    if isinstance(kept, Code):
        fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    return kept


def _line(action: ListedAction) -> tuple[object, ...]:
    begun = f"{action.confirmed_at:%Y-%m-%d %H:%M}" if action.confirmed_at else "-"
    counted = (action.done, action.skipped, action.failed, action.expected)
    undone = " (undone)" if action.undone_by else ""
    return (action.id, begun, action.verb, f"{action.state}{undone}", *counted, action.asked_by, action.reason or "-")


def _facts(action: ListedAction, left_alone: dict[str, int]) -> dict[str, Any]:
    alone = ", ".join(f"{count} {why}" for why, count in left_alone.items())
    facts = {
        "action": f"{action.verb} {action.undoes or ''}".strip(),
        "state": " · ".join(part for part in (action.state, action.note) if part),
        "rows": f"{action.done} done, {action.skipped} skipped, {action.failed} failed, of {action.expected}",
        "left alone": alone,
        "chosen by": ", ".join(f"{name} {value}" for name, value in (action.chosen_by or {}).items()),
        "rate": f"{action.rate} a minute" if action.rate else "",
        "asked by": action.asked_by,
        "why": action.reason,
        "undone by": action.undone_by or "",
    }
    return {name: value for name, value in facts.items() if value}
