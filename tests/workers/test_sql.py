"""Statements take their columns from the models, and their rows are named records."""

from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SAWarning
from sqlmodel import col, select, update

from models.account import Account
from models.email import Email
from models.portal import LOCAL_PORTAL_ID, Logo, Organisation, Portal
from workers.database import Session, text_array
from workers.sql import (
    JsonRows,
    Unnest,
    as_json,
    change,
    fetch,
    fetch_one,
    fetch_value,
    fetch_values,
    insert_all,
    joined,
    select_record,
    upsert,
)


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


class NamedAccount(NamedTuple):
    id: UUID


ADD_MANY = text("""
    INSERT INTO account (id, email_norm, first_name, last_name, locale)
    SELECT gen_random_uuid(), n || '@example.com', 'Zoé', 'Le Dû', 'fr' FROM generate_series(1, 20000) n""")


def test_rows_looked_up_one_by_one_never_read_the_table_whole(session: Session) -> None:
    session.execute(ADD_MANY)
    session.execute(text("ANALYZE account"))
    ids = fetch(session, NamedAccount, text("SELECT id FROM account LIMIT 1000"))
    given = Unnest(NamedAccount, Account, alias="given", one_by_one=True)
    rename = text(f"EXPLAIN UPDATE account a SET first_name = 'Ana' FROM {given} WHERE a.id = given.id")
    plan = fetch_values(session, str, rename, given.parameters(ids))
    assert not [line for line in plan if "Seq Scan" in line]


class GivenKinds(NamedTuple):
    id: UUID | None
    lifetime: int | None
    score: float | None
    activated: bool | None
    words: str | None
    at: datetime | None


KINDS = Unnest(
    GivenKinds,
    None,
    others={
        "id": "uuid",
        "lifetime": "integer",
        "score": "float",
        "activated": "bool",
        "words": "text",
        "at": "timestamp with time zone",
    },
)
HOSTILE = (
    "",
    "NULL",
    "null",
    " a ",
    "{}",
    "{a,b}",
    ",",
    '"',
    '""',
    "\\",
    '\\"',
    "\\\\",
    "\n\t",
    "'",
    "é\u202e😀",
    "\x7f",
    "%s :x",
)


def test_values_of_each_type_go_in_and_come_out(session: Session) -> None:
    summer = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-5, minutes=30)))
    given = [
        GivenKinds(uuid4(), -1, 0.1, True, "a", datetime(2026, 3, 9, 8, 30, tzinfo=UTC)),
        GivenKinds(UUID(int=0), 2**31 - 1, 1e-300, False, "b", summer),
        GivenKinds(UUID(int=2**128 - 1), 0, 100.0, None, "c", datetime(1, 1, 1, tzinfo=UTC)),
        GivenKinds(None, None, None, None, None, None),
        *[GivenKinds(uuid4(), 1, 1.5, True, words, None) for words in HOSTILE],
    ]
    assert fetch(session, GivenKinds, text(f"SELECT * FROM {KINDS}"), KINDS.parameters(given)) == given


def test_texts_in_an_array_stay_as_they_are(session: Session) -> None:
    hostile = ['a","b', '"', '""', "\\", '\\"', "NULL", "{}", " ", "", ",", "\n", "é"]
    read = text("SELECT t FROM unnest(CAST(:texts AS text[])) WITH ORDINALITY x (t, n) ORDER BY n")
    for texts in ([], [""], ["a"], hostile, [None], ["a", None], [*hostile, None]):
        assert list(session.execute(read, {"texts": text_array(texts)}).scalars()) == texts
    for one in hostile:
        assert list(session.execute(read, {"texts": text_array([one])}).scalars()) == [one]
        assert list(session.execute(read, {"texts": text_array([one, one])}).scalars()) == [one, one]


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


@pytest.mark.parametrize("columns", ["1 AS id, 2 AS a", "1 AS a", "1 AS a, 2 AS id, 3 AS b", "1 AS a, 2 AS b"])
def test_columns_in_another_order_or_number_are_refused(session: Session, columns: str) -> None:
    class Pair(NamedTuple):
        a: int
        id: int

    right, wrong = text("SELECT 1 AS a, 2 AS id"), text(f"SELECT {columns}")
    for _ in range(2):  # what is read once of a statement is kept
        assert fetch(session, Pair, right) == [Pair(1, 2)]
        with pytest.raises((TypeError, SAWarning)):  # a warning in production, before the error
            fetch(session, Pair, wrong)


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


