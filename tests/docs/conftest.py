"""Compares the tables of pages with the program, or writes them anew: `scripts/test tests/docs --rewrite`."""

from collections.abc import Callable, Mapping

import pytest

from tests.kit.processes.support import PROJECT, change
from workers.ops.metrics import write_metrics
from workers.ops.snapshot import read_snapshot


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that writes the generated parts instead of comparing them."""
    parser.addoption("--rewrite", action="store_true", help="write the generated parts of docs/ instead of comparing")


@pytest.fixture
def generated(request: pytest.FixtureRequest) -> Callable[[str, Mapping[str, str]], None]:
    """Compares the parts of a page with what the program says, given by name; with `--rewrite` puts them there.

    A part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`.
    """
    rewrite = request.config.getoption("--rewrite", default=False)

    def compare(name: str, parts: Mapping[str, str]) -> None:
        page = PROJECT / "docs" / name
        written = told = page.read_text(encoding="utf-8")
        for part, text in parts.items():
            begin, end = f"<!-- generated: {part} -->\n", f"<!-- end of {part} -->\n"
            before, rest = told.split(begin)
            _, after = rest.split(end)
            told = f"{before}{begin}\n{text.strip()}\n\n{end}{after}"
        if rewrite:
            page.write_text(told, encoding="utf-8")
        else:
            assert written == told, f"docs/{name} is not up to date: scripts/test tests/docs --rewrite"

    return compare


@pytest.fixture
def scrape(fresh_database: str) -> bytes:
    """Returns the metrics of a system on which something has happened."""
    change("INSERT INTO clock (name, holder, until) VALUES ('clock', gen_random_uuid(), now())")
    return write_metrics(read_snapshot(compare_seats=True))
