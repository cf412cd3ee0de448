"""docs/data.md shows the tables, their foreign keys and the states as the models have them."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import Table

from models.base import Record
from models.tables import metadata
from models.words import EmailState, JobState, WebhookState
from tests.kit.processes.support import PROJECT

PICTURE = re.compile(r"```mermaid\nerDiagram\n(.*?)```", re.DOTALL)
LINE = re.compile(r"^ +(\w+) [|}][|o](--|\.\.)[|o][|{] (\w+) :", re.MULTILINE)
STATES = re.compile(r"## A (job|mail|webhook)\n\n```mermaid\nstateDiagram-v2\n(.*?)```", re.DOTALL)


def page() -> str:
    return (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")


def record_classes(root: type[Record] = Record) -> Iterator[type[Record]]:
    for record in root.__subclasses__():
        yield record
        yield from record_classes(record)


def tables_part() -> str:
    classes = {record.__tablename__: record for record in record_classes() if hasattr(record, "__table__")}
    lines = ["| table | a row is | in |", "| --- | --- | --- |"]
    for name in sorted(metadata.tables):
        summary = " ".join((classes[name].__doc__ or "").split("\n\n")[0].replace("``", "`").split())
        place = Path(*classes[name].__module__.split(".")).with_suffix(".py").as_posix()
        lines.append(f"| `{name}` | {summary} | [{place}](../{place}) |")
    return "\n".join(lines)


def references(table: Table) -> set[tuple[str, str]]:
    return {(key.column.table.name, table.name) for key in table.foreign_keys}


def test_the_page_lists_every_table(generated: Callable[[str, Mapping[str, str]], None]) -> None:
    generated("data.md", {"tables": tables_part()})


def test_solid_lines_of_the_pictures_are_the_foreign_keys() -> None:
    drawn, pictured = set(), set()
    for picture in PICTURE.findall(page()):
        lines = LINE.findall(picture)
        assert len(lines) == len(picture.splitlines()), picture
        drawn |= {(one, other) for one, line, other in lines if line == "--"}
        pictured |= {name for one, _, other in lines for name in (one, other)}
    assert pictured <= set(metadata.tables)
    among = {pair for table in metadata.tables.values() for pair in references(table) if pictured.issuperset(pair)}
    assert drawn == among


@pytest.mark.parametrize(("which", "states"), [("job", JobState), ("mail", EmailState), ("webhook", WebhookState)])
def test_the_picture_has_every_state_and_no_other(which: str, states: type[StrEnum]) -> None:
    [picture] = [drawn for name, drawn in STATES.findall(page()) if name == which]
    named = set(re.findall(r"(\w+) -->", picture)) | set(re.findall(r"--> (\w+)", picture))
    assert named == {state.value for state in states}
    assert ";" not in picture  # ends a line of Mermaid: what follows would be drawn as states
