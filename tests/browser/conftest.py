"""« Gestion entreprise » in a browser, on a whole system that all of these tests share; they run last, beside no other.

A failing test leaves pictures and a trace in var/browser-tests.
"""

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.kit.browser.contracts import OwnContract
from tests.kit.browser.evidence import CALLED, recorded
from tests.kit.browser.looks import DESK
from tests.kit.browser.manager import Manager
from tests.kit.browser.system import WholeSystem, whole_system
from tests.kit.system import need

HERE = Path(__file__).parent

PATIENCE = 60_000
"""Milliseconds in which a page must show what is expected; a machine may be busy."""


class OpenPage(Protocol):
    """Opens a page in a browser profile of its own, with the options of ``Browser.new_context``."""

    def __call__(self, **options: Any) -> Page: ...


MakeContract = Callable[..., OwnContract]
Enter = Callable[..., Manager]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the tests of this folder behind all others: the system that they share runs beside no other test."""
    items.sort(key=lambda item: item.path.is_relative_to(HERE))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keeps how a test went, for the fixture that keeps the evidence."""
    if call.when == "call":
        item.stash[CALLED] = call
    return (yield)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    need("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        expect.set_options(timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def system(browser: Browser, migrated_data: Path) -> Iterator[WholeSystem]:
    """Starts the system, once the browser is there."""
    with whole_system(migrated_data) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, system: WholeSystem, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    numbers = count(1)
    with ExitStack() as undo:

        def opened(**options: Any) -> Page:
            given = {"base_url": system.site, "locale": "fr-FR", "viewport": DESK, "timezone_id": "Europe/Paris"}
            context = browser.new_context(**given | options)
            undo.callback(context.close)
            undo.enter_context(recorded(context, request.node, next(numbers)))
            context.set_default_timeout(PATIENCE)
            return context.new_page()

        yield opened


@pytest.fixture
def make(system: WholeSystem) -> MakeContract:
    """Makes contracts of this test, with the arguments of ``OwnContract``."""
    return lambda seats=5, **more: OwnContract(system, seats, **more)


@pytest.fixture
def enter(open_page: OpenPage) -> Enter:
    """Signs in as the manager of a contract, in a browser profile of its own, and shows the contract."""

    def entered(contract: OwnContract, **options: Any) -> Manager:
        manager = Manager(open_page(**options))
        manager.sign_in(contract.company)
        manager.choose(contract)
        return manager

    return entered
