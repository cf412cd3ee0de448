"""Tests that use a program of the system are skipped where it is lacking, and fail when CI runs them."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from scripts.system_tools import TOOLS, cure, lacking

SKIPPED: Final = "this system lacks "
NAMES: Final = {tool.name for tool in TOOLS}


def need(*names: str) -> None:
    """Checks that these programs and libraries are there.

    Raises:
      pytest.skip.Exception: one is lacking; in CI the test fails instead.
    """
    assert NAMES.issuperset(names), f"not in scripts/system_tools.py: {NAMES.symmetric_difference(names)}"
    found = lacking(names)
    if not found:
        return
    reason = f"{SKIPPED}{', '.join(tool.name for tool in found)}: {cure(found)}"
    if "MATRICULE_CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def told_of_skipped(reports: Iterable[pytest.TestReport]) -> str:
    """Returns a line with the number of tests skipped for a lacking program, and the cure; empty if there are none."""
    reasons = [str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)]
    wanting = [reason for reason in reasons if SKIPPED in reason]
    found = [tool for tool in TOOLS if any(tool.name in reason for reason in wanting)]
    return f"{len(wanting)} tests were skipped; for all of them: {cure(found)}" if wanting else ""


def run(program: str, *arguments: str | Path, given: bytes | None = None) -> str:
    """Runs a program of the system, which must succeed, and returns its output."""
    need(program)
    done = subprocess.run([program, *arguments], input=given, capture_output=True, check=True)
    return done.stdout.decode()