def test_values_are_of_the_kind_that_was_asked_for(session: Session) -> None:
    numbers = text("SELECT number FROM unnest(CAST(:numbers AS int[])) given (number)")
    assert fetch_values(session, int, numbers, {"numbers": [4, 5]}) == [4, 5]
    assert fetch_value(session, int, numbers, {"numbers": [4]}) == 4
    assert fetch_value(session, int, numbers, {"numbers": []}) is None
    assert fetch_value(session, int, numbers, {"numbers": [None]}) is None
    with pytest.raises(TypeError, match="NoneType where int was expected"):
        fetch_values(session, int, numbers, {"numbers": [4, None]})
    with pytest.raises(TypeError, match="int where UUID was expected"):
        fetch_value(session, UUID, numbers, {"numbers": [4]})


def test_changed_rows_are_counted_and_what_was_read_stays_as_it_was(session: Session) -> None:
    logo = insert(Logo).values(sha256="a" * 64, content=b"").on_conflict_do_nothing(index_elements=["sha256"])
    assert [change(session, logo), change(session, logo)] == [1, 0]
    portal = session.exec(select(Portal).where(Portal.id == LOCAL_PORTAL_ID)).one()
    renaming = update(Portal).where(col(Portal.id) == LOCAL_PORTAL_ID).values(name="renamed")
    assert change(session, renaming) == 1
    assert portal.name == "local"
    assert change(session, text("DELETE FROM logo WHERE sha256 = :digest"), {"digest": "b" * 64}) == 0


def test_a_record_says_which_columns_are_read(session: Session) -> None:
    class Named(NamedTuple):
        id: UUID
        called: str
        created_at: datetime

    named = select_record(Named, Portal, called=col(Portal.name)).where(col(Portal.id) == LOCAL_PORTAL_ID)
    [portal] = fetch(session, Named, named)
    assert portal.called == "local"
    assert as_json(portal) == {
        "id": str(LOCAL_PORTAL_ID),
        "called": "local",
        "created_at": portal.created_at.isoformat(),
    }
    with pytest.raises(AttributeError, match="none of \\['Portal'\\] has a column called"):
        select_record(Named, Portal)


def test_a_row_that_is_there_is_changed_where_that_is_asked(session: Session) -> None:
    def organisation(**said: str) -> Organisation:
        names = {"legal_name": "A", "signatory_name": "B", "signatory_quality": "C", "place": "D"}
        return Organisation.model_validate({"id": uuid4(), "reference": "org", **names, **said})

    def put(row: Organisation, *changing: str) -> UUID:
        return upsert(session, row, key=("reference",), changing=changing)

    first = put(organisation(siret="1"), "legal_name")
    assert put(organisation(legal_name="E", siret="2", place="F"), "legal_name", "place") == first
    [kept] = session.exec(select(Organisation).where(Organisation.reference == "org"))
    assert (kept.id, kept.legal_name, kept.siret, kept.place) == (first, "E", "1", "F")
    assert kept.created_at == session.exec(select(func.now())).one()


def test_a_record_with_a_field_that_is_no_column_is_not_inserted(session: Session) -> None:
    class Renamed(NamedTuple):
        sha256: str
        bytes: bytes

    with pytest.raises(AttributeError, match="has a column bytes"):
        insert_all(session, Logo, [Renamed("a" * 64, b"")])


def test_rows_that_hold_json_go_in_as_one_text(session: Session) -> None:
    class Kept(NamedTuple):
        id: UUID
        context: dict[str, str] | None
        date: datetime

    moment = datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
    given = [Kept(uuid4(), {"a": "O'Neil \"\\"}, moment), Kept(uuid4(), None, moment)]
    rows = JsonRows(Kept, Email)
    query = text(f"SELECT {rows.columns} FROM {rows}")
    assert fetch(session, Kept, query, rows.parameters(given)) == given
    assert fetch(session, Kept, query, rows.parameters([])) == []


def test_an_outer_join_that_found_nothing_gives_no_record() -> None:
    assert joined(AccountName, "a@example.com", "Anne", None) == AccountName("a@example.com", "Anne", None)
    assert joined(AccountName, None, None, None) is None
