"""The command `scripts/bench`: what it measures is printed, and written where it is asked to."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import Verdict
from tests.benchmarks.results import read
from tests.kit.processes.support import PROJECT


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.benchmarks", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.serial
def test_a_short_run_prints_and_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "run.json"
    done = bench("--short", "live", "--json", str(file))
    assert done.returncode == 0, done.stderr
    [run] = read([file])
    live = run.figures[0]
    assert (run.short, live.name, live.verdict) == (True, "live", Verdict.NONE)
    assert [len(rates) for rates in live.rates.values()] == [1, 2]
    assert min(live.values) > 0
    assert all(word in done.stdout for word in ("live", live.goal, "sender, requests/s", "A value without a unit"))
    assert {"PostgreSQL", "Valkey"} <= set(run.versions)


def test_an_unknown_figure_is_refused_before_anything_starts() -> None:
    done = bench("lives")
    assert (done.returncode, "no such figure: lives" in done.stderr) == (2, True)


def test_a_short_run_is_never_kept() -> None:
    done = bench("--short", "--keep", "live")
    assert (done.returncode, "a short run is not kept" in done.stderr) == (2, True)


def test_files_of_other_machines_are_merged_without_measuring(tmp_path: Path) -> None:
    run = KEPT_RUN.replace("VALUE", "1.5"), KEPT_RUN.replace("VALUE", "1.25")
    files = [tmp_path / "one.json", tmp_path / "other.json"]
    for file, text in zip(files, run, strict=True):
        file.write_text(text, encoding="utf-8")
    done = bench("--merge", *map(str, files))
    assert done.returncode == 0, done.stderr
    assert "| `jobs` | 1.25 – 1.50 | ≥ 1.30 | met | AB |" in done.stdout


KEPT_RUN = """
{"at": "2026-11-30T04:00:00Z", "commit": "abc", "changed": false, "short": false, "versions": {"Python": "3.11"},
 "machine": {"cpu": "EPYC", "cores": 2, "memory_gb": 8, "kernel": "Linux"},
 "figures": [{"name": "jobs", "goal": "≥ 1.30", "unit": "", "values": [VALUE], "verdict": "met", "seconds": 1,
              "load": [[0, 0, 0], [0, 0, 0]]}]}
"""
