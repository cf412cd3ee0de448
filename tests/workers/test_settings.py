"""Settings are read once, and a wrong one is named."""

import pytest
from pydantic import ValidationError

from workers.settings import Settings


@pytest.mark.parametrize("given", ["debug", "Debug", "DEBUG"])
def test_the_log_level_is_read_in_any_case(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", given)
    assert Settings(database_url="x", redis_url="x").log_level == "DEBUG"


def test_a_wrong_log_level_is_named_with_what_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "chatty")
    with pytest.raises(ValidationError, match=r"(?s)log_level.*'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"):
        Settings(database_url="x", redis_url="x")
