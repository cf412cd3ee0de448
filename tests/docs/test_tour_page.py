"""docs/tour.md shows the pictures that scripts/tour takes, each once and in their order; they are small."""

import re

from tests.kit.browser.pictures import MOST_BYTES, PICTURES
from tests.kit.processes.support import PROJECT

PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
FOLDER = PROJECT / "docs" / "tour"


def shown(page: str) -> list[tuple[str, str]]:
    """Returns the description and the address of each picture of a page."""
    return PICTURE.findall((PROJECT / page).read_text(encoding="utf-8"))


def test_the_page_shows_the_pictures_that_are_taken() -> None:
    assert [address for _, address in shown("docs/tour.md")] == [f"tour/{name}.png" for name in PICTURES]
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(f"{name}.png" for name in PICTURES)


def test_each_picture_is_described_in_its_own_words() -> None:
    described = [text for text, _ in shown("docs/tour.md")]
    assert len(set(described)) == len(PICTURES)
    assert min(len(text) for text in described) > 20


def test_the_pictures_are_small() -> None:
    assert {file.name for file in FOLDER.iterdir() if file.stat().st_size >= MOST_BYTES} == set()


def test_the_readme_shows_one_of_them() -> None:
    [(described, address)] = shown("README.md")
    assert described
    assert address.removeprefix("docs/tour/") in {f"{name}.png" for name in PICTURES}
