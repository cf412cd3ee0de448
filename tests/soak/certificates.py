"""Renders one line very many times in one process, by the renderer and threads of a worker: what breaks after weeks.

Typst numbers the files it meets with 16 bits and panics when they are used up, at 65,535: in a worker that would be
certificates that cannot be made from one day on, until somebody restarts it. Memory that is never given back shows as
well, and objects of a compiler that another thread touches.
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
"""As in the lines `certificates` of the Procfile."""

MOST_MEGABYTES: Final = 10.0
"""How much more memory there may be at the end than once warm: what the allocator keeps for itself."""

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
    """What was seen.

    Parameters:
      troubles: how often each kind of error came, also those Python can only print.
      megabytes: memory of the process, read from when it was warm to the end.
    """

    made: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    megabytes: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def findings(self, count: int) -> list[str]:
        """What is wrong, a sentence each; nothing if all is well."""
        found = [f"{times} times: {what}" for what, times in self.troubles.items()]
        if self.made != count:
            found.append(f"{self.made} documents of {count} were made")
        growth = self.megabytes[-1] - self.megabytes[0]
        if growth > MOST_MEGABYTES:
            found.append(f"memory grew by {growth:.1f} MB, over {MOST_MEGABYTES:.0f}")
        return found


@contextmanager
def one_line() -> Iterator[RenderFolder]:
    """The renderer of the workers with a template of one line."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{NAME}.typ").write_text(TEMPLATE, encoding="utf-8")
        room = RenderFolder(Path(folder))
        try:
            yield room
        finally:
            room.close()


def soak(room: RenderFolder, count: int, warm: int) -> Report:
    """Renders so many documents with different words, after so many more that do not count."""
    report, numbers = Report(), iter(range(-warm, count))
    with _all_errors(report.troubles):
        began = time.monotonic()
        threads = [threading.Thread(target=_work, args=(room, numbers, count, report)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del threads  # what they made is dropped, by whichever thread drops it
        report.megabytes.append(memory())
        report.seconds = time.monotonic() - began
    return report


def _work(room: RenderFolder, numbers: Iterator[int], count: int, report: Report) -> None:
    for number in numbers:  # of one iterator, so that each is taken once
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
    """What this process holds now, in MB, after whatever Python can give back."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def _all_errors(troubles: Counter[str]) -> Iterator[None]:
    """Counts also the errors nobody can catch: what ends a thread, and what happens while an object is dropped."""

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
