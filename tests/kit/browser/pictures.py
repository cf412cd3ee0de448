"""The pictures of docs/tour.md and docs/ops/console.md, which browser tests take; `scripts/tour` has them put there."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Page

PICTURES: Final = (
    "participants",
    "ajout-unique",
    "confirmation",
    "ajout-multiple",
    "import-csv",
    "rapport",
    "modifier-email",
    "supprimer",
    "reinitialisation",
    "progression",
    "apprenant",
    "telephone",
)
"""The names of those of the guide, in the order of the page."""

CONSOLE_PICTURES: Final = (
    "console-now",
    "console-queue",
    "console-errors",
    "console-retry",
    "console-job",
    "console-mail",
    "console-person",
    "console-history",
    "console-phone",
)
"""The names of those of the console, in the order of the page."""

FOLDER_NAME: Final = "MATRICULE_TOUR"
"""The environment variable with the folder where they are to be put."""

MOST_BYTES: Final = 150_000

COLOURS: Final = 192
"""Enough for letters with smooth edges on a few plain colours; a fifth of the bytes."""


def assert_small(folder: Path, names: Sequence[str]) -> None:
    """Checks that the pictures are there, and small enough for a page of documentation."""
    sizes = {name: (folder / f"{name}.png").stat().st_size for name in names}
    assert {name: size for name, size in sizes.items() if size >= MOST_BYTES} == {}


class Album:
    """Takes the pictures in their order.

    Parameters:
      folder: where they are put.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.taken: list[str] = []

    def take(self, page: Page, name: str) -> None:
        """Takes a picture of what the window shows, without the pointer and without a blinking cursor."""
        page.mouse.move(0, 0)
        shown = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide")))
        few = shown.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(self._folder / f"{name}.png", optimize=True)
        self.taken.append(name)


def album_folder(otherwise: Path) -> Path:
    """Returns the folder of the pictures: the one that was asked for, or another one."""
    wanted = os.environ.get(FOLDER_NAME)
    folder = Path(wanted) if wanted else otherwise
    folder.mkdir(parents=True, exist_ok=True)
    return folder
