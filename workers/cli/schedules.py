"""Lists schedules, runs one now, pauses it and lets it go on."""

from typing import Annotated, Final

import typer
from sqlmodel import select

from models.label import clean_reason
from models.schedule import Schedule
from models.words import Code
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, INVALID, LIST_CODES, REFUSED, command_app, edge, fail, print_json
from workers.cli.options import AsJson
from workers.database import transaction
from workers.ops.schedules import Verb, change_schedule

LIST: Final = f"""List the schedules, with their next and last run (UTC).

{LIST_CODES}"""

CODES: Final = f"""\b
Exit codes:
   0  done, or so already
   1  no schedule has this name, or it is paused; nothing was changed
   2  wrong use of the command
  65  a reason that names an address; nothing was changed
{COMMON_CODES}
"""

RUN: Final = f"""Run a schedule now: the clock that leads does so within a second.

Its next run by the clock is as planned. The audit trail keeps your name and the reason.

{CODES}"""

PAUSE: Final = f"""Pause a schedule, until it is resumed.

The audit trail keeps your name and the reason.

{CODES}"""

RESUME: Final = f"""Let a paused schedule go on, at its next time.

What it missed is not made up; run it for that. The audit trail keeps your name and the reason.

{CODES}"""

SAID: Final = {
    ("run", "done"): "the clock runs it now",
    ("pause", "done"): "paused",
    ("resume", "done"): "goes on at its next time",
    ("pause", "so_already"): "paused already: nothing was changed",
    ("resume", "so_already"): "not paused: nothing was changed",
}

REFUSALS: Final = {
    "unknown": "no schedule has this name: matricule schedules list",
    "paused": "it is paused: resume it first",
    "unreadable": "its cron expression cannot be read",
}

Name = Annotated[str, typer.Argument(metavar="NAME", help="of the schedule")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")]

app = command_app()


@app.command("list", help=LIST)
def list_schedules(*, as_json: AsJson = False) -> None:
    with edge(), transaction() as session:
        found = session.exec(select(Schedule).order_by(Schedule.name)).all()
        rows = [
            one.model_dump(include={"name", "cron", "kind", "next_run_at", "last_run_at", "paused"}) for one in found
        ]
    if as_json:
        print_json(rows)
        return
    headings = ("name", "when", "next (UTC)", "last (UTC)", "kind")
    print_columns(headings, [(*_when(row), row["kind"]) for row in rows])


def _when(row: dict[str, object]) -> tuple[object, ...]:
    moments = [f"{row[name]:%Y-%m-%d %H:%M}" if row[name] else "-" for name in ("next_run_at", "last_run_at")]
    return (row["name"], row["cron"], "paused" if row["paused"] else moments[0], moments[1])


@app.command(help=RUN)
def run(name: Name, *, reason: Reason) -> None:
    _change(name, "run", reason)


@app.command(help=PAUSE)
def pause(name: Name, *, reason: Reason) -> None:
    _change(name, "pause", reason)


@app.command(help=RESUME)
def resume(name: Name, *, reason: Reason) -> None:
    _change(name, "resume", reason)


def _change(name: str, verb: Verb, reason: str) -> None:
    kept = clean_reason(reason)
    if isinstance(kept, Code):
        fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    with edge(), transaction() as session:
        answer = change_schedule(session, name, verb, requested_by=asker(), reason=kept)
    if answer in REFUSALS:
        fail(REFUSED, REFUSALS[answer])
    print(SAID[verb, answer])
