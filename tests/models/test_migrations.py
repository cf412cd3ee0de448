"""Migrations build the declared tables from an empty database, go down to nothing and up again; one rule names all."""

import os
import subprocess
import sys

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.tables import metadata
from tests.kit.processes.support import PROJECT, rows
from workers import database

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default, identity_generation
    FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, column_name"""
CONSTRAINTS = """
    SELECT CAST(CAST(conrelid AS regclass) AS text), conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = CAST('public' AS regnamespace) AND contype <> 'n' ORDER BY 1, 2"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
OPTIONS = """
    SELECT relname, CAST(reloptions AS text) FROM pg_class
    WHERE relnamespace = CAST('public' AS regnamespace) AND relkind = 'r' ORDER BY relname"""


def start(*command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *command],
        cwd=PROJECT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alembic(*command: str) -> str:
    process = start(*command)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def schema() -> list[list[tuple[object, ...]]]:
    return [rows(statement) for statement in (COLUMNS, CONSTRAINTS, INDEXES, OPTIONS)]


def tables() -> set[object]:
    return {name for (name,) in rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def execute(*statements: str) -> None:
    with database.transaction() as session:
        for statement in statements:
            session.execute(text(statement))


def empty() -> None:
    execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def test_there_is_one_head_and_one_base() -> None:
    scripts = ScriptDirectory.from_config(Config(toml_file=PROJECT / "pyproject.toml"))
    assert (len(scripts.get_heads()), len(scripts.get_bases())) == (1, 1)


def test_up_down_and_up_again(fresh_database: str) -> None:
    migrated = schema()
    empty()
    alembic("upgrade", "head")
    assert schema() == migrated
    assert tables() == {*metadata.tables, "alembic_version"}
    assert rows("SELECT id, name FROM portal") == [(LOCAL_PORTAL_ID, "local")]
    assert "No new upgrade operations detected" in alembic("check")
    alembic("downgrade", "base")
    assert tables() == {"alembic_version"}
    alembic("upgrade", "head")
    assert schema() == migrated


def test_two_releases_started_at_once_migrate_once(fresh_database: str) -> None:
    empty()
    both = [start("upgrade", "head") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert rows("SELECT count(*) FROM portal") == [(1,)]


@pytest.mark.parametrize(
    ("before", "table", "index"),
    [("0013", "job", "ix_job_due"), ("0021", "webhook", "ix_webhook_due_of_endpoint")],
)
def test_an_index_that_was_not_made_to_its_end_is_made_again(
    fresh_database: str, before: str, table: str, index: str
) -> None:
    migrated = schema()
    alembic("downgrade", before)
    execute(f"CREATE INDEX {index} ON {table} (id)")
    execute(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('{index}')")
    alembic("upgrade", "head")
    assert schema() == migrated
    assert rows(f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{index}')") == [(True,)]


def test_a_migration_that_fails_leaves_nothing_behind(fresh_database: str) -> None:
    empty()
    execute("CREATE TABLE contract (id int)")
    process = start("upgrade", "head")
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert tables() == {"contract"}


@pytest.mark.parametrize(
    ("kind", "prefix"), [("p", "pk_{table}"), ("f", "fk_{table}_"), ("u", "uq_{table}_"), ("c", "ck_{table}_")]
)
def test_one_rule_names_every_constraint(fresh_database: str, kind: str, prefix: str) -> None:
    found = rows(
        "SELECT CAST(CAST(conrelid AS regclass) AS text), conname FROM pg_constraint"
        " WHERE connamespace = CAST('public' AS regnamespace) AND contype = :kind",
        kind=kind,
    )
    found = [(table, name) for table, name in found if table != "alembic_version"]
    assert found
    wrong = [(table, name) for table, name in found if not str(name).startswith(prefix.format(table=table))]
    assert wrong == []


def test_one_rule_names_every_index(fresh_database: str) -> None:
    found = rows("SELECT tablename, indexname FROM pg_indexes WHERE schemaname = 'public'")
    wrong = [
        (table, name)
        for table, name in found
        if table != "alembic_version"
        and not any(str(name).startswith(f"{kind}_{table}") for kind in ("pk", "uq", "ix"))
    ]
    assert wrong == []
    # PostgreSQL cuts longer names off, and two of them may then be equal.
    assert max(len(str(name)) for _, name in found) < 63
