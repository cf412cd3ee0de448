import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from scripts.embedded.guard import send
from scripts.embedded.places import SystemUser, _short_path, places
from scripts.embedded.postgres import Postgres
from scripts.embedded.processes import StartFailed, wait_until

pytestmark = pytest.mark.heavy

PARENT = """
import sys, threading
from pathlib import Path
from scripts.embedded.places import places
from scripts.embedded.postgres import Postgres
from scripts.embedded.processes import watch

postgres = Postgres(places(Path(sys.argv[1])))
postgres.start()
print(postgres.pid, watch().pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def shared(shared_var: Path) -> Iterator[Postgres]:
    server = Postgres(places(shared_var))
    yield server
    server.stop()


@pytest.fixture
def postgres(shared: Postgres) -> Postgres:
    if not shared.running():
        shared.start()
    return shared


def connect(server: Postgres, database: str = "matricule") -> psycopg.Connection[Any]:
    return psycopg.connect(server.url(database).replace("+psycopg", ""), autocommit=True)


def ask(server: Postgres, query: str, database: str = "matricule") -> Any:
    with connect(server, database) as connection:
        [(value,)] = connection.execute(query.encode()).fetchall()
        return value


def test_it_is_the_version_asked_for_and_durable(postgres: Postgres) -> None:
    engine = create_engine(postgres.url())
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, setting FROM pg_settings"))
        settings = {row.name: row.setting for row in rows}
        assert connection.scalar(text("SELECT lower('ÉLODIE')")) == "élodie"
    engine.dispose()
    assert settings["server_version"].startswith("18.")
    assert settings["listen_addresses"] == ""
    assert settings["max_connections"] == "200"
    assert settings["server_encoding"] == "UTF8"
    assert {settings[name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"on"}


def test_commits_survive_kills_and_restarts(postgres: Postgres) -> None:
    with connect(postgres) as connection:
        connection.execute("CREATE TABLE kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1), (2)")
    postgres.kill()
    assert not postgres.running()
    postgres.start()
    assert ask(postgres, "SELECT count(*) FROM kept") == 2
    postgres.restart()
    assert ask(postgres, "SELECT count(*) FROM kept") == 2


def test_a_port_of_the_person_who_starts_it_does_not_matter(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5433")
    postgres.restart()
    assert ask(postgres, "SELECT 1") == 1


def test_kill_ends_backends_in_the_middle_of_a_query(postgres: Postgres) -> None:
    connection = connect(postgres)
    backend = connection.info.backend_pid
    connection.pgconn.send_query(b"SELECT pg_sleep(600)")
    postgres.kill()
    connection.close()
    assert wait_until(lambda: not send(backend, 0), 30)
    postgres.start()


def test_a_stale_pid_file_of_an_unrelated_process_does_not_matter(postgres: Postgres, shared_var: Path) -> None:
    postgres.kill()
    pid_file = places(shared_var).postgres_home / "18" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    postgres.start()
    assert ask(postgres, "SELECT 1") == 1


def test_databases_are_copied_and_dropped_under_open_connections(postgres: Postgres) -> None:
    with connect(postgres) as connection:
        connection.execute("CREATE TABLE seen (number int)")
    postgres.create_database('odd "name"', template="matricule")
    assert ask(postgres, "SELECT count(*) FROM seen", 'odd "name"') == 0
    with connect(postgres, 'odd "name"') as connection:
        postgres.drop_database('odd "name"')
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    postgres.drop_database('odd "name"')


def test_two_servers_run_side_by_side(postgres: Postgres, private_var: Path) -> None:
    """The second one is below a folder that only we may enter, and is not durable."""
    second = Postgres(places(private_var), durable=False)
    second.start()
    try:
        with connect(second) as connection:
            connection.execute("CREATE TABLE only_here (number int)")
        assert ask(second, "SHOW fsync") == "off"
        assert ask(postgres, "SELECT to_regclass('only_here')") is None
        second.restart()
        assert ask(second, "SELECT to_regclass('only_here')::text") == "only_here"
    finally:
        second.stop()


def test_a_server_whose_parent_was_killed_stops_by_itself(
    var: Path, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    parent = start_python(PARENT, str(var))
    assert parent.stdout is not None
    server = int(parent.stdout.readline().split()[0])
    parent.kill()
    assert wait_until(lambda: not send(server, 0), 15)
    assert "database system is shut down" in (var / "postgres.log").read_text()


def test_a_server_left_behind_with_its_guard_killed_too_is_replaced(
    var: Path, start_python: Callable[..., subprocess.Popen[str]]
) -> None:
    parent = start_python(PARENT, str(var))
    assert parent.stdout is not None
    server, guard = map(int, parent.stdout.readline().split())
    send(guard, signal.SIGKILL)
    parent.kill()
    parent.wait()
    assert send(server, 0)
    successor = Postgres(places(var))
    successor.start()
    try:
        assert wait_until(lambda: not send(server, 0), 15)
        assert ask(successor, "SELECT 1") == 1
    finally:
        successor.stop()


def test_a_failure_shows_the_end_of_the_log(postgres: Postgres, shared_var: Path) -> None:
    postgres.stop()
    config = places(shared_var).postgres_home / "18" / "postgresql.conf"
    good = config.read_text()
    config.write_text("no_such_setting = 1\n")
    with pytest.raises(StartFailed, match="no_such_setting"):
        postgres.start()
    assert not postgres.running()
    config.write_text(good)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_ordinary_user_needs_no_help(var: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """This runs as `nobody` with the system's Python, because that user may not reach this environment."""
    os.chown(var, 65534, 65534)
    # Before Python 3.11.3 redis needs a module that is not in the locked dependencies of a later Python.
    (var / "async_timeout.py").write_text("from asyncio import timeout as timeout\n")
    code = PARENT.replace("threading.Event().wait()", "postgres.kill(); postgres.restart(); postgres.stop()")
    try:
        done = subprocess.run(
            ["/usr/bin/python3", "-B", "-c", code, str(var / "var")],
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path), str(var)])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no /usr/bin/python3 here")
    if "ModuleNotFoundError" in done.stderr or "SyntaxError" in done.stderr:
        pytest.skip("the system's Python cannot use this environment")
    assert done.returncode == 0, done.stderr
    assert (var / "var" / "postgres").stat().st_uid == 65534
    shutil.rmtree(_short_path((var / "var").resolve(), SystemUser("nobody", 65534, 65534)))
