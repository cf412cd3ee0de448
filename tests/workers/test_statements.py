"""The migrated database prepares every hand-written statement, so a removed column fails here, in seconds.

Calls of ``text`` in ``workers`` are counted in the source, so that no statement is missed.
"""

import ast
import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from sqlalchemy import ClauseElement, Executable, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

import workers
from workers.database import LOCK_TIMEOUT

NOT_PREPARED: Final = {LOCK_TIMEOUT.text}
"""PostgreSQL cannot prepare ``SET``, so this statement is executed instead."""

MAKERS: Final = {"workers.ops.folding": {"_fold"}, "workers.people.retention": {"_part"}}
"""These functions build statements for constants of their own module."""

SPAN: Final = re.compile(r"(now\(\) [-+] \$\d+)\b")
"""The driver sends this parameter as an interval; without its type PostgreSQL would expect a timestamp."""

DIALECT: Final = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


def modules() -> list[ModuleType]:
    """Returns every module but the two that start work when they are imported; they have no statement."""
    found = {module.name for module in pkgutil.walk_packages(workers.__path__, "workers.")}
    found -= {"workers.main", "workers.cli.__main__"}
    return [importlib.import_module(name) for name in sorted(found)]


def statements_in(value: object) -> Iterator[Executable]:
    """Yields the statements of a constant: itself, the items of a container, the properties of a dataclass."""
    if isinstance(value, ClauseElement) and isinstance(value, Executable):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from statements_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from statements_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for name in properties(type(value)):
            yield from statements_in(getattr(value, name))


def properties(kind: type) -> list[str]:
    return [name for name, member in vars(kind).items() if isinstance(member, cached_property)]


def statements_of(module: ModuleType) -> list[Executable]:
    named = [value for value in vars(module).values() if not isinstance(value, ModuleType)]
    return [statement for value in named for statement in statements_in(value)]


def calls(node: ast.AST) -> int:
    """Counts the calls of ``text`` in this part of a module."""
    return sum(
        isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and found.func.id == "text"
        for found in ast.walk(node)
    )


def calls_text(tree: ast.Module) -> bool:
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "sqlalchemy"]
    return any(name.name == "text" for node in imports for name in node.names)


def source(module: ModuleType) -> ast.Module:
    return ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))


def missed(module: ModuleType) -> Iterator[str]:
    """Yields the places of statements that the walk over the constants of this module does not find."""
    for node in source(module).body:
        if not calls(node):
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            assert isinstance(target, ast.Name)
            if len(list(statements_in(getattr(module, target.id)))) < calls(node):
                yield target.id
        elif isinstance(node, ast.ClassDef):
            known = properties(getattr(module, node.name))
            yield from (f"{node.name}.{name_of(one)}" for one in node.body if calls(one) and name_of(one) not in known)
        elif name_of(node) not in MAKERS.get(module.__name__, ()):
            yield name_of(node)


def name_of(node: ast.AST) -> str:
    return node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ast.unparse(node)[:60]


def test_every_statement_of_the_source_is_found() -> None:
    with_text = [module for module in modules() if calls_text(source(module))]
    assert len(with_text) > 40
    assert [(module.__name__, name) for module in with_text for name in missed(module)] == []


def test_the_database_prepares_every_statement(session: Session) -> None:
    found = {id(statement): (module, statement) for module in modules() for statement in statements_of(module)}
    written = sum(calls(node) for module in modules() if calls_text(source(module)) for node in source(module).body)
    assert len(found) >= written
    assert [problem for module, statement in found.values() if (problem := prepare(session, module, statement))] == []


def prepare(session: Session, module: ModuleType, statement: Executable) -> str | None:
    connection = session.connection()
    if isinstance(statement, TextClause) and statement.text in NOT_PREPARED:
        connection.execute(statement)
        return None
    sql = SPAN.sub(r"\1::interval", str(statement.compile(dialect=DIALECT)))  # type: ignore[attr-defined]
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"PREPARE looked_at AS {sql.replace('%', '%%')}")
            connection.exec_driver_sql("DEALLOCATE looked_at")
    except DBAPIError as error:
        return f"{module.__name__}: {error.orig}\n{sql}"
    return None


@pytest.mark.parametrize("broken", ["SELECT nothing_of_the_kind FROM job", "SELECT 1 FROM job WHERE id = :id AND"])
def test_a_statement_with_a_removed_column_is_reported(session: Session, broken: str) -> None:
    assert prepare(session, workers, text(broken))
