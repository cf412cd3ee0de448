"""A local system has a portal `demo`, with a key that the environment file tells and that later starts keep."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from models.portal_key import hash_key, read_key_id
from models.words import Scope
from scripts.embedded.procfile import RELEASE, parse_procfile
from scripts.embedded.run import PROCFILE, LocalSystem
from tests.scripts.embedded.test_parts import sourced

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.serial]

NAMES = ("PORTAL_URL", "PORTAL_NAME", "PORTAL_KEY", "PORTAL_KEY_ID", "PORTAL_QUEUE_SECRET")
NO_PROCESSES = {line.name: 0 for line in parse_procfile(PROCFILE.read_text()) if line.name != RELEASE}
FIND = """
    SELECT p.name, p.requests_per_minute, k.scopes, k.companies, k.master_id, k.expires_at
    FROM portal_key k JOIN portal p ON p.id = k.portal_id WHERE k.hash = %s AND k.revoked_at IS NULL"""


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes what tests that ran before may have left, and the mailbox, which is not needed."""
    for name in (*NAMES, "PORTAL_KEYS", "REDIS_NAMESPACE", "MAIL_FROM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:1?tls=off")


@contextmanager
def connected(environment: Mapping[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(environment["DATABASE_URL"].replace("+psycopg", "")) as connection:
        yield connection


def started(var: Path) -> LocalSystem:
    return LocalSystem(var, formation=NO_PROCESSES, output=io.StringIO())


def test_the_environment_tells_a_key_for_everything_that_later_starts_keep(var: Path) -> None:
    with started(var) as system:
        found = sourced(var / "environment")
        said = {name: found[name] for name in NAMES}
        assert said == {name: system.environment[name] for name in NAMES}
        assert (said["PORTAL_URL"], said["PORTAL_NAME"]) == (f"http://127.0.0.1:{found['PORT']}/v1", "demo")
        assert read_key_id(said["PORTAL_KEY"]) == said["PORTAL_KEY_ID"]
        with connected(found) as connection:
            row = connection.execute(FIND, [hash_key(said["PORTAL_KEY"])]).fetchone()
        assert row == ("demo", None, sorted(Scope), None, "dev", None)
    assert [path.stat().st_mode & 0o777 for path in (var / "portal-demo", var / "portal-keys")] == [0o600, 0o600]
    with started(var):
        again = sourced(var / "environment")
        assert {name: again[name] for name in NAMES if name != "PORTAL_URL"} == {
            name: said[name] for name in NAMES if name != "PORTAL_URL"
        }
        with connected(again) as connection:
            connection.execute("UPDATE portal_key SET revoked_at = now()")
    with started(var) as system:
        renewed = system.environment["PORTAL_KEY"]
        assert renewed != said["PORTAL_KEY"]
        assert json.loads((var / "portal-demo").read_text())["PORTAL_KEY"] == renewed
        with connected(system.environment) as connection:
            assert connection.execute(FIND, [hash_key(renewed)]).fetchone() is not None
