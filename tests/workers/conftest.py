"""The relay and the loop of mailers, imports in small chunks, a process that is not stopping, and threads."""

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
    """A relay every mailer of this test sends to."""
    with Relay() as opened:
        monkeypatch.setenv("SMTP_URL", opened.url)
        yield opened


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    """What the AsyncIO middleware gives a mailer process, for mailers of this process."""
    thread = EventLoopThread(logging.getLogger("test"))
    thread.start(timeout=5)
    set_event_loop_thread(thread)
    yield thread
    set_event_loop_thread(None)
    thread.stop()  # type: ignore[no-untyped-call]


@pytest.fixture
def small_chunks(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of four rows; no file stays open for the next test."""
    monkeypatch.setattr(roster_imports, "CHUNK", CHUNK)
    yield
    claimer.STOPPING.clear()
    close_open_files()


@pytest.fixture
def running() -> Iterator[None]:
    """This process is not stopping, whatever the test before or this one told it."""
    claimer.STOPPING.clear()
    yield
    claimer.STOPPING.clear()


@pytest.fixture
def threads(fresh_database: str) -> Iterator[ThreadPoolExecutor]:
    """Threads that each have sessions of their own, on this test's database."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
