"""The console is served on a real socket, on a database of the test."""

import pytest


@pytest.fixture(autouse=True)
def _database(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test its own database, and pages that show what the test did just before."""
    monkeypatch.setattr("workers.ops.snapshot.FRESH_SECONDS", 0.0)
