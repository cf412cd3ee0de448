"""Every file and heading that a page names is there."""

import re
from pathlib import Path

import pytest

from tests.kit.processes.support import PROJECT

HISTORY = {"CHANGELOG.md", "docs/decisions/0002-new-names.md"}
"""Pages that name what was there once."""

PATH = re.compile(r"`((?:\.ci|docs|email_templates|models|scripts|tests|workers)/[^`\s]*)`")
LINK = re.compile(r"\]\(([^)\s#:]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def pages() -> list[Path]:
    found = [page for place in ("*.md", "docs/**/*.md", "email_templates/*.md") for page in PROJECT.glob(place)]
    ours = [page for page in found if "node_modules" not in page.parts]  # of the examples
    return sorted(page for page in ours if page.relative_to(PROJECT).as_posix() not in HISTORY)


def anchors(page: Path) -> set[str]:
    """The anchors that forges give to the headings of a page."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_what_a_page_names_is_there(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    named = {path for path in PATH.findall(written) if not list(PROJECT.glob(path.rstrip("/")))}
    assert named == set(), "no such files"
    for target, anchor in LINK.findall(written):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{target}#{anchor}"


def test_the_index_of_decisions_has_every_page() -> None:
    folder = PROJECT / "docs" / "decisions"
    listed = {target for target, _ in LINK.findall((folder / "README.md").read_text(encoding="utf-8"))}
    assert {page.name for page in folder.glob("0*.md")} == {target for target in listed if target.startswith("0")}
