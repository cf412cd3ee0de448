"""The command: `scripts/chaos --minutes 15 --seed 7`."""

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from scripts.embedded.places import MissingPart, UnsafePlace
from scripts.embedded.processes import StartFailed
from scripts.embedded.run import stoppable
from tests.chaos.harness import report
from tests.chaos.harness.plan import KINDS, PAUSES, PlannedFault, draw_plan, read_plan
from tests.chaos.harness.run import Orders, carry_out

HELP: Final = f"""Real processes under a storm of faults, then a check that nothing was lost, doubled or oversold.

Clients ask under keys and repeat until they are answered; faults are drawn from the seed and told as they happen. After
the storm everything is healed, and what is owed must end by itself. The folder of the run keeps the history, the plan
of faults, the output of the processes and the violations.

scripts/chaos kills [ARGUMENTS OF PYTEST] runs the tests of kills in their long form.

\b
Faults: {", ".join(kind.name for kind in KINDS)}.
Groups of faults: {", ".join(PAUSES)}.

\b
Exit codes:
    0  clean
    1  a promise was broken
    2  wrong use of the command
   77  cannot run on this machine
  {report.STOPPED}  stopped by Ctrl-C or a signal
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _plan(minutes: float, seed: int, without: list[str], replay: Path | None) -> list[PlannedFault]:
    known = {kind.name for kind in KINDS} | set(PAUSES)
    unknown = set(without) - known
    if unknown:
        raise typer.BadParameter(f"no such fault: {', '.join(sorted(unknown))}")
    if replay is None:
        return draw_plan(seed, minutes * 60, without)
    return [fault for fault in read_plan(replay) if fault.name not in without]


@app.command(help=HELP)
def main(
    *,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="how long the storm lasts; with --replay as long as its plan")
    ] = 2.0,
    seed: Annotated[int | None, typer.Option(help="of everything that is drawn; random if not given")] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="NAME", help="leave out a fault or a group")] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, help="take the faults of an earlier run from its plan.jsonl"),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="the folder of the run; a new one in /var/tmp by default")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the verdict as the last line, in JSON")] = False,
) -> None:
    """Runs the storm and judges it."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    plan = _plan(minutes, seed, without or [], replay)
    seconds = max((fault.at + fault.seconds + 1 for fault in plan), default=0.0) if replay else minutes * 60
    orders = Orders(_new_folder(folder, seed), seed, seconds, plan)
    _tell(f"seed {seed}, folder {orders.folder}")
    code, verdict = _carried_out(orders)
    print(json.dumps(verdict) if as_json else ", ".join(f"{name} {value}" for name, value in verdict.items()))
    raise typer.Exit(code)


def _new_folder(folder: Path | None, seed: int) -> Path:
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise typer.BadParameter(f"{folder} is not empty")
    place = folder or Path(tempfile.mkdtemp(dir="/var/tmp", prefix=f"matricule-storm-{seed}-"))
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o755)
    return place


def _carried_out(orders: Orders) -> tuple[int, dict[str, object]]:
    """Returns the exit code and the verdict of a run."""
    ended = report.STOPPED, report.not_judged(orders.seed, "stopped")
    try:
        with stoppable():
            outcome = carry_out(orders, _tell)
            report.write(outcome, sys.stderr)
            ended = report.VIOLATED if outcome.violations else report.CLEAN, report.verdict(outcome)
    except (MissingPart, UnsafePlace, StartFailed) as error:
        _tell(f"cannot run here: {error}")
        return report.CANNOT_RUN, report.not_judged(orders.seed, "cannot_run")
    return ended


if __name__ == "__main__":
    app(prog_name="scripts/chaos")
