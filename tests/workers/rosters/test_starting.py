"""A process that reads a file starts at once: each file has one of its own."""

import subprocess
import sys

import pytest

from tests.kit.processes.support import PROJECT

LOADED = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


@pytest.mark.parametrize("module", ["workers.rosters.survey_process", "workers.rosters.workbook_process"])
def test_a_process_that_reads_a_file_loads_nothing_of_the_database(module: str) -> None:
    command = [sys.executable, "-c", LOADED.format(module=module)]
    loaded = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    assert "workers" in loaded
    assert {"sqlalchemy", "sqlmodel", "psycopg", "redis", "dramatiq", "asyncio"}.isdisjoint(loaded)
