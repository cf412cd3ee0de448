"""docs/tour.md and docs/ops/console.md show the pictures that scripts/tour takes, in their order; they are small."""

import re

from tests.kit.browser.pictures import CONSOLE_PICTURES, MOST_BYTES, PICTURES
from tests.kit.processes.support import PROJECT

PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
FOLDER = PROJECT / "docs" / "tour"


def shown(page: str) -> list[tuple[str, str]]:
    """Returns the description and the address of each picture of a page."""
    return PICTURE.findall((PROJECT / page).read_text(encoding="utf-8"))


def test_the_pages_show_the_pictures_that_are_taken() -> None:
    assert [address for _, address in shown("docs/tour.md")] == [f"tour/{name}.png" for name in PICTURES]
    assert [address for _, address in shown("docs/ops/console.md")] == [
        f"../tour/{name}.png" for name in CONSOLE_PICTURES
    ]
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.png" for name in (*PICTURES, *CONSOLE_PICTURES)}


def test_each_picture_is_described_in_its_own_words() -> None:
    described = [text for page in ("docs/tour.md", "docs/ops/console.md") for text, _ in shown(page)]
    assert len(set(described)) == len(PICTURES) + len(CONSOLE_PICTURES)
    assert min(len(text) for text in described) > 20


def test_the_pictures_are_small() -> None:
    assert {file.name for file in FOLDER.iterdir() if file.stat().st_size >= MOST_BYTES} == set()


def test_the_readme_shows_one_of_them() -> None:
    [(described, address)] = shown("README.md")
    assert described
    assert address.removeprefix("docs/tour/") in {f"{name}.png" for name in PICTURES}
