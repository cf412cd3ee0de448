"""The web process checks its requirements before it serves a page."""

import pytest

from tests.kit.processes.support import forget
from workers.errors import NotConfigured
from workers.web.app import create_app


def test_pages_that_could_not_name_the_platform_are_not_served(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAIL_FROM")
    forget()
    with pytest.raises(NotConfigured, match="MAIL_FROM"):
        create_app()
    monkeypatch.setenv("PLATFORM_NAME", "Mon espace")
    forget()
    assert create_app().title == "Matricule"
