"""Has a process take nothing new, and lets it take work again."""

import time
from collections.abc import Sequence
from typing import Annotated, Final, NoReturn

import typer

from models.label import clean_reason
from models.words import Code
from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, UNFINISHED, command_app, edge, fail, print_json
from workers.cli.options import AsJson, WaitCommand
from workers.cli.status import plain
from workers.database import transaction
from workers.ops.draining import (
    DrainRefusal,
    NamedProcess,
    RefusedDrain,
    drain_processes,
    read_drained,
    undo_drain,
)

LOOK_SECONDS: Final = 0.5
"""Seconds between two looks whether a process is drained."""

HELP: Final = f"""Have a process take nothing new, and finish what it holds.

PROCESS is its identifier or the first eight characters of it, HOST:PID, or HOST:KIND as matricule status shows it.
From its next heartbeat on, two seconds later, it claims and fetches nothing; what it holds is finished, and it says
when that is done. A clock gives its lead up, web answers 503 at /readyz. It lives on and is drained until --undo, or
until it is started anew; --stop has it end then, all processes of its line with it, and its supervisor starts it again.
With --all --stop those of a host and a kind end together, when each of them is drained.
Other processes take what comes. One of a release before this command does not read the order. The audit trail keeps
your name and the reason.

\b
  matricule drain host-1:emails --reason "new release" --wait 120
  matricule drain host-1:4211 --undo --reason "not today"

\b
Exit codes:
   0  told, or with --wait drained or ended
   1  refused, no process was told; with --json `answer` is the code:
      unknown_process, ambiguous, not_drained
   2  wrong use of the command
  65  a reason that names an address; no process was told
  75  not drained within the time of --wait; it goes on
{COMMON_CODES}
"""

REFUSALS: Final = {
    DrainRefusal.UNKNOWN_PROCESS: "no process that is alive has this name: matricule status --json",
    DrainRefusal.AMBIGUOUS: "several processes have this name; name one of these, or give --all:",
    DrainRefusal.NOT_DRAINED: "it is not drained",
}

app = command_app()


@app.command(help=HELP, cls=WaitCommand)
def main(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="identifier, HOST:PID or HOST:KIND")],
    *,
    every: Annotated[bool, typer.Option("--all", help="all processes with this name")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="have it end once it is drained")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="let it take work again")] = False,
    wait: Annotated[
        float | None, typer.Option(metavar="[SECONDS]", help="wait until it is drained [60]", min=0)
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")],
    as_json: AsJson = False,
) -> None:
    if undo and (stop or wait is not None):
        raise typer.BadParameter("--undo stands alone: it neither stops nor waits")
    kept = clean_reason(reason)
    if isinstance(kept, Code):
        fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    asked = {"requested_by": asker(), "reason": kept}
    with edge():
        with transaction() as session:
            answer = (
                undo_drain(session, process, every=every, **asked)
                if undo
                else drain_processes(session, process, every=every, stop=stop, **asked)
            )
        if not isinstance(answer, RefusedDrain) and not undo:
            told, left = answer, _await(answer, wait or 0.0)
    if isinstance(answer, RefusedDrain):
        _refuse(answer, as_json=as_json)
    if undo:
        _tell("undone", answer, as_json=as_json)
        return
    _tell("drained" if not _undrained(left) else "drains", told, left, as_json=as_json)
    if _undrained(left) and wait is not None:
        fail(UNFINISHED, f"not drained within {wait:g} s; it goes on")


def _await(processes: Sequence[NamedProcess], seconds: float) -> list[NamedProcess]:
    """Returns the processes as they are once all are drained or have ended, or when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        with transaction() as session:
            left = read_drained(session, processes)
        if not _undrained(left) or time.monotonic() >= deadline:
            return left
        time.sleep(min(LOOK_SECONDS, seconds))


def _undrained(processes: Sequence[NamedProcess]) -> list[NamedProcess]:
    return [one for one in processes if one.drained_at is None]


def _tell(answer: str, told: Sequence[NamedProcess], left: Sequence[NamedProcess] = (), *, as_json: bool) -> None:
    """Says what became of each process; one that has ended since is missing among those that are left."""
    now = {one.id: one for one in left}
    if as_json:
        shown = [now.get(one.id, one).as_json() | {"ended": bool(left or answer == "drained") and one.id not in now}
                 for one in told]  # fmt: skip
        print_json({"answer": answer, "processes": shown})
        return
    for one in told:
        print(f"{_named(one)}: {_said(answer, now.get(one.id))}")


def _said(answer: str, now: NamedProcess | None) -> str:
    if answer == "undone":
        return "takes work again"
    if now is None:
        return "has ended, and holds nothing"
    return "is drained" if now.drained_at else "takes nothing new, and finishes what it holds"


def _named(one: NamedProcess) -> str:
    return f"{plain(one.host)}:{one.kind} (pid {one.pid}, {one.id})"


def _refuse(refused: RefusedDrain, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"answer": refused.code, "processes": [one.as_json() for one in refused.found]})
    sentence = REFUSALS[refused.code]
    if refused.code is DrainRefusal.AMBIGUOUS:
        sentence = "\n  ".join([sentence, *map(_named, refused.found)])
    fail(REFUSED, sentence)
