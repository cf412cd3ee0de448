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
from scripts.portal.settings import read_settings
from tests.scripts.embedded.test_parts import sourced

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.heavy]

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


KEYS = """
    SELECT k.companies, k.scopes FROM portal_key k JOIN portal p ON p.id = k.portal_id
    WHERE p.name = 'demo' AND k.hash = ANY(%s) AND k.revoked_at IS NULL ORDER BY CAST(k.companies AS text)"""


def test_the_example_portal_has_a_key_for_each_company_that_is_kept(var: Path) -> None:
    def with_site() -> LocalSystem:
        return LocalSystem(var, formation=NO_PROCESSES | {"site": 0}, site=True, output=io.StringIO())

    with with_site() as system:
        url, settings = system.environment["MANAGER_URL"], read_settings(var / "portal-site")
        assert sourced(var / "environment")["MANAGER_URL"] == url
        keys = [one.key for one in settings.companies]
        with connected(system.environment) as connection:
            found = connection.execute(KEYS, [[hash_key(one) for one in (*keys, settings.learner_key)]]).fetchall()
            endpoint = connection.execute("SELECT reference, url FROM webhook_endpoint").fetchall()
            inbox = connection.execute("SELECT url FROM inbox").fetchall()
    assert found == [
        (["demo-atelier-bocage"], ["accounts", "certificates", "enroll", "read"]),
        (["demo-cabinet-ferrand"], ["accounts", "certificates", "enroll", "read"]),
        (None, ["certificates", "progress", "read", "sign_in"]),
    ]
    assert (endpoint, inbox) == ([("gestion-entreprise", f"{url}webhooks")], [((var / "inbox").as_uri(),)])
    assert (var / "portal-site").stat().st_mode & 0o777 == 0o600
    with with_site():
        again = read_settings(var / "portal-site")
    assert (again.companies, again.learner_key, again.secret) == (
        settings.companies,
        settings.learner_key,
        settings.secret,
    )
    assert again.webhook_secrets == settings.webhook_secrets
