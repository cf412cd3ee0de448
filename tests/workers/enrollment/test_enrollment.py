"""Enrolling people: accounts, seats and answers, on the real database."""

import json
import unicodedata
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, Policy
from tests.kit.builders.contracts import (
    LINKS,
    MAILS,
    accepted,
    add_contract,
    asking,
    codes,
    enrol,
    enrol_people,
    order,
    query,
    seats,
    someone,
)
from workers.database import Session
from workers.enrollment.enrolling import enroll
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.registry import parse

ALL, VALID, FULL = Policy.ALL_OR_NOTHING, Policy.VALID_ROWS, Policy.UNTIL_FULL


def test_a_new_person_gets_an_account_a_seat_and_an_invitation(session: Session) -> None:
    contract_id = add_contract(session, seats=2)
    [answer] = enrol(session, asking(someone("Zoe@Example.com", "Zoé", "Le  Dû", locale="en", external_id="007")))
    [person] = answer.people
    assert (person.position, person.code, person.field) == (0, Code.ENROLLED, None)
    assert query(session, "SELECT id, email_norm, first_name, last_name, locale, activated_at FROM account") == [
        (person.account_id, "zoe@example.com", "Zoé", "Le Dû", "en", None)
    ]
    assert query(session, "SELECT id, contract_id, account_id, progress, external_id, job_id FROM enrollment") == [
        (person.enrollment_id, contract_id, person.account_id, "not_started", "007", answer.order.job_id)
    ]
    assert query(session, "SELECT enrollment_id, change, job_id FROM seat_movement") == [
        (person.enrollment_id, 1, answer.order.job_id)
    ]
    assert query(session, MAILS) == [("invitation", "zoe@example.com", "emails", "en", "owed")]
    assert [(voided, days) for _, voided, days in query(session, LINKS, email="zoe@example.com")] == [(False, 30)]
    assert seats(session) == 1


