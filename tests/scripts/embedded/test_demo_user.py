"""The user `demo` of the console of a local system: made once, its password kept in private files."""

from pathlib import Path

import pytest

from tests.scripts.embedded.test_demo_portal import connected, started
from tests.scripts.embedded.test_parts import sourced
from workers.access.passwords import HASHER

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.heavy]

FIND = "SELECT role, password_hash FROM ops_user WHERE name = %s"


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes what tests that ran before may have left, and the mailbox, which is not needed."""
    for name in ("OPS_USER", "OPS_PASSWORD", "PORTAL_KEYS", "REDIS_NAMESPACE", "MAIL_FROM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1?tls=off")


def test_the_user_of_the_console_is_kept_as_long_as_its_password_works(var: Path) -> None:
    with started(var) as system:
        found = sourced(var / "environment")
        name, password = found["OPS_USER"], found["OPS_PASSWORD"]
        assert (name, password) == ("demo", system.environment["OPS_PASSWORD"])
        with connected(system.environment) as connection:
            role, hashed = connection.execute(FIND, [name]).fetchone() or ("", "")
        assert role == "admin"
        assert HASHER.verify(password, hashed)
        assert all((var / file).stat().st_mode & 0o777 == 0o600 for file in ("environment", "ops-user-demo"))
    with started(var) as system:
        assert system.environment["OPS_PASSWORD"] == password
        with connected(system.environment) as connection:
            connection.execute("UPDATE ops_user SET password_hash = NULL")
    with started(var) as system:
        assert system.environment["OPS_PASSWORD"] != password
