"""A failing browser test leaves a picture of each of its pages and a trace, to be seen with `playwright show-trace`."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import BrowserContext
from playwright.sync_api import Error as BrowserError

from scripts.embedded.places import default_var

FOLDER: Final = "browser-tests"

CALLED: Final = pytest.StashKey[pytest.CallInfo[None]]()
"""The call of a test, once it has been made."""


def place(item: pytest.Item) -> Path:
    """Returns the folder for the evidence of a test."""
    return default_var() / FOLDER / re.sub(r"\W+", "-", item.name).strip("-")


@contextmanager
def recorded(context: BrowserContext, item: pytest.Item, number: int) -> Iterator[None]:
    """Records the block, and keeps the record if the test fails; that of an earlier run is removed.

    Parameters:
      number: of this browser context in the test.
    """
    if number == 1:
        shutil.rmtree(place(item), ignore_errors=True)
    context.tracing.start(snapshots=True, screenshots=False, sources=False)
    try:
        yield
    finally:
        call = item.stash.get(CALLED, None)
        if call is not None and call.excinfo is None:
            context.tracing.stop()
        else:
            _keep(context, place(item), number)


def _keep(context: BrowserContext, folder: Path, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place_, page in enumerate(context.pages):
        try:
            page.screenshot(path=folder / f"{number}-{place_}.png", full_page=True)
        except BrowserError as error:
            (folder / f"{number}-{place_}.txt").write_text(str(error))
    context.tracing.stop(path=folder / f"{number}-trace.zip")
