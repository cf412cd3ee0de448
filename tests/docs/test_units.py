"""docs/ops/systemd has a unit for each line of the Procfile, which systemd reads, and which has time to stop."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.embedded.procfile import RELEASE, parse_procfile
from tests.kit import system
from tests.kit.processes.support import PROJECT

UNITS = PROJECT / "docs" / "ops" / "systemd"
COMMON = UNITS / "matricule-.service.d" / "common.conf"
PROGRAMS = "/opt/matricule/bin"

EXPOSURE = 20
"""Tenths of the points by which systemd counts what a unit may still do; 96 is a unit without any limits."""


def setting(file: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)


def unit(name: str) -> Path:
    return UNITS / f"matricule-{name}.service"


def lines() -> Iterator[tuple[str, list[str], str]]:
    """Yields each line of the Procfile: its name, its environment, its command."""
    for line in parse_procfile((PROJECT / "Procfile").read_text(encoding="utf-8")):
        given = re.match(r"(?:[A-Z_]+=\S+ )*", line.command)
        assert given
        yield line.name, given[0].split(), line.command.removeprefix(given[0])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Returns a folder with the units, of which the programs are there."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("matricule", "dramatiq"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    for file in folder.glob("*.service"):
        file.write_text(file.read_text(encoding="utf-8").replace(PROGRAMS, str(programs)), encoding="utf-8")
    return folder


def test_there_is_a_unit_for_each_line_and_no_other() -> None:
    assert {file.name for file in UNITS.glob("*.service")} == {unit(name).name for name, _, _ in lines()}


def test_a_unit_starts_the_command_of_its_line_in_its_environment() -> None:
    for name, environment, command in lines():
        assert setting(unit(name), "ExecStart") == [f"{PROGRAMS}/{command}"], name
        assert setting(unit(name), "Environment") == environment, name


def test_what_dies_is_started_again_and_the_release_runs_once_before() -> None:
    for name, _, _ in lines():
        kept = [setting(unit(name), key) for key in ("Type", "Restart", "After")]
        always = [["exec"], ["always"], [unit(RELEASE).name]]
        assert kept == ([["oneshot"], [], []] if name == RELEASE else always), name
        assert setting(unit(name), "WantedBy") == ["matricule.target"], name
    assert setting(COMMON, "StartLimitIntervalSec") == ["0"]


def test_a_process_gets_the_time_it_needs_to_stop() -> None:
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    [needed] = re.findall(r"at least\s+(\d+) seconds to stop", page)
    [given] = setting(COMMON, "TimeoutStopSec")
    assert int(given) > int(needed)
    assert setting(COMMON, "KillMode") == ["mixed"]  # a second SIGTERM makes a dramatiq process drop its work


def faults(folder: Path) -> str:
    """Returns the words of systemd about the units in this folder."""
    system.need("systemd-analyze")
    units = [*sorted(folder.glob("*.service")), folder / "matricule.target"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    return done.stderr


def test_systemd_finds_no_fault_in_the_units(installed: Path) -> None:
    assert faults(installed) == ""


@pytest.mark.parametrize(
    ("right", "wrong"), [("Restart=always", "Restart=often"), ("bin/dramatiq", "bin/celery"), ("[Service]", "[Job]")]
)
def test_systemd_would_find_one(installed: Path, right: str, wrong: str) -> None:
    file = installed / unit("worker").name
    file.write_text(file.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    assert "matricule-worker.service" in faults(installed)


def test_a_process_may_do_little_beside_its_work(installed: Path) -> None:
    limit = f"--threshold={EXPOSURE}"
    for name, _, _ in lines():
        system.run("systemd-analyze", "security", "--offline=yes", "--no-pager", limit, installed / unit(name).name)
