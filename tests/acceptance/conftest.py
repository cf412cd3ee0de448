"""Acceptance tests start everything; they run last, once the parts are known to work."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the tests of this folder behind all others."""
    items.sort(key=lambda item: item.path.is_relative_to(HERE))
