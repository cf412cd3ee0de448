"""Fixtures: this machine may be reached by webhooks."""

import pytest

from tests.kit.processes.support import forget


@pytest.fixture
def loopback(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets webhooks reach 127.0.0.1, and keeps the secrets of other databases out of this one."""
    monkeypatch.setenv("WEBHOOK_PRIVATE_NETWORKS", "127.0.0.0/8")
    forget()
