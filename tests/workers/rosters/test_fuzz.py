"""A short run of the fuzzer (scripts/fuzz is the long one): no byte sequence crashes or blocks the reader."""

import importlib.util
import os
import subprocess

import pytest

from tests.kit.processes.support import PROJECT

SECONDS = 12


def test_no_bytes_crash_or_hang_the_reader() -> None:
    if importlib.util.find_spec("atheris") is None and "MATRICULE_CI" not in os.environ:
        pytest.skip("atheris has no build for this system")
    found = subprocess.run(
        [PROJECT / "scripts" / "fuzz", str(SECONDS)], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr[-4_000:]
    assert "Done" in found.stderr, found.stderr[-2_000:]
