"""Rows of the database are named and typed, and none goes through the code as ``Any``.

``Session.execute`` gives rows that may be anything. So what it returns is not used there: ``workers/sql.py`` and the
classes of ``models`` give records, values and counts.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.kit.processes.support import PROJECT

READERS: Final = ("sql.py", "engine/ledger.py", "portal_client/messages.py")
"""Where rows are read and given their type; the client of portals executes commands of Redis."""

TYPED: Final = (
    *("audit.py", "clock.py", "catalog", "ops", "people", "web", "actors", "certificates", "imports", "mail"),
    *("access", "corrections", "enrollment", "outbox", "security", "cli/imports"),
    *("engine/acceptance.py", "engine/broker.py", "engine/chunks.py", "engine/claimer.py", "engine/overdue.py"),
    *("engine/oversized.py", "engine/owed_tables.py", "engine/results.py", "engine/rollout.py"),
    *("engine/set_back.py", "engine/slots.py", "engine/wake.py"),
)
"""Where no function takes or returns what may be anything."""


def files(names: Sequence[str]) -> list[Path]:
    found = []
    for name in names:
        path = PROJECT / "workers" / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def used_results(tree: ast.Module) -> Iterator[str]:
    """Results of ``execute`` that are used."""
    unused = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    for call in calls:
        if ast.unparse(call.func).endswith(".execute") and id(call) not in unused:
            yield f"line {call.lineno}: what execute returns is used"


def untyped(tree: ast.Module) -> Iterator[str]:
    """Parameters and answers of functions that may be anything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            yield from (f"line {one.lineno}: {one.arg} is Any" for one in every if is_any(one.annotation))
            if is_any(node.returns):
                yield f"line {node.lineno}: {node.name} returns Any"


def is_any(annotation: ast.expr | None) -> bool:
    """``Any``, several of them, ``Row[Any]`` or ``Any | None``; a dict of them is JSON, and no row."""
    if isinstance(annotation, ast.BinOp):
        return is_any(annotation.left) or is_any(annotation.right)
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value)
        return outer not in ("dict", "Mapping", "Select", "Callable") and is_any(annotation.slice)
    if isinstance(annotation, ast.Tuple):
        return any(is_any(one) for one in annotation.elts)
    return isinstance(annotation, ast.Name) and annotation.id == "Any"


def test_rows_are_read_as_records_everywhere() -> None:
    found = {
        path: list(used_results(ast.parse(path.read_text(encoding="utf-8"))))
        for path in files(["."])
        if str(path.relative_to(PROJECT / "workers")) not in READERS
    }
    assert len(found) > 200
    assert {str(path.relative_to(PROJECT)): told for path, told in found.items() if told} == {}


def test_no_row_may_be_anything() -> None:
    found = {path: list(untyped(ast.parse(path.read_text(encoding="utf-8")))) for path in files(TYPED)}
    assert len(found) > 30
    assert {str(path.relative_to(PROJECT)): told for path, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "written",
    [
        "for row in session.execute(READ): print(row)",
        "row = session.execute(READ).one()",
        "def look(row: Any) -> None: ...",
        "def look(rows: Sequence[Any]) -> None: ...",
        "def look(session: Session) -> Row[Any] | None: ...",
    ],
)
def test_a_row_that_may_be_anything_is_told(written: str) -> None:
    tree = ast.parse(written)
    assert [*used_results(tree), *untyped(tree)]


def test_a_statement_whose_result_nobody_needs_is_none() -> None:
    assert list(used_results(ast.parse("session.execute(UPDATE, {'id': row.id})"))) == []


def unexplained(written: str) -> list[str]:
    """Hand-written statements without a sentence: above them, below them, or on the record above that they fill."""
    lines, body, found = written.splitlines(), ast.parse(written).body, []
    for before, node, after in zip([None, *body], body, [*body[1:], None], strict=False):
        calls = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
        written_here = any(isinstance(called, ast.Name) and called.id == "text" for called in calls)
        if written_here and isinstance(node, ast.Assign | ast.AnnAssign):
            told_above = lines[node.lineno - 2].startswith("#") or isinstance(before, ast.ClassDef)
            told_below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if not (told_above or told_below):
                found.append(ast.unparse(node).partition(" ")[0].rstrip(":"))
    return found


def test_a_hand_written_statement_has_a_sentence() -> None:
    found = {path: unexplained(path.read_text(encoding="utf-8")) for path in files(["."])}
    assert {str(path.relative_to(PROJECT)): names for path, names in found.items() if names} == {}
    assert unexplained("import re\n\nREAD: Final = text('SELECT 1')\n") == ["READ"]
