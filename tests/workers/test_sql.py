"""Statements take their columns from the models, and their rows arrive as named records."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from models.account import Account
from models.email import Email
from workers.database import Session
from workers.sql import Unnest, fetch, fetch_one


class NewAccount(NamedTuple):
    id: UUID
    email_norm: str
    first_name: str
    last_name: str
    locale: str
    activated_at: datetime | None


class AccountName(NamedTuple):
    email_norm: str
    first_name: str
    activated_at: datetime | None


ROWS = Unnest(NewAccount, Account)
INSERT = text(f"INSERT INTO account ({ROWS.columns}) SELECT * FROM {ROWS}")
READ = text("SELECT email_norm, first_name, activated_at FROM account ORDER BY email_norm")


def test_rows_go_in_and_come_out_as_they_were(session: Session) -> None:
    moment = datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
    hostile = 'O\'Neil, {"a"} \\ NULL'
    people = [
        NewAccount(uuid4(), "a@example.com", hostile, "é", "fr", moment),
        NewAccount(uuid4(), "b@example.com", "", "NULL", "en", None),
    ]
    session.execute(INSERT, ROWS.parameters(people))
    assert fetch(session, AccountName, READ) == [
        AccountName("a@example.com", hostile, moment),
        AccountName("b@example.com", "", None),
    ]


def test_no_rows_are_no_rows(session: Session) -> None:
    session.execute(INSERT, ROWS.parameters([]))
    assert fetch(session, AccountName, READ) == []


def test_json_is_handed_over_as_text(session: Session) -> None:
    class Context(NamedTuple):
        context: str | None

    rows = Unnest(Context, Email)
    given = [Context('{"again": true}'), Context(None)]
    found = session.execute(text(f"SELECT context FROM {rows}"), rows.parameters(given)).scalars()
    assert list(found) == [{"again": True}, None]


def test_a_column_that_is_not_there_is_missed_at_once() -> None:
    class Renamed(NamedTuple):
        email: str

    with pytest.raises(AttributeError, match="the table account has no column email"):
        Unnest(Renamed, Account)


def test_an_answer_of_other_columns_is_refused(session: Session) -> None:
    with pytest.raises(TypeError, match="AccountName has the fields"):
        fetch(session, AccountName, text("SELECT email_norm, first_name AS name, activated_at FROM account"))


def test_one_row_or_none(session: Session) -> None:
    class Number(NamedTuple):
        number: int

    query = text("SELECT number FROM unnest(CAST(:numbers AS int[])) t (number)")
    assert fetch_one(session, Number, query, {"numbers": [4]}) == Number(4)
    assert fetch_one(session, Number, query, {"numbers": []}) is None
    with pytest.raises(ValueError, match="2 rows where at most one Number"):
        fetch_one(session, Number, query, {"numbers": [4, 4]})
