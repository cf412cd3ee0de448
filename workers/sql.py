"""Hand-written SQL meets typed Python: rows go in as parallel arrays and come out as named records.

A statement that is written by hand takes the columns it is given from a record, their types from the model of the
table, and hands its rows back as another record. So a column that is renamed in a model is missed when its module is
imported, and not by the first request of the night.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID

from sqlalchemy import Executable
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

from workers.database import Session, array

# Whatever is here is a NamedTuple; the standard library has no type that says so.
RecordT = TypeVar("RecordT", bound=tuple[Any, ...])

_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


def fetch(
    session: Session, record: type[RecordT], statement: Executable, parameters: Mapping[str, Any] | None = None
) -> list[RecordT]:
    """Runs a statement and returns its rows as records.

    Parameters:
      record: a NamedTuple with a field for each column of the answer, in the same order.

    Raises: TypeError when fields and columns differ, which is a fault of the program.
    """
    result = session.execute(statement, parameters)
    fields = record._fields  # type: ignore[attr-defined]
    if tuple(result.keys()) != fields:
        raise TypeError(f"{record.__name__} has the fields {fields}, the statement gives {tuple(result.keys())}")
    make = record._make  # type: ignore[attr-defined]
    return [make(row) for row in result]


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


class Unnest(Generic[RecordT]):
    """Rows that a statement takes as parallel arrays: one parameter for each field of the record.

    In a statement it stands where a table would: ``SELECT * FROM {NEW_ACCOUNTS}``.

    Parameters:
      record: a NamedTuple; its fields name the columns and the parameters.
      table: the model whose columns have the same names; it gives the types.
      others: the PostgreSQL type of each field that is no column of this table.
      alias: the name the rows have in the statement.

    Raises: AttributeError for a field that is neither a column of the table nor one of the others.
    """

    def __init__(
        self, record: type[RecordT], table: type[SQLModel], *, alias: str = "t", others: Mapping[str, str] | None = None
    ) -> None:
        self._fields: tuple[str, ...] = record._fields  # type: ignore[attr-defined]
        self._types = [(others or {}).get(field) or _type_of(table, field) for field in self._fields]
        self._alias = alias

    @cached_property
    def columns(self) -> str:
        """The names of the columns, for the list of an INSERT."""
        return ", ".join(self._fields)

    def __str__(self) -> str:
        """The SQL that stands in the statement."""
        casts = [f"CAST(:{field} AS {kind}[])" for field, kind in zip(self._fields, self._types, strict=True)]
        return f"unnest({', '.join(casts)}) {self._alias} ({self.columns})"

    def parameters(self, rows: Sequence[RecordT]) -> dict[str, Any]:
        """The parameters of the statement for these rows, an array for each field."""
        values = zip(*rows, strict=True) if rows else [()] * len(self._fields)
        return {
            field: _as_array(kind, column)
            for field, kind, column in zip(self._fields, self._types, values, strict=True)
        }


_PLAIN: Final = frozenset({"uuid", "integer", "bigint", "int", "smallint"})


def _as_array(kind: str, values: Iterable[Any]) -> Any:
    return array(cast("Iterable[UUID | int | None]", values)) if kind in _PLAIN else list(values)


def _type_of(table: type[SQLModel], field: str) -> str:
    columns = table.__table__.columns  # type: ignore[attr-defined]
    if field not in columns:
        raise AttributeError(f"the table {table.__tablename__} has no column {field}")
    kind = columns[field].type.compile(dialect=_POSTGRESQL).lower()
    return "text" if kind.startswith("varchar") else cast("str", kind)


__all__ = ["Unnest", "fetch", "fetch_one"]
