"""docs/operations.md names the processes, the problems and the schedules that there are."""

import re

from sqlalchemy import text

from tests.kit.processes.support import PROJECT
from workers.cli.status import SENTENCES
from workers.database import Session


def rows_below(heading: str) -> list[tuple[str, ...]]:
    """The rows of the first table below a heading, the first cell without its quotes."""
    page = (PROJECT / "docs" / "operations.md").read_text(encoding="utf-8")
    _, _, section = page.partition(f"\n## {heading}\n")
    table = re.findall(r"^\| `(.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    return [tuple(cell.strip("` ") for cell in line.split(" | ")) for line in table]


def test_the_page_has_the_schedules_of_the_database(session: Session) -> None:
    stored = session.execute(text("SELECT name, cron FROM schedule")).all()
    assert sorted(row[:2] for row in rows_below("Schedules")) == sorted(map(tuple, stored))


def test_the_page_has_every_line_of_the_procfile() -> None:
    procfile = (PROJECT / "Procfile").read_text(encoding="utf-8")
    assert [row[0] for row in rows_below("What runs")] == re.findall(r"^([\w-]+):", procfile, re.MULTILINE)


def test_the_page_has_every_problem_that_status_can_name() -> None:
    code = (PROJECT / "workers" / "ops" / "problems.py").read_text(encoding="utf-8")
    named = set(re.findall(r'"code": "(\w+)"', code)) | set(re.findall(r"THEN '(\w+)'", code))
    assert {row[0] for row in rows_below("Watch")} == named | set(SENTENCES)
