"""This command measures the chosen figures, or all of them, prints one table, and keeps the results when asked to."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from scripts.embedded.run import stoppable
from tests.benchmarks import (
    certificates,
    console,
    files,
    growth,
    http_door,
    idle,
    imports,
    jobs,
    latency,
    live,
    mails,
    memory,
    messages,
    ops,
    participants,
    people,
    ranges,
    resets,
    results,
    roster,
    site,
    status,
    streams,
    webhooks,
)
from tests.benchmarks.alternatives import run as alternatives
from tests.benchmarks.measure import Figure, shown
from tests.benchmarks.results import KeptRun
from tests.benchmarks.system import System, running_system
from tests.kit.processes.support import PROJECT

Benchmark = Callable[..., list[Figure]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "roster": roster.run,
    "imports": imports.run,
    "withdrawal": people.run_withdrawal,
    "progress": people.run_progress,
    "resets": resets.run,
    "jobs": jobs.run,
    "live": live.run,
    "streams": streams.run,
    "http": http_door.run,
    "participants": participants.run,
    "site": site.run,
    "latency": latency.run,
    "files": files.run,
    "memory": memory.run,
    "mails": mails.run,
    "messages": messages.run,
    "webhooks": webhooks.run,
    "certificates": certificates.run,
    "idle": idle.run,
    "growth": growth.run,
    "status": status.run,
    "ops": ops.run,
    "console": console.run,
    "alternatives": alternatives.run,
}

ON_REQUEST: Final = {"alternatives"}
"""Figures that are measured only when they are named: they install packages."""

LEGEND: Final = (
    "A value without a unit is a ratio: our rate / the rate of the limit just before and after. `each` has a line"
    " for each alternation, their median counts.\nCPU is per piece of work, in milliseconds, by kind of process."
)

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"some of: {', '.join(BENCHMARKS)}")] = None,
    short: Annotated[bool, typer.Option("--short", help="small sizes, once each, no verdict: does it run?")] = False,
    json: Annotated[
        Path | None, typer.Option(help="write machine, versions and every alternation to this file")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="keep the run for docs/benchmarks.md and write its tables")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="print the ranges over files of --json; measure nothing")
    ] = False,
) -> None:
    """Measures this checkout on this machine."""
    if merge:
        runs = ranges.letters(results.read([Path(name) for name in names or ()] or sorted(results.KEPT.glob("*.json"))))
        typer.echo("\n\n".join(write(runs) for write in (ranges.runs_table, ranges.figures_table, ranges.cpu_table)))
        return
    if keep and short:
        raise typer.BadParameter("a short run is not kept")
    run = _measured(chosen(names), json, short=short)
    if keep:
        run.write(results.KEPT / run.file_name)
        _rewrite_page()


def chosen(names: list[str] | None) -> list[str]:
    """Returns the figures to measure: the named ones, or all that install nothing.

    Raises: typer.BadParameter, naming what is no figure.
    """
    if unknown := set(names or ()) - set(BENCHMARKS):
        raise typer.BadParameter(f"no such figure: {', '.join(sorted(unknown))}")
    return names or [name for name in BENCHMARKS if name not in ON_REQUEST]


def _measured(names: Iterable[str], file: Path | None, *, short: bool) -> KeptRun:
    """Measures these figures. What was measured before an error is valid, so it is printed and written all the same."""
    figures: list[Figure] = []
    with stoppable(), running_system() as system:
        run = results.begin(system.versions(), short=short)
        try:
            for name in names:
                figures += _one(system, name, run)
                if file:
                    run.write(file)
        finally:
            Console(width=160).print(table(figures))
    return run


def _one(system: System, name: str, run: KeptRun) -> list[Figure]:
    began, load = time.monotonic(), results.load()
    figures = BENCHMARKS[name](system, short=run.short)
    seconds = time.monotonic() - began
    run.add(figures, seconds=seconds, load=(load, results.load()))
    for figure in figures:  # a run that is stopped has printed its figures so far
        typer.echo(
            f"{figure.name}: {shown(figure.result, figure.unit)} {figure.verdict}, after {seconds:.0f} s", err=True
        )
    return figures


def _rewrite_page() -> None:
    """Writes the tables of docs/benchmarks.md anew from all kept runs."""
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "tests/docs/test_benchmarks_page.py", "--rewrite"],
        cwd=PROJECT,
        check=True,
    )


def table(figures: Iterable[Figure]) -> Table:
    """Builds a table with each figure's goal, the value of each alternation, the median, the verdict and absolute
    figures.
    """
    grid = Table(show_lines=True, caption=LEGEND, caption_justify="left")
    for heading in ("figure", "goal", "each", "median", "verdict", "absolute"):
        width = 26 if heading == "figure" else None
        grid.add_column(heading, overflow="fold", no_wrap=heading in {"goal", "median", "verdict"}, max_width=width)
    for figure in figures:
        rates = {name: " / ".join(f"{rate:,.0f}" for rate in found) for name, found in figure.rates.items()}
        absolute = "\n".join(f"{name}: {value}" for name, value in {**rates, **figure.facts}.items())
        each = "\n".join(shown(value, figure.unit) for value in figure.values)
        grid.add_row(figure.name, figure.goal, each, shown(figure.result, figure.unit), figure.verdict, absolute)
    return grid


if __name__ == "__main__":
    app()
