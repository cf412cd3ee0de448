"""The main job of Matricule in one command, on this machine, with nothing else installed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer
from rich.console import Console
from rich.text import Text

from scripts.demonstration.display import show_next, show_outcome
from scripts.demonstration.progress import ProgressLine
from scripts.demonstration.story import Story, TimeUp, WentWrong, tell
from scripts.embedded.parts import FROM_PARTS, AlreadyRunning
from scripts.embedded.places import MissingPart, UnsafePlace, default_var, permitted
from scripts.embedded.processes import StartFailed
from scripts.embedded.procfile import ReleaseFailed
from scripts.embedded.run import LocalSystem, stoppable
from workers.cli.app import run
from workers.cli.edge import REFUSED, UNFINISHED, command_app, console
from workers.database import dispose_engine
from workers.logs import configure_logs

INTERRUPTED: Final = 130
OWN_PARTS: Final = ("DATABASE_URL", "REDIS_URL", "SMTP_URL")
SHOWN_LOG_LINES: Final = 40
SHOWN_LOG_BYTES: Final = 20_000

HELP: Final = """Do the main job once, on this machine, with embedded PostgreSQL, Valkey and mailbox.

A company buys 25 seats of a training; a file of 33 lines is enrolled by one request sent on the queue; each person gets
a mail and the manager a confirmation. Shows what happened to each line, then stays up until Ctrl-C.

It starts "Gestion entreprise" too, an example portal where managers click,
and watches a folder: a file of people dropped into var/inbox is enrolled.

The data stays in var of this checkout (or MATRICULE_VAR): run again, it asks for the same under the same keys, and
nothing is doubled.

\b
Exit codes:
    0  done, and every number is what the file says
    1  something went wrong, or a number is not what the file says
   75  a demo, or scripts/dev, is running already
  130  interrupted before the end
"""

FAULTS: Final = (WentWrong, TimeUp, StartFailed, ReleaseFailed, UnsafePlace, MissingPart)

app = command_app()


@app.command(help=HELP)
def main(
    check: Annotated[bool, typer.Option("--check", help="stop at the end instead of staying up")] = False,
    within: Annotated[int, typer.Option(help="seconds until the mails must be there", min=1)] = 120,
) -> None:
    _leave_others_alone()
    raise typer.Exit(demonstrate(console(), default_var() / "logs" / "processes.log", check=check, within=within))


def demonstrate(out: Console, logs: Path, *, check: bool, within: int) -> int:
    """Starts everything, does the main job, shows it; returns the exit code and leaves nothing running."""
    code, progress = INTERRUPTED, ProgressLine(out)
    with stoppable(), ExitStack() as undo:
        try:
            lines = undo.enter_context(open_log(logs))
        except UnsafePlace as error:
            print(error, file=sys.stderr)
            return REFUSED
        began = lines.tell()
        system = LocalSystem(formation={"clock": 2}, site=True, output=lines)
        undo.callback(system.stop)
        undo.callback(dispose_engine)
        try:
            with time_limit(within):
                story = tell(system, progress)
        except AlreadyRunning as error:
            print(f"{error}: see scripts/matricule status, or stop it with Ctrl-C where it runs", file=sys.stderr)
            return UNFINISHED
        except FAULTS as error:
            out.print(Text.assemble(("✗ ", "bold red"), f"{progress.now}: {error}"))
            show_log(out, logs, began)
            return REFUSED
        undo.callback(out.print, "Stopping…")
        code = conclude(out, story, logs, began)
        if not check:
            show_next(out, story, logs)
            system.keep()
    return code


def open_log(path: Path) -> TextIO:
    """Opens the log of the processes to append to it.

    Raises: UnsafePlace when the data folder belongs to another user.
    """
    with permitted(path.parents[1]):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")


def conclude(out: Console, story: Story, logs: Path, began: int) -> int:
    """Shows the results, and each number that differs from the file."""
    show_outcome(out, story)
    if not story.differences:
        out.print("Every number is what the file says.", style="bold green")
        return 0
    for difference in story.differences:
        out.print(Text.assemble(("✗ ", "bold red"), difference))
    show_log(out, logs, began)
    return REFUSED


def show_log(out: Console, logs: Path, began: int) -> None:
    """The last lines the processes of this run wrote."""
    with logs.open("rb") as file:
        file.seek(max(began, logs.stat().st_size - SHOWN_LOG_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-SHOWN_LOG_LINES:]
    out.print(f"\nThe end of {logs}:")
    for line in lines:
        out.print(line, style="dim", soft_wrap=True)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raises TimeUp in the block when it takes longer, wherever it stands."""

    def on_alarm(*_: object) -> None:
        raise TimeUp(f"not done within {seconds} s")

    earlier = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)


def _leave_others_alone() -> None:
    """Examples belong in no database but our own, and to no relay that delivers: such settings are not used."""
    ours = os.environ.get(FROM_PARTS, "").split()
    for name in OWN_PARTS:
        if os.environ.pop(name, None) and name not in ours:
            print(f"{name} is set and not used: the demo has parts of its own", file=sys.stderr)


if __name__ == "__main__":
    configure_logs("WARNING")
    run(app, "scripts/demo")
