"""Checks of a page that is shown: axe finds no violation, and nothing is wider than the window."""

from collections.abc import Mapping
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

DESK: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 320, "height": 640}

AXE: Final = Axe().axe_script

ALL: Final[Mapping[str, Any]] = {"resultTypes": ["violations"]}

CONTRAST: Final[Mapping[str, Any]] = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
"""In the dark theme the colours alone are others."""

WIDTHS: Final = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"


def looks_right(page: Page) -> None:
    """Checks the page on a desk in both themes, and on a narrow phone. Without motion: colours change at once."""
    page.emulate_media(reduced_motion="reduce")
    assert violations(page) == [], page.url
    page.emulate_media(color_scheme="dark")
    assert violations(page, CONTRAST) == [], f"{page.url}, dark"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    assert violations(page) == [], f"{page.url}, phone"
    width, room = page.evaluate(WIDTHS)
    assert width <= room, f"{page.url} is {width} px wide in a window of {room} px"
    page.set_viewport_size(DESK)


def violations(page: Page, options: Mapping[str, Any] = ALL) -> list[tuple[str, list[str]]]:
    """Returns the rules that axe finds broken, each with the elements."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("options => axe.run(options)", dict(options))
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]
