"""Memory must not grow with the length of a CSV file, neither in the reader nor in the worker that imports it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.imports import from_file
from tests.benchmarks.measure import Figure, Verdict
from tests.benchmarks.population import person
from tests.benchmarks.system import System
from tests.kit.processes.support import PROJECT

MOST_MEGABYTES: Final = 20
"""The extra memory that a hundred times as many rows may take, because Python's allocator keeps some."""


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures ten thousand rows, then a million in the reader and a hundred thousand in the worker."""
    few, many, imported = (1_000, 10_000, 2_000) if short else (10_000, 1_000_000, 100_000)
    with tempfile.TemporaryDirectory() as folder:
        read = [_peak_of_reading(Path(folder), count) for count in (few, many)]
    worker = [_peak_of_importing(system, count) for count in (few, imported)]
    return [
        _figure("memory, reading", read, f"{few:,} / {many:,} rows", short=short),
        _figure("memory, importing", worker, f"{few:,} / {imported:,} rows", short=short),
    ]


def _peak_of_reading(folder: Path, count: int) -> float:
    file = folder / f"{count}.csv"
    with file.open("w", encoding="windows-1252", newline="") as opened:
        opened.writelines(_lines(count))
    reading = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.reading", str(file)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    rows, megabytes = reading.stdout.split()
    if int(rows) != count:
        raise AssertionError(f"{rows} rows read of {count}")
    return float(megabytes)


def _lines(count: int) -> Iterator[str]:
    yield "Nom;Prénom;E-mail;Service\r\n"
    for number in range(count):
        one = person(number)
        yield f"{one.last_name};{one.first_name};{one.email};Atelier\r\n"


def _peak_of_importing(system: System, count: int) -> float:
    said = from_file(system, count).facts["peak memory of the worker"]
    return float(said.removesuffix(" MB").replace(",", ""))


def _figure(name: str, peaks: list[float], sizes: str, *, short: bool) -> Figure:
    few, many = peaks
    met = many - few <= MOST_MEGABYTES
    verdict = Verdict.NONE if short else Verdict.MET if met else Verdict.MISSED
    return Figure(
        name, f"≤ {MOST_MEGABYTES} MB more", (many - few,), " MB", verdict, {sizes: f"{few:.0f} / {many:.0f} MB"}
    )
