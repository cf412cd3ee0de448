"""The relay and the loop of mailers."""

import logging
from collections.abc import Iterator

import pytest
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread

from tests.relay import Relay


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
