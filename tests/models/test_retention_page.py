"""docs/retention.md says what the program does."""

from models.retention import RETENTION
from tests.kit.processes.support import PROJECT


def test_the_page_has_every_line_of_the_table_and_no_other() -> None:
    page = (PROJECT / "docs" / "retention.md").read_text(encoding="utf-8")
    _, _, ends_by_itself = page.partition("| what | how long |")
    lines = ends_by_itself.partition("\n\n")[0].splitlines()[2:]
    told = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    assert told == [tuple(kept) for kept in RETENTION.values()]
