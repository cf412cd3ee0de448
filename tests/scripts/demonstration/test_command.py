"""scripts/demo before its start: a data folder of another user. tests/acceptance tests the rest."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.demonstration.run import demonstrate
from scripts.embedded.places import SHORT_ROOT
from workers.cli.edge import console


@pytest.fixture
def var() -> Iterator[Path]:
    """Creates a data folder that all users may enter and only root may write."""
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-demo-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["rm", "-r", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_the_data_of_another_user_is_told_in_a_line(var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.setresuid(65534, 65534, 0)
    try:
        code = demonstrate(console(), var / "logs" / "processes.log", check=True, within=60)
    finally:
        os.setresuid(0, 0, 0)
    assert (code, capsys.readouterr().err) == (
        1,
        f"{var} belongs to root: remove it or set MATRICULE_VAR to a folder of your own.\n",
    )