def test_an_existing_account_is_attached_and_keeps_its_names(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2", company="autre")
    enrol_people(session, someone("a", "Stéphane", "Dû", locale="fr"))
    before = query(session, "SELECT CAST(t AS text) FROM account t")
    assert enrol_people(session, someone("a", "Steph", "D.", locale="en"), contract="C-2") == ["attached"]
    assert query(session, "SELECT CAST(t AS text) FROM account t") == before
    assert (seats(session), seats(session, "C-2")) == (1, 1)


@pytest.mark.parametrize(
    "spelling", ["A@x.fr", " a@X.fr", "a@x.fr\u00a0", "\u200ba@x.fr", "mailto:a@x.fr", "Zoé <a@x.fr>"]
)
def test_one_address_is_one_account_however_it_is_spelt(session: Session, spelling: str) -> None:
    add_contract(session)
    assert enrol_people(session, someone("a@x.fr"), someone(spelling), policy=VALID) == [
        "enrolled",
        "duplicate_in_file",
    ]
    assert enrol_people(session, someone(spelling)) == ["already_enrolled"]
    assert query(session, "SELECT email_norm FROM account") == [("a@x.fr",)]


def test_an_accented_domain_is_stored_as_the_network_knows_it(session: Session) -> None:
    add_contract(session)
    assert enrol_people(session, someone("Zoe@Société.fr"), someone("zoe@xn--socit-esab.fr"), policy=VALID) == [
        "enrolled",
        "duplicate_in_file",
    ]
    assert query(session, "SELECT email_norm, to_address FROM account JOIN email ON account_id = account.id") == [
        ("zoe@xn--socit-esab.fr", "zoe@xn--socit-esab.fr")
    ]


def test_names_are_stored_composed(session: Session) -> None:
    add_contract(session)
    decomposed = unicodedata.normalize("NFD", "Stéphane"), unicodedata.normalize("NFD", "Lâm-Nguyễn")
    enrol_people(session, someone("a", *decomposed))
    assert query(session, "SELECT first_name, last_name FROM account") == [("Stéphane", "Lâm-Nguyễn")]


NAMES = [
    ("Nul\x00", Code.UNSAFE_VALUE),
    ("\ud800", Code.UNSAFE_VALUE),
    ("x" * 10_000, Code.NAME_TOO_LONG),
    ("e\u0301" * 10_000, Code.NAME_TOO_LONG),
    ("", Code.MISSING_NAME),
    ("Rtl\u202e", Code.UNSAFE_VALUE),
    ("<script>alert(1)</script>", Code.ENROLLED),
    ("Robert'); DROP TABLE account;--", Code.ENROLLED),
    ("{{ 7*7 }} %s :name \\u0041", Code.ENROLLED),
    ("😀", Code.ENROLLED),
]


def test_hostile_names_are_refused_or_kept_each_on_its_own(session: Session) -> None:
    add_contract(session)
    people = [
        {"email": f"p{number}@example.com", "first_name": name, "last_name": "Dupont"}
        for number, (name, _) in enumerate(NAMES)
    ]
    request = parse("enroll", json.dumps({"contract": "C-1", "people": people, "policy": "valid_rows"}))
    assert isinstance(request, Enroll)
    [answer] = enrol(session, request)
    assert [person.code for person in answer.people] == [code for _, code in NAMES]
    assert {person.field for person in answer.people if person.code is not Code.ENROLLED} == {"first_name"}
    kept = [name for name, code in NAMES if code is Code.ENROLLED]
    assert query(session, "SELECT first_name FROM account ORDER BY email_norm") == [(name,) for name in kept]


def test_results_come_in_input_order_with_their_rows(session: Session) -> None:
    add_contract(session, seats=4)
    add_contract(session, "C-2")
    enrol_people(session, "known", contract="C-2")
    enrol_people(session, "there")
    people: list[PersonToEnroll | str] = ["z", someone("bad@"), "there", "a", "Z@example.com", "known", "late"]
    [answer] = enrol(session, asking(*people, policy=FULL))
    assert codes(answer) == [
        "enrolled",
        "invalid_email",
        "already_enrolled",
        "enrolled",
        "duplicate_in_file",
        "attached",
        "no_seat_left",
    ]
    assert [person.position for person in answer.people] == list(range(7))
    stored = dict(query(session, "SELECT a.email_norm, e.id FROM enrollment e JOIN account a ON a.id = e.account_id"
                                 " JOIN contract c ON c.id = e.contract_id WHERE c.reference = 'C-1'"))  # fmt: skip
    expected = {0: "z", 2: "there", 3: "a", 5: "known"}
    assert {p.position: p.enrollment_id for p in answer.people if p.enrollment_id} == {
        position: stored[f"{name}@example.com"] for position, name in expected.items()
    }
    assert seats(session) == 4


@pytest.mark.parametrize(
    ("policy", "people", "expected", "used"),
    [
        (ALL, ["a", "b"], ["enrolled", "enrolled"], 2),
        (ALL, ["a", "!"], ["not_carried_out", "invalid_email"], 0),
        (ALL, ["a", "b", "c"], ["not_carried_out", "not_carried_out", "no_seat_left"], 0),
        (VALID, ["a", "!"], ["enrolled", "invalid_email"], 1),
        (VALID, ["a", "b", "c"], ["not_carried_out", "not_carried_out", "no_seat_left"], 0),
        (FULL, ["a", "b", "c"], ["enrolled", "enrolled", "no_seat_left"], 2),
        (FULL, ["!", "a", "b", "c"], ["invalid_email", "enrolled", "enrolled", "no_seat_left"], 2),
    ],
)
def test_each_policy(session: Session, policy: Policy, people: list[str], expected: list[str], used: int) -> None:
    add_contract(session, seats=2)
    rows: list[PersonToEnroll] = [someone("@" if name == "!" else name) for name in people]
    assert enrol_people(session, *rows, policy=policy) == expected
    counts = Counter(table for table in ("account", "enrollment", "email", "link", "seat_movement")
                     for _ in query(session, f"SELECT 1 FROM {table}"))  # fmt: skip
    assert set(counts.values()) <= {used}
    assert seats(session) == used


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "code"),
    [
        (1, None, "contract_not_started"),
        (None, -1, "contract_expired"),
        (-10, -5, "contract_expired"),
        (0, 0, "enrolled"),
    ],
)
def test_a_closed_contract_enrols_no_one(
    session: Session, starts_in: int | None, ends_in: int | None, code: str
) -> None:
    [(today,)] = query(session, "SELECT CAST(now() AT TIME ZONE 'Europe/Paris' AS date)")
    starts_on, ends_on = (None if days is None else _in_days(today, days) for days in (starts_in, ends_in))
    add_contract(session, starts_on=starts_on, ends_on=ends_on)
    [answer] = enrol(session, asking("a", someone("@"), policy=FULL))
    if code == "enrolled":
        assert codes(answer) == ["enrolled", "invalid_email"]
    else:
        assert (codes(answer), answer.code, answer.refused) == ([code, code], code, True)
        assert (query(session, "SELECT * FROM account"), seats(session)) == ([], 0)


def _in_days(today: date, days: int) -> date:
    return today + timedelta(days=days)


def test_an_unknown_contract_harms_no_other_order_of_the_batch(session: Session) -> None:
    add_contract(session)
    unknown, good = enrol(session, asking("a", contract="C-404"), asking("a"))
    assert (codes(unknown), unknown.code, unknown.contract) == (["unknown_contract"], Code.UNKNOWN_CONTRACT, None)
    assert codes(good) == ["enrolled"]


def test_a_portal_does_not_reach_the_contract_of_another(session: Session) -> None:
    add_contract(session)
    stranger = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": stranger})
    mine = order(asking("a"))
    theirs = replace(order(asking("a")), portal_id=stranger)
    answers = enroll(session, [theirs, mine])
    assert [codes(answer) for answer in answers] == [["unknown_contract"], ["enrolled"]]


def test_accepting_twice_is_one_job(session: Session) -> None:
    first, second = (accepted(session, asking("a"), key="same") for _ in range(2))
    assert first == second
    assert query(session, "SELECT id, portal_id FROM job") == [(first, LOCAL_PORTAL_ID)]
    assert isinstance(first, UUID)
