import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from scripts.embedded.mailbox_process import free_port
from scripts.embedded.parts import AlreadyRunning, Parts
from scripts.embedded.places import UnsafePlace

pytestmark = [pytest.mark.usefixtures("clean_environment"), pytest.mark.heavy]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
NOBODY = 65534
NAMES = {"DATABASE_URL", "REDIS_URL", "SMTP_URL", "MAILBOX_URL", "PORT", "LINK_KEYS", "LINK_BASE_URL"}
NAMES |= {"CERTIFICATE_STORE", "OPS_PORT", "OPS_URL"}
HOLDER = """
import sys, threading
from pathlib import Path
from scripts.embedded.parts import Parts
given = {"DATABASE_URL": "x", "REDIS_URL": "x", "SMTP_URL": "x"}
Parts(Path(sys.argv[1]), environment=given).start()
print("ready", flush=True)
threading.Event().wait()
"""


def sourced(file: Path, **given: str) -> dict[str, str]:
    """Returns the variables that a second terminal gets from an environment file."""
    script = 'set -euo pipefail; source "$0"; env -0'
    done = subprocess.run(["bash", "-c", script, str(file)], env=given, capture_output=True, text=True, check=True)
    return dict(row.split("=", 1) for row in done.stdout.split("\0") if row)


def test_the_parts_answer_and_a_second_terminal_finds_them(var: Path) -> None:
    with Parts(var) as parts:
        environment = parts.environment
        assert set(environment) >= NAMES
        with psycopg.connect(environment["DATABASE_URL"].replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("matricule",)
        with redis.Redis.from_url(environment["REDIS_URL"]) as client:
            assert client.ping()
        assert httpx.get(environment["MAILBOX_URL"]).status_code == 200
        assert environment["SMTP_URL"].endswith("?tls=off")
        assert environment["LINK_BASE_URL"] == f"http://127.0.0.1:{environment['PORT']}"
        assert environment["OPS_URL"] == f"http://127.0.0.1:{environment['OPS_PORT']}" != environment["LINK_BASE_URL"]
        file = var / "environment"
        assert file.stat().st_mode & 0o777 == (var / "link-keys").stat().st_mode & 0o777 == 0o600
        found = sourced(file)
        assert {name: found[name] for name in NAMES} == {name: environment[name] for name in NAMES}
    assert not file.exists()
    keys = environment["LINK_KEYS"]
    assert keys.startswith("dev:")
    assert len(bytes.fromhex(keys.removeprefix("dev:"))) == 32
    given = {"DATABASE_URL": "x", "REDIS_URL": "x", "SMTP_URL": "x"}
    with Parts(var, environment=given) as again:
        assert again.environment["LINK_KEYS"] == keys


def test_settings_of_the_environment_are_kept(var: Path) -> None:
    given = {
        "DATABASE_URL": "postgresql://there/x",
        "SMTP_URL": "smtps://relay",
        "PORT": "9",
        "LINK_BASE_URL": "https://learn.example.fr",
    }
    with Parts(var, environment=given) as parts:
        assert given.items() <= parts.environment.items()
        assert "MAILBOX_URL" not in parts.environment
        assert (parts.postgres, parts.mailbox) == (None, None)
        assert parts.valkey is not None
        found = sourced(var / "environment")
        assert {"DATABASE_URL", "HOST"}.isdisjoint(found)
        assert "DATABASE_URL" not in found["MATRICULE_FROM_PARTS"]
    assert not (var / "postgres" / "18").exists()


def test_the_web_process_listens_where_it_is_looked_for(var: Path) -> None:
    """Some shells set HOST to the name of the machine."""
    given = {"DATABASE_URL": "x", "REDIS_URL": "x", "SMTP_URL": "x", "HOST": "elsewhere.example", "OPS_HOST": "0.0.0.0"}
    with Parts(var, environment=given) as parts:
        assert (parts.environment["HOST"], parts.environment["OPS_HOST"]) == ("127.0.0.1", "127.0.0.1")


@as_root
@pytest.mark.parametrize("name", ["", "lock", "not/there"])
def test_a_data_folder_of_another_user_is_named_with_its_owner(var: Path, name: str) -> None:
    if name == "lock":
        os.chown(var, NOBODY, NOBODY)
        (var / "lock").touch(0o600)
    with (
        another_user(),
        pytest.raises(UnsafePlace, match=r"belongs to root: (remove|make) it or set MATRICULE_VAR") as caught,
    ):
        Parts(var / name if name == "not/there" else var, environment={}).start()
    assert str(var / "lock" if name == "lock" else var) in str(caught.value)


@contextmanager
def another_user() -> Iterator[None]:
    """Makes root act as `nobody` for a moment."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_variables_of_an_environment_file_are_no_settings(var: Path) -> None:
    """A terminal that sourced the file of stopped parts must be able to start them again."""
    stale = {"MATRICULE_FROM_PARTS": "REDIS_URL", "REDIS_URL": "unix:///gone", "DATABASE_URL": "x", "SMTP_URL": "x"}
    with Parts(var, environment=stale) as parts:
        assert parts.valkey is not None
        assert parts.environment["REDIS_URL"] == parts.valkey.url


def test_a_second_start_on_the_same_folder_is_refused(
    var: Path, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    holder = start_python(HOLDER, str(var))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    with pytest.raises(AlreadyRunning, match=rf"already running \(pid {holder.pid}\)"):
        Parts(var).start()
    assert "LINK_KEYS" in sourced(var / "environment")
    holder.kill()
    holder.wait()
    # The file still exists but has no effect, and the lock ended with its holder.
    assert "LINK_KEYS" not in sourced(var / "environment")
    with Parts(var, environment={"DATABASE_URL": "x", "REDIS_URL": "x", "SMTP_URL": "x"}):
        assert (var / "lock").read_text() == str(os.getpid())


def test_a_part_that_cannot_start_stops_those_that_did(var: Path) -> None:
    (var / "mailbox").write_text("in the way")
    parts = Parts(var)
    with pytest.raises(Exception, match="the mailbox did not start"):
        parts.start()
    assert parts.postgres is not None
    assert parts.valkey is not None
    assert not parts.postgres.running()
    assert not parts.valkey.running()
    assert not (var / "environment").exists()
    (var / "mailbox").unlink()
    with parts:
        assert parts.revive() == []
        parts.postgres.kill()
        parts.valkey.kill()
        assert parts.revive() == ["postgres", "valkey"]


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in {0, port}
    assert free_port(port) == port
