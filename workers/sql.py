"""Runs hand-written SQL with typed rows: rows go in as parallel arrays and come out as named records.

A statement takes its input columns from a record and their types from the model of the table, and returns its rows as
another record. So a column that was renamed in a model is an error when the module is imported, and not when the
statement first runs.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from functools import cached_property, lru_cache
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Date,
    Executable,
    Select,
    TextClause,
    column,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped
from sqlmodel import SQLModel

from models.base import Record
from models.paris import TODAY_IN_PARIS
from workers.database import Session, array, moment_array, text_array

# Every record is a NamedTuple; the standard library has no type for that.
RecordT = TypeVar("RecordT", bound=tuple[Any, ...])

ValueT = TypeVar("ValueT")

_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]

_COUNTED: Final = {"preserve_rowcount": True, "synchronize_session": False}
"""Options that count rows, also for an insert, and leave objects in the session as they were read."""


@lru_cache(maxsize=1_024)
def with_columns(statement: TextClause, names: tuple[str, ...]) -> Executable:
    """Returns the statement with the names of the columns that it gives, in their order.

    SQLAlchemy prepares the reading of these columns once for each statement. For a text without them it does so each
    time that the statement runs: 50 µs for 30 columns. The names the database gives are read when it prepares.
    """
    return statement.columns(*[column(name) for name in names])


def fetch(
    session: Session, record: type[RecordT], statement: Executable, parameters: Mapping[str, Any] | None = None
) -> list[RecordT]:
    """Runs a statement and returns its rows as records.

    Parameters:
      record: a NamedTuple with a field for each column of the answer, in the same order.

    Raises: TypeError when fields and columns differ, which is a fault of the program.
    """
    fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]
    if isinstance(statement, TextClause):
        statement = with_columns(statement, fields)
    result = session.execute(statement, parameters)
    if tuple(result.keys()) != fields:
        raise TypeError(f"{record.__name__} has the fields {fields}, the statement gives {tuple(result.keys())}")
    make = record._make  # type: ignore[attr-defined]
    # A thousand at a time: one by one takes half as long again, and all at once would be in memory twice.
    return [make(row) for part in result.partitions(1_000) for row in part]


def fetch_one(
    session: Session, record: type[RecordT], statement: Executable, parameters: Mapping[str, Any] | None = None
) -> RecordT | None:
    """Runs a statement that finds one row or none.

    Raises: TypeError as :func:`fetch` does; ValueError when there is more than one row.
    """
    rows = fetch(session, record, statement, parameters)
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} rows where at most one {record.__name__} was expected")
    return rows[0] if rows else None


def fetch_values(
    session: Session, kind: type[ValueT], statement: Executable, parameters: Mapping[str, Any] | None = None
) -> list[ValueT]:
    """Runs a statement with one column and returns the values of its rows.

    Raises: TypeError for a value of another kind.
    """
    values = session.execute(statement, parameters).scalars().all()
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{type(value).__name__} where {kind.__name__} was expected")
    return cast("list[ValueT]", values)


def fetch_value(
    session: Session, kind: type[ValueT], statement: Executable, parameters: Mapping[str, Any] | None = None
) -> ValueT | None:
    """Runs a statement that finds one value; returns None when there is no row, or NULL in it.

    Raises: TypeError for a value of another kind; sqlalchemy's MultipleResultsFound when there is more than one row.
    """
    value = session.execute(statement, parameters).scalar_one_or_none()
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where {kind.__name__} was expected")
    return value


def change(session: Session, statement: Executable, parameters: Mapping[str, Any] | None = None) -> int:
    """Runs a statement that inserts, updates or deletes rows and returns how many."""
    result = session.execute(statement, parameters, execution_options=_COUNTED)
    return cast("CursorResult[Any]", result).rowcount


def as_json(record: RecordT) -> dict[str, Any]:
    """Returns a record in a form that JSON can hold: identifiers and moments as text, other values as they are."""
    return {name: _json_value(value) for name, value in record._asdict().items()}  # type: ignore[attr-defined]


def _json_value(value: object) -> object:
    """Returns an identifier or a moment as text, any other value as it is."""
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, date) else value


def select_record(
    record: type[RecordT], *tables: type[Record], **others: ColumnElement[Any] | Mapped[Any]
) -> Select[Any]:
    """Makes a ``select`` that fills a record: for each field the column of that name, or another expression.

    Parameters:
      record: a NamedTuple; its fields name the columns.
      tables: the models the fields are looked for in, in this order.
      others: an expression for each field that is no column of these tables, or replaces the column of that name.

    Raises: AttributeError for a field that is neither.
    """
    fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]
    found = {field: _column(tables, field) for field in fields if field not in others}
    return select(*[others[field].label(field) if field in others else found[field] for field in fields])


def _column(tables: Sequence[type[Record]], field: str) -> ColumnElement[Any]:
    for table in tables:
        if field in table.__table__.columns:
            return table.__table__.columns[field]
    raise AttributeError(f"none of {[table.__name__ for table in tables]} has a column {field}")


def given_values(row: Record) -> dict[str, Any]:
    """Returns the columns that a new row was given, for an ``insert``; the database fills in the others."""
    return {field: getattr(row, field) for field in row.model_fields_set}


def upsert(session: Session, row: Record, *, key: Sequence[str], changing: Collection[str]) -> UUID:
    """Inserts a row, or changes these columns of the row that has the same key.

    Returns: the id of the row.
    """
    given = postgresql.insert(row.__table__).values(given_values(row))
    changed = {column: given.excluded[column] for column in sorted(changing)}
    statement = given.on_conflict_do_update(index_elements=key, set_=changed).returning(row.__table__.columns["id"])
    return cast("UUID", session.execute(statement).scalar_one())


def insert_all(session: Session, table: type[Record], records: Sequence[RecordT]) -> None:
    """Inserts a row for each record. The record's fields are columns of the table; the database fills in the others.

    Raises: AttributeError for a field that is no column.
    """
    if not records:
        return
    columns = {field: _column((table,), field) for field in records[0]._fields}  # type: ignore[attr-defined]
    session.execute(insert(table.__table__), [dict(zip(columns, record, strict=True)) for record in records])


def today_in_paris() -> ColumnElement[date]:
    """Returns the expression for the date in France when the transaction began, for a ``select``."""
    return literal_column(TODAY_IN_PARIS, Date)


def joined(record: type[RecordT], *values: Any) -> RecordT | None:
    """Makes the record of an outer join, or returns None when it found no row: then the first value is None."""
    return None if values[0] is None else record(*values)


class Unnest(Generic[RecordT]):
    """Rows that a statement takes as parallel arrays: one parameter for each field of the record.

    In a statement it stands where a table would: ``SELECT * FROM {NEW_ACCOUNTS}``.

    Parameters:
      record: a NamedTuple; its fields name the columns and the parameters.
      table: the model with columns of the same names; it gives the types. None when all fields are in `others`.
      others: the PostgreSQL type of each field that is no column of this table.
      alias: the name the rows have in the statement.
      one_by_one: hides the number of rows from the planner, which then expects ten and looks each up in an index. With
        the number of a thousand it reads a table of some ten thousand rows whole.

    Raises: AttributeError for a field that is neither a column of the table nor one of the others.
    """

    def __init__(
        self,
        record: type[RecordT],
        table: type[SQLModel] | None,
        *,
        alias: str = "t",
        others: Mapping[str, str] | None = None,
        one_by_one: bool = False,
    ) -> None:
        self._fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]
        self._types = [(others or {}).get(field) or _type_of(table, field) for field in self._fields]
        self._alias = alias
        self._cast = "(SELECT CAST(:{} AS {}[]))" if one_by_one else "CAST(:{} AS {}[])"

    @cached_property
    def columns(self) -> str:
        """The names of the columns, for the list of an INSERT."""
        return ", ".join(self._fields)

    def __str__(self) -> str:
        """Returns the SQL that stands in the statement."""
        casts = [self._cast.format(field, kind) for field, kind in zip(self._fields, self._types, strict=True)]
        return f"unnest({', '.join(casts)}) {self._alias} ({self.columns})"

    def parameters(self, rows: Sequence[RecordT]) -> dict[str, Any]:
        """Returns the parameters of the statement for these rows, an array for each field."""
        values = zip(*rows, strict=True) if rows else [()] * len(self._fields)
        return {
            field: _WRITERS.get(kind, list)(column)
            for field, kind, column in zip(self._fields, self._types, values, strict=True)
        }


class JsonRows(Generic[RecordT]):
    """Rows that a statement takes as one JSON text, the parameter ``rows``.

    It is for columns that hold JSON themselves: escaping the quotes of many of them inside an array costs more than
    recording them. It stands where a table would, like :class:`Unnest`, and takes its column types from the model.

    Parameters:
      record: a NamedTuple; its fields name the columns.
      table: the model with columns of the same names; it gives the types.
      others: the PostgreSQL type of each field that is no column of this table.
      alias: the name the rows have in the statement.

    Raises: AttributeError for a field that is neither a column of the table nor one of the others.
    """

    def __init__(
        self,
        record: type[RecordT],
        table: type[SQLModel],
        *,
        alias: str = "t",
        others: Mapping[str, str] | None = None,
    ) -> None:
        self._fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]
        self._types = [(others or {}).get(field) or _type_of(table, field) for field in self._fields]
        self._alias = alias

    @cached_property
    def columns(self) -> str:
        """The names of the columns, for the list of an INSERT."""
        return ", ".join(self._fields)

    def __str__(self) -> str:
        """Returns the SQL that stands in the statement."""
        typed = ", ".join(f"{field} {kind}" for field, kind in zip(self._fields, self._types, strict=True))
        return f"json_to_recordset(CAST(:rows AS json)) {self._alias} ({typed})"

    def parameters(self, rows: Sequence[RecordT]) -> dict[str, Any]:
        """Returns the parameter of the statement for these rows; values that JSON has no form for become text."""
        return {"rows": json.dumps([dict(zip(self._fields, row, strict=True)) for row in rows], default=str)}


_WRITERS: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    **dict.fromkeys(("uuid", "integer", "bigint", "int", "smallint", "float", "boolean", "bool"), array),
    **dict.fromkeys(("text", "json"), text_array),
    "timestamp with time zone": moment_array,
}
"""The function that writes an array of each type; the driver writes those of the other types."""


def _type_of(table: type[SQLModel] | None, field: str) -> str:
    columns = table.__table__.columns if table else {}  # type: ignore[attr-defined]
    if field not in columns:
        raise AttributeError(f"the table {table and table.__tablename__} has no column {field}")
    kind = columns[field].type.compile(dialect=_POSTGRESQL).lower()
    return "text" if kind.startswith("varchar") else cast("str", kind)


__all__ = [
    "JsonRows",
    "Unnest",
    "as_json",
    "change",
    "fetch",
    "fetch_one",
    "fetch_value",
    "fetch_values",
    "given_values",
    "insert_all",
    "joined",
    "select_record",
    "today_in_paris",
    "upsert",
    "with_columns",
]
