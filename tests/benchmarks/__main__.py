"""This command measures the chosen figures, or all of them, and prints one table."""

import time
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from scripts.embedded.run import stoppable
from tests.benchmarks import (
    certificates,
    files,
    idle,
    imports,
    jobs,
    latency,
    live,
    mails,
    memory,
    people,
    resets,
    roster,
    status,
)
from tests.benchmarks.measure import Figure
from tests.benchmarks.system import System, running_system

Benchmark = Callable[..., list[Figure]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "roster": roster.run,
    "imports": imports.run,
    "withdrawal": people.run_withdrawal,
    "progress": people.run_progress,
    "resets": resets.run,
    "jobs": jobs.run,
    "live": live.run,
    "latency": latency.run,
    "files": files.run,
    "memory": memory.run,
    "mails": mails.run,
    "certificates": certificates.run,
    "idle": idle.run,
    "status": status.run,
}


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"some of: {', '.join(BENCHMARKS)}")] = None,
    short: Annotated[bool, typer.Option("--short", help="small sizes, once each, no verdict: does it run?")] = False,
) -> None:
    """Measures this checkout on this machine."""
    unknown = set(names or ()) - set(BENCHMARKS)
    if unknown:
        raise typer.BadParameter(f"no such figure: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    try:
        with stoppable(), running_system() as system:
            for name in names or BENCHMARKS:
                figures += _measured(system, name, short=short)
    finally:  # figures measured before an error stay valid
        Console(width=160).print(table(figures))


def _measured(system: System, name: str, *, short: bool) -> list[Figure]:
    began = time.monotonic()
    figures = BENCHMARKS[name](system, short=short)
    seconds = time.monotonic() - began
    for figure in figures:  # a run that is stopped has printed its figures so far
        typer.echo(
            f"{figure.name}: {_shown(figure.result, figure.unit)} {figure.verdict}, after {seconds:.0f} s", err=True
        )
    return figures


def table(figures: Iterable[Figure]) -> Table:
    """Builds a table with each figure's goal, the value of each alternation, the median, the verdict and absolute
    figures.
    """
    shown = Table(show_lines=True)
    for heading in ("figure", "goal", "each", "median", "verdict", "absolute"):
        shown.add_column(heading, overflow="fold", no_wrap=heading in {"goal", "median", "verdict"})
    for figure in figures:
        absolute = "\n".join(f"{name}: {value}" for name, value in figure.facts.items())
        each = "\n".join(_shown(value, figure.unit) for value in figure.values)
        shown.add_row(figure.name, figure.goal, each, _shown(figure.result, figure.unit), figure.verdict, absolute)
    return shown


def _shown(value: float, unit: str) -> str:
    return f"{value:.1f}{unit}" if unit else f"{value:.2f}"


if __name__ == "__main__":
    app()
