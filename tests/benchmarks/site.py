"""Measures the CPU that pages of the example portal take of the site and the API, with many people on the contract."""

import time
from collections.abc import Mapping
from typing import Final

from starlette.testclient import TestClient

from scripts.portal.app import make_app
from tests.benchmarks.crowd import add_crowd
from tests.benchmarks.measure import Figure, bound_figure
from tests.benchmarks.population import contract
from tests.benchmarks.system import System
from tests.kit.processes.serving import serving
from tests.kit.processes.support import change
from tests.scripts.portal.conftest import SITE, Browser, make_settings

PARTICIPANTS: Final = 10_000
WARM: Final = 10
TIMES: Final = 40

GOAL: Final = 100.0

PAGES: Final = {
    "all": "/participants",
    "to act on": "/participants?filtre=todo",
    "completed": "/participants?filtre=completed",
    "a search": "/participants?q=martin",
}


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures each page; the dearest counts."""
    with system.trial():
        used = measured(200 if short else PARTICIPANTS)
    facts = {name: f"{milliseconds:.0f} ms" for name, milliseconds in used.items()}
    return [bound_figure("site", [max(used.values())], at_most=GOAL, unit=" ms", facts=facts, short=short)]


def measured(count: int) -> Mapping[str, float]:
    """Returns the milliseconds of CPU of each page, of a manager of so many participants.

    Site and API run in this process, as does the client, so what they take is a little less.
    """
    add_crowd(count)
    change("UPDATE portal SET requests_per_minute = NULL")
    change("UPDATE contract SET planned_seats = 20000")
    with serving() as api:
        settings = make_settings(f"{str(api.base_url).rstrip('/')}/v1", "societe")
        with TestClient(make_app(settings), base_url=SITE) as client:
            browser = Browser(client)
            if contract(0) not in browser.sign_in("societe").text:
                raise RuntimeError("the manager was not signed in")
            return {name: _used(browser, url) for name, url in PAGES.items()}


def _used(browser: Browser, url: str) -> float:
    for _ in range(WARM):
        browser.get(url)
    before = time.process_time()
    for _ in range(TIMES):
        browser.get(url)
    return 1000 * (time.process_time() - before) / TIMES
