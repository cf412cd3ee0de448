"""Renders one line very many times in one process, with the renderer and threads of a worker, to find slow faults.

Typst numbers its files with 16 bits and panics at the 65,536th: a worker would stop making certificates from one day
on, until an operator restarts it. The soak also shows memory leaks, and objects of a compiler that another thread uses.
"""

import gc
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from workers.documents.renderer import NotRendered, RenderFolder

COUNT: Final = 70_000
THREADS: Final = 2
"""The same number as in the lines `certificates` of the Procfile."""

MOST_MEGABYTES: Final = 10.0
"""The most that memory may grow after the warm-up, because the allocator keeps some."""

MOMENT: Final = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
NAME: Final = "line"
TEMPLATE: Final = """
#let d = json(bytes(sys.inputs.data))
#set document(title: d.line)
#set text(lang: "fr", font: "Noto Sans")
#d.line
"""


@dataclass
class Report:
    """The observed values.

    Parameters:
      troubles: the number of errors of each kind, also of those Python can only print.
      megabytes: the memory of the process, read from the end of the warm-up on.
    """

    made: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    megabytes: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def findings(self, count: int) -> list[str]:
        """Returns one sentence for each fault; none if all is well."""
        found = [f"{times} times: {what}" for what, times in self.troubles.items()]
        if self.made != count:
            found.append(f"{self.made} documents of {count} were made")
        growth = self.megabytes[-1] - self.megabytes[0]
        if growth > MOST_MEGABYTES:
            found.append(f"memory grew by {growth:.1f} MB, over {MOST_MEGABYTES:.0f}")
        return found


@contextmanager
def one_line() -> Iterator[RenderFolder]:
    """Yields the renderer of the workers with a template of one line."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{NAME}.typ").write_text(TEMPLATE, encoding="utf-8")
        room = RenderFolder(Path(folder))
        try:
            yield room
        finally:
            room.close()


def soak(room: RenderFolder, count: int, warm: int) -> Report:
    """Renders this many documents with different words, after an uncounted warm-up."""
    report, numbers = Report(), iter(range(-warm, count))
    with _all_errors(report.troubles):
        began = time.monotonic()
        threads = [threading.Thread(target=_work, args=(room, numbers, count, report)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del threads  # their objects are dropped, in any thread
        report.megabytes.append(memory())
        report.seconds = time.monotonic() - began
    return report


def _work(room: RenderFolder, numbers: Iterator[int], count: int, report: Report) -> None:
    for number in numbers:  # all threads share one iterator, so each number is used once
        if number >= 0 and number % max(1, count // 10) == 0:
            report.megabytes.append(memory())
        try:
            made = room.compile(NAME, {"line": f"Attestation n° {number} de Zoé Müller"}, MOMENT)
        except NotRendered as error:
            report.troubles[f"{error} ({error.__cause__!r:.100})"] += 1
            continue
        if made.startswith(b"%PDF-"):
            report.made += number >= 0


def memory() -> float:
    """Returns the memory of this process in MB, after a garbage collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _all_errors(troubles: Counter[str]) -> Iterator[None]:
    """Also counts errors that no code can catch: those that end a thread, and those during the drop of an object."""

    def count(said: Any) -> None:
        troubles[f"{said.exc_type.__name__}: {said.exc_value}"] += 1

    before = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = threading.excepthook = count
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook, threading.excepthook = before


def run(
    count: Annotated[int, typer.Argument(min=10, help="documents to be rendered")] = COUNT,
    warm: Annotated[int, typer.Option(min=0, help="documents before these, which do not count")] = 1_000,
) -> None:
    """Render one line COUNT times in one process, as the workers do; exit code 1 if anything is wrong."""
    with one_line() as room:
        report = soak(room, count, warm)
    typer.echo(f"{report.made:,} documents by {THREADS} threads in {report.seconds:,.0f} s")
    typer.echo(f"memory from warm to the end: {' '.join(f'{value:.1f}' for value in report.megabytes)} MB")
    found = report.findings(count)
    typer.echo("\n".join(found) or "no panic, no error of a thread, no leak")
    raise typer.Exit(bool(found))
