"""The import rules in pyproject.toml refuse the imports they name, also indirect ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.processes.support import PROJECT

LINT = (sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
MIGRATION = "models/migrations/versions/0001_first_tables.py"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("models", "workers", "scripts"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def add(file: Path, line: str) -> None:
    file.write_text(f"{file.read_text()}\n{line}\n")


def lint(folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    done = subprocess.run(
        [*LINT, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def test_the_rules_hold_as_the_code_stands(copy: Path) -> None:
    assert "0 broken" in lint(copy)


def test_a_rule_refuses_each_import_it_is_there_for(copy: Path) -> None:
    add(copy / MIGRATION, "from workers.database import Session")
    add(copy / "models/label.py", "from models.contract import Contract")
    add(copy / "workers/enrollment/rows.py", "from workers.ops.status import status")
    told = lint(copy)
    assert "3 broken" in told
    assert "models.migrations.versions.0001_first_tables -> workers.database" in told
    assert "workers.requests is not allowed to import sqlmodel" in told
    assert "workers.portal_client is not allowed to import sqlmodel" in told
    assert "workers.enrollment is not allowed to import workers.ops" in told


def test_the_example_portal_imports_the_client_of_portals_alone(copy: Path) -> None:
    add(copy / "scripts/portal/view.py", "from workers.database import Session")
    add(copy / "scripts/portal/routes/jobs.py", "from models.words import Code")
    told = lint(copy)
    assert "1 broken" in told
    assert "scripts.portal.view -> workers.database" in told
    assert "scripts.portal.routes.jobs -> models.words" in told
