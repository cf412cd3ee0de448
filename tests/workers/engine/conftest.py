"""A Redis of one test, which the test makes ill, and the setting that points to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.processes.support import forget
from tests.kit.processes.valkey import OwnValkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Callable[..., OwnValkey]]:
    """Starts servers with options of the test."""
    started: list[OwnValkey] = []

    def start(*options: str, **more: Any) -> OwnValkey:
        started.append(OwnValkey(tmp_path / f"valkey-{len(started)}", *options, **more).start())
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Points this process and those it starts at a Redis."""

    def point(url: str) -> None:
        monkeypatch.setenv("REDIS_URL", url)
        forget()

    return point
