"""Fixtures: a relay and a loop for mailers, small chunks for imports, a process that is not stopping, and threads."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread

from tests.kit.builders.imports import CHUNK, close_open_files
from tests.kit.relay.relay import Relay
from workers.engine import claimer
from workers.imports import importing as roster_imports


@pytest.fixture
def relay(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Starts a relay to which every mailer of this test sends."""
    with Relay() as opened:
        monkeypatch.setenv("SMTP_URL", opened.url)
        yield opened


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    """Provides the event loop that the AsyncIO middleware gives a mailer process, for mailers of this process."""
    thread = EventLoopThread(logging.getLogger("test"))
    thread.start(timeout=5)
    set_event_loop_thread(thread)
    yield thread
    set_event_loop_thread(None)
    thread.stop()  # type: ignore[no-untyped-call]


@pytest.fixture
def small_chunks(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets chunks of four rows and closes the open files after the test."""
    monkeypatch.setattr(roster_imports, "CHUNK", CHUNK)
    yield
    claimer.STOPPING.clear()
    close_open_files()


@pytest.fixture
def running() -> Iterator[None]:
    """Makes this process not stopping, before and after the test."""
    claimer.STOPPING.clear()
    yield
    claimer.STOPPING.clear()


@pytest.fixture
def threads(fresh_database: str) -> Iterator[ThreadPoolExecutor]:
    """Provides threads with their own sessions on this test's database."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
