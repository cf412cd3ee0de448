"""`matricule migrate` creates the tables of this release from any place of the package, and tells
whether they exist.
"""

import pytest

from models.tables import metadata
from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def tables() -> set[object]:
    return {name for (name,) in rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_an_empty_database_gets_its_tables_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    [(head,)] = rows("SELECT version_num FROM alembic_version")
    change("DROP SCHEMA public CASCADE")
    change("CREATE SCHEMA public")
    wanted = call("migrate", "--check")
    assert (wanted.code, wanted.out, tables()) == (1, "", set())
    assert f"without tables, this release needs {head}" in wanted.err
    first, again, check = call("migrate"), call("migrate"), call("migrate", "--check")
    assert (first.code, first.out) == (0, f"the database: without tables, now at {head}\n")
    assert tables() == {*metadata.tables, "alembic_version"}
    for called in (again, check):
        assert (called.code, called.out) == (0, f"the database is up to date, at {head}\n")


def test_a_database_of_a_later_release_is_left_alone(call: Call) -> None:
    change("UPDATE alembic_version SET version_num = '9999'")
    for arguments in ((), ("--check",)):
        called = call("migrate", *arguments)
        assert (called.code, called.out, "of a later release" in called.err) == (1, "", True)
    assert rows("SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_migration_that_fails_changes_nothing(call: Call) -> None:
    change("DROP SCHEMA public CASCADE")
    change("CREATE SCHEMA public")
    change("CREATE TABLE contract (id int)")
    with pytest.raises(Exception, match="contract"):
        call("migrate")
    assert tables() == {"contract"}
