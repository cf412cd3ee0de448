"""Tests use a real PostgreSQL and Valkey; each test database is cloned from a migrated template."""

import io
import logging
import sys
import threading
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
import redis
import structlog

from tests.kit.moments import MOMENTS, begin_at, process_at, set_database_to
from tests.kit.processes.support import Processes, forget
from tests.kit.quick import QUICK_HASHER, TRUE_HASHER, hash_by, log_plainly
from tests.kit.servers import TEMPLATE, Servers, running
from tests.kit.system import told_of_skipped
from tests.kit.turns import heavy_last, name_groups, processes_for, turn
from workers import database
from workers.database import Session
from workers.logs import configure_logs

LINK_KEYS = "test:" + "5a" * 32
PORTAL_KEYS = "test:" + "3c" * 32


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--moment",
        type=datetime.fromisoformat,
        help="runs every test that has a database at this moment, such as 2026-12-31T23:59+01:00",
    )


def pytest_configure() -> None:
    """Makes hashes cheap before test modules are read, because some of them hash a password when imported."""
    hash_by(QUICK_HASHER)
    log_plainly()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Decides how many processes ``-n auto`` starts."""
    return processes_for(config.getoption("file_or_dir"), config.getoption("keyword"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    heavy_last(items)
    if config.getoption("loadgroup", default=False):
        name_groups(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end how many tests were skipped because this system lacks a program."""
    if line := told_of_skipped(terminalreporter.getreports("skipped")):
        terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with turn(item):
        return (yield)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test marked ``moment`` at all of the moments."""
    if metafunc.definition.get_closest_marker("moment"):
        metafunc.parametrize("current_moment", MOMENTS.values(), ids=MOMENTS.keys(), indirect=True)


@pytest.fixture
def current_moment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[datetime | None]:
    """Sets the moment that the test and its database take for now; None is the real time."""
    at: datetime | None = getattr(request, "param", None) or request.config.getoption("--moment")
    if at is None:
        yield None
    else:
        with process_at(at, monkeypatch):
            yield at


@pytest.fixture(scope="session")
def migrated_data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder that keeps migrated data of PostgreSQL between runs, or in this run if there is no cache."""
    cache = getattr(request.config, "cache", None)
    return cache.mkdir("postgres") if cache else tmp_path_factory.getbasetemp().parent


@pytest.fixture(scope="session")
def servers(migrated_data: Path) -> Iterator[Servers]:
    """Starts PostgreSQL and Valkey for this process."""
    with running(migrated_data) as started:
        yield started


def _use(monkeypatch: pytest.MonkeyPatch, servers: Servers, name: str, namespace: str) -> None:
    """Points this process and its children at a database, a namespace and a document store."""
    monkeypatch.setenv("DATABASE_URL", servers.postgres.url(name))
    monkeypatch.setenv("REDIS_URL", servers.valkey.url)
    monkeypatch.setenv("REDIS_NAMESPACE", namespace)
    monkeypatch.setenv("LINK_KEYS", LINK_KEYS)
    monkeypatch.setenv("PORTAL_KEYS", PORTAL_KEYS)
    monkeypatch.setenv("LINK_BASE_URL", "http://127.0.0.1:8020")
    monkeypatch.setenv("MAIL_FROM", "Formation <ne-pas-repondre@formation.test>")
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    monkeypatch.setenv("CERTIFICATE_STORE", str(servers.store / name))
    forget()


@pytest.fixture(scope="session")
def services_database(servers: Servers) -> str:
    """Creates one database for all tests that roll back."""
    servers.postgres.create_database("services", template=TEMPLATE)
    return "services"


@pytest.fixture
def session(
    servers: Servers, services_database: str, current_moment: datetime | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    """Opens a session that is rolled back after the test."""
    _use(monkeypatch, servers, services_database, "services")
    with Session(database.get_engine()) as opened:
        if current_moment is not None:
            begin_at(opened, current_moment)
        yield opened
        opened.rollback()
    forget()


@pytest.fixture
def fresh_database(servers: Servers, current_moment: datetime | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Creates a database and a Redis namespace for one test that commits or starts processes."""
    name = f"test_{uuid4().hex[:12]}"
    servers.postgres.create_database(name, template=TEMPLATE)
    _use(monkeypatch, servers, name, name)
    if current_moment is not None:
        set_database_to(current_moment)
    yield name
    forget()
    servers.postgres.drop_database(name)
    client = redis.Redis.from_url(servers.valkey.url)
    keys = list(client.scan_iter(f"{name}:*"))
    if keys:
        client.delete(*keys)
    client.close()


@pytest.fixture
def processes(fresh_database: str, tmp_path: Path) -> Iterator[Processes]:
    """Starts real processes of Matricule on the test's own database."""
    started = Processes(tmp_path)
    yield started
    started.stop_all()


@pytest.fixture
def true_hash_cost() -> Iterator[None]:
    """Hashes passwords at the cost they have in production."""
    hash_by(TRUE_HASHER)
    yield
    hash_by(QUICK_HASHER)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Collects the log lines of loggers that are first used during the test; other loggers keep their stream."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    with monkeypatch.context() as during:
        during.setattr(sys, "stderr", stream)
        configure_logs("INFO")
        yield stream
    structlog.configure(**before)
    root.handlers[:], sys.excepthook, threading.excepthook = handlers, *hooks
    root.setLevel(level)
