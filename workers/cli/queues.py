"""Lists queues, pauses one or lanes of it, and lets it go on."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, NoReturn

import typer

from models.label import clean_reason
from models.queue_pause import LONGEST_PAUSE, PauseRefusal
from models.words import Code
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, INVALID, LIST_CODES, REFUSED, command_app, edge, fail, print_json
from workers.cli.options import AsJson, duration, is_called_alone, planned_moment
from workers.cli.status import age, number
from workers.database import transaction
from workers.engine.broker import wake
from workers.ops.capped import CAPS, read_by_index
from workers.ops.pauses import PauseTarget, pause_queue, read_pauses, resume_queue
from workers.ops.queue_counts import count_queues
from workers.requests.queues import Queue

HELP: Final = f"""List queues, pause one or lanes of it, let it go on.

With what waits and runs now, the age of what has been due longest, and who paused what until when (UTC).

{LIST_CODES}"""

CODES: Final = f"""\b
Exit codes:
   0  done
   1  refused, nothing was changed; with --json `answer` is the code:
      unknown_queue, no_lanes, unknown_lane, past_end, too_long, not_paused
   2  wrong use of the command
  65  a reason that names an address; nothing was changed
{COMMON_CODES}
"""

PAUSE: Final = f"""Pause a queue, or lanes of it, until a moment that is a week away at most.

What runs is finished, and requests are accepted as before; what waits is not begun. The pause ends by itself. A pause
of the same that is in force is replaced, so that it can be extended. A lane is a contract on enrollments and rosters, a
company on emails and emails_bulk. Webhooks are not paused so: their portal disables an endpoint.
The audit trail keeps your name and the reason.

\b
  matricule queues pause emails_bulk --for 2h --reason "relay is repaired"
  matricule queues pause rosters --lane C-1 --for 3d --reason "asked by phone"

{CODES}"""

RESUME: Final = f"""End a pause of a queue, or of lanes of it; its consumers are woken at once.

A pause of the whole queue and those of its lanes are ended apart. The audit trail keeps your name and the reason.

{CODES}"""

REFUSALS: Final = {
    PauseRefusal.UNKNOWN_QUEUE: f"no such queue: {', '.join(Queue)}",
    PauseRefusal.NO_LANES: "only enrollments and rosters (contracts), emails and emails_bulk (companies) have lanes",
    PauseRefusal.UNKNOWN_LANE: "the portal has no such contract, or company on a queue of mails: see --portal",
    PauseRefusal.PAST_END: "the pause would be over already",
    PauseRefusal.TOO_LONG: f"a pause lasts {LONGEST_PAUSE.days} days at most: extend it then",
    PauseRefusal.NOT_PAUSED: "it is not paused, or not as a whole: matricule queues",
}

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="of jobs or of mails")]
Lane = Annotated[
    list[str] | None, typer.Option(metavar="REFERENCE", help="only this contract, or company of mails; repeatable")
]
Portal = Annotated[str, typer.Option(metavar="NAME", help="the portal that the references belong to")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")]

app = command_app()


@app.callback(invoke_without_command=True, help=HELP)
def main(context: typer.Context, *, as_json: AsJson = False) -> None:
    if not is_called_alone(context):
        return
    with edge(), transaction() as session:
        read_by_index(session)
        counts, pauses = count_queues(session, CAPS).counts, read_pauses(session, CAPS)
    rows = [
        {"queue": queue} | one.as_json() | {"pauses": [pause for pause in pauses if pause["queue"] == queue]}
        for queue, one in counts.items()
    ]
    for row in rows:
        del row["dead"]  # counted by `status`, in groups
    if as_json:
        print_json(rows)
    else:
        _print(rows)


@app.command(help=PAUSE)
def pause(
    queue: Name,
    *,
    lane: Lane = None,
    portal: Portal = "local",
    lasting: Annotated[
        timedelta | None, typer.Option("--for", parser=duration, metavar="TIME", help="30min, 2h or 3d")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=planned_moment, metavar="WHEN", help="2027-03-01T08:30, UTC")
    ] = None,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    end = lasting if lasting is not None else until
    if end is None or (lasting is not None and until is not None):
        raise typer.BadParameter("a pause has one end: --for TIME or --until WHEN")
    target, kept = PauseTarget(queue, lane or (), portal), _checked(reason)
    with edge(), transaction() as session:
        answer = pause_queue(session, target, end=end, requested_by=asker(), reason=kept)
    if isinstance(answer, PauseRefusal):
        _refuse(answer, as_json=as_json)
    if as_json:
        print_json({"answer": "paused", "queue": queue, "lanes": list(lane or ()), "until": answer})
    else:
        print(f"paused until {answer:%Y-%m-%d %H:%M:%S %Z}; what runs is finished")


@app.command(help=RESUME)
def resume(
    queue: Name, *, lane: Lane = None, portal: Portal = "local", reason: Reason, as_json: AsJson = False
) -> None:
    target, kept = PauseTarget(queue, lane or (), portal), _checked(reason)
    with edge():
        with transaction() as session:
            refused = resume_queue(session, target, requested_by=asker(), reason=kept)
        if refused is None:
            wake(queue)
    if refused is not None:
        _refuse(refused, as_json=as_json)
    if as_json:
        print_json({"answer": "resumed", "queue": queue, "lanes": list(lane or ())})
    else:
        print("goes on")


def _checked(reason: str) -> str:
    kept = clean_reason(reason)
    if isinstance(kept, Code):
        fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    return kept


def _refuse(refusal: PauseRefusal, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"answer": refusal})
    fail(REFUSED, REFUSALS[refusal])


def _print(rows: list[dict[str, Any]]) -> None:
    headings = ("queue", "waiting", "running", "oldest", "paused", "until (UTC)", "by", "why")
    lines: list[tuple[object, ...]] = []
    for row in rows:
        reached = row.get("at_least", ())
        counted = [number(row[key], at_least=key in reached) for key in ("waiting", "running")]
        first = (row["queue"], *counted, age(row["oldest_due_seconds"]))
        pauses = [_cells(one) for one in row["pauses"]] or [(None,) * 4]
        lines += [(*first, *pauses[0]), *((None,) * 4 + cells for cells in pauses[1:])]
    print_columns(headings, lines)


def _cells(one: dict[str, Any]) -> tuple[object, ...]:
    until = f"{datetime.fromisoformat(one['until']):%Y-%m-%d %H:%M}"
    whole = one["reference"] is None
    what = "whole" if whole else f"{one['reference']} ({number(one['waiting'], at_least='at_least' in one)} waiting)"
    return (what, until, one["paused_by"], one["reason"])
