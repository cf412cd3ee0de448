"""The CPU that a page of a large contract takes of the site and the API together, which run in this process."""

import logging
import time
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from scripts.portal.app import make_app
from tests.benchmarks.crowd import add_crowd
from tests.benchmarks.population import contract
from tests.kit.processes.support import change
from tests.scripts.portal.conftest import SITE, Browser, make_settings

pytestmark = pytest.mark.serial

PARTICIPANTS = 10_000
WARM, ROUNDS, TIMES = 5, 5, 5
MOST_SECONDS = 0.1

URLS = ("/participants", "/participants?filtre=todo", "/participants?filtre=completed", "/participants?q=martin")


@pytest.fixture
def crowded(matricule: str, caplog: pytest.LogCaptureFixture) -> Iterator[Browser]:
    """Signs in as the manager of a contract with ten thousand participants."""
    caplog.set_level(logging.WARNING, logger="httpx2")  # its lines, kept by pytest, are no part of a page
    caplog.set_level(logging.WARNING, logger="httpx")
    add_crowd(PARTICIPANTS)
    change("UPDATE portal SET requests_per_minute = NULL")
    change("UPDATE contract SET planned_seats = 20000")
    settings = make_settings(matricule, "societe")
    with TestClient(make_app(settings), base_url=SITE) as client:
        browser = Browser(client)
        assert contract(0) in browser.sign_in("societe").text
        yield browser


def test_a_page_of_ten_thousand_participants_is_cheap(crowded: Browser, subtests: pytest.Subtests) -> None:
    for url in URLS:
        with subtests.test(url):
            for _ in range(WARM):
                assert crowded.get(url).status_code == 200
            assert min(_used(crowded, url) for _ in range(ROUNDS)) < MOST_SECONDS


def _used(browser: Browser, url: str) -> float:
    """Returns the seconds of CPU of a page; other processes of a busy machine make a round dearer, never cheaper."""
    before = time.process_time()
    for _ in range(TIMES):
        browser.get(url)
    return (time.process_time() - before) / TIMES
