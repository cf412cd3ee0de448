"""PostgreSQL fails over, or is configured otherwise: processes follow without a restart, and no work is blamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from tests.kit.actors.messages import send
from tests.kit.processes.killed import make_contracts, request
from tests.kit.processes.serving import serving
from tests.kit.processes.standby import PostgresPair, two_places
from tests.kit.processes.support import Processes, change, forget, rows, wait_until
from tests.kit.relay.relay import Relay
from tests.kit.servers import Servers, copy_migrated_data, migrate
from workers.database import dispose_engine, is_transient, lost_connection

QUEUES = ("requests", "enrollments", "emails", "maintenance")


@pytest.fixture
def pair(migrated_data: Path, fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresPair]:
    """Starts a primary and its standby, and points this test at both."""
    with two_places() as (first, second):
        copy_migrated_data(migrated_data, first)
        servers = PostgresPair(first, second)
        try:
            servers.start()
            monkeypatch.setenv("DATABASE_URL", servers.url)
            forget()
            yield servers
            dispose_engine()
        finally:
            servers.stop()


def start(processes: Processes) -> None:
    processes.worker(*QUEUES)
    processes.clock()
    make_contracts(1)
    invite(1)


def invite(number: int) -> None:
    send(request(number, "K-0"), f"key-{number}")


def invited(relay: Relay, number: int) -> bool:
    return bool(relay.to(f"p{number}@example.com"))


def all_live(processes: Processes) -> bool:
    return [process.poll() for process in processes.started] == [None] * len(processes.started)


@contextmanager
def read_only(servers: Servers) -> Iterator[None]:
    """Makes the server refuse writes during the block, in sessions that are open too, as a demoted primary does."""

    def set_to(value: str) -> None:
        where = servers.postgres.url("postgres").replace("+psycopg", "")
        with psycopg.connect(where, autocommit=True) as admin:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            admin.execute("SELECT pg_reload_conf()")

    set_to("on")
    try:
        yield
    finally:
        set_to("off")


def backend() -> object:
    [(pid,)] = rows("SELECT pg_backend_pid()")
    return pid


def test_processes_follow_a_failover_to_the_other_host(pair: PostgresPair, relay: Relay, processes: Processes) -> None:
    start(processes)
    wait_until(lambda: invited(relay, 1), say=processes.logs)
    pair.fail_over()
    invite(2)
    wait_until(lambda: invited(relay, 2), seconds=60, say=processes.logs)
    assert all_live(processes)
    dispose_engine()
    assert rows("SELECT pg_is_in_recovery()") == [(False,)]


def test_processes_wait_while_the_database_takes_no_writes(
    servers: Servers, relay: Relay, processes: Processes
) -> None:
    start(processes)
    wait_until(lambda: invited(relay, 1), say=processes.logs)
    with serving() as site, read_only(servers):
        wait_until(lambda: "tick.postponed" in processes.logs(), say=processes.logs)
        invite(2)
        wait_until(lambda: "accept.waits" in processes.logs(), say=processes.logs)
        before = backend()
        answer = site.get("/readyz")
        assert (answer.status_code, "read-only" in answer.text) == (503, True)
        assert backend() != before  # the process of a page that is not ready looks for another server
    wait_until(lambda: invited(relay, 2), seconds=60, say=processes.logs)
    assert all_live(processes)
    assert rows("SELECT max(failures) FROM job") == [(0,)]
    assert rows("SELECT max(failures) FROM email") == [(0,)]


def test_an_error_of_a_read_only_server_ends_its_sessions(fresh_database: str) -> None:
    before = backend()
    with pytest.raises(DBAPIError) as refused:
        change("DO $$ BEGIN SET TRANSACTION READ ONLY; DELETE FROM schedule; END $$")
    assert is_transient(refused.value)
    assert not lost_connection(refused.value)  # no row is blamed for it
    assert backend() != before


@pytest.mark.parametrize("state", ["25006", "57P01", "57P02", "57P03", "08006", "08001", "53100", "53200", "53300"])
def test_errors_of_the_server_are_transient(fresh_database: str, state: str) -> None:
    with pytest.raises(DBAPIError) as raised:
        change(f"DO $$ BEGIN RAISE EXCEPTION 'of the server' USING ERRCODE = '{state}'; END $$")
    assert is_transient(raised.value)


STRANGE = {
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "sql_standard",
    "timezone": "'America/New_York'",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "idle_session_timeout": "'100ms'",
    "transaction_timeout": "'1s'",
    "statement_timeout": "'1ms'",
    "default_transaction_isolation": "serializable",
}
"""Settings that an operator may give to a database, and upon which answers would depend."""


def test_work_is_done_whatever_settings_the_database_has(
    fresh_database: str, relay: Relay, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STRANGE.items():
        change(f'ALTER DATABASE "{fresh_database}" SET {name} = {value}')
    for name, value in {"PGTZ": "America/New_York", "PGDATESTYLE": "German", "PGCLIENTENCODING": "LATIN1"}.items():
        monkeypatch.setenv(name, value)
    dispose_engine()
    start(processes)
    wait_until(lambda: invited(relay, 1), say=processes.logs)
    assert rows("SELECT state, failures FROM job WHERE kind = 'enroll'") == [("succeeded", 0)]
    assert all_live(processes)


def test_tables_are_made_whatever_settings_the_database_has(fresh_database: str) -> None:
    change("DROP SCHEMA public CASCADE")
    change("CREATE SCHEMA public")
    for name, value in STRANGE.items():
        change(f'ALTER DATABASE "{fresh_database}" SET {name} = {value}')
    migrate(os.environ["DATABASE_URL"])
    dispose_engine()
    assert rows("SELECT cron FROM schedule WHERE name = 'inboxes'") == [("* * * * *",)]


def test_several_hosts_survive_migrations_too(pair: PostgresPair) -> None:
    assert "," in os.environ["DATABASE_URL"].partition("@")[2]
    migrate(os.environ["DATABASE_URL"])
