"""Enrolling people: accounts, seats, mails, links and answers, on the real database."""

import json
import unicodedata
from collections import Counter
from datetime import date, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, Policy
from tests.contracts import (
    accepted,
    add_contract,
    asking,
    codes,
    enrol,
    enrol_people,
    everything,
    order,
    query,
    seats,
    someone,
)
from workers.database import Session
from workers.requests import Enroll, PersonToEnroll, parse
from workers.services.enrollment import enroll
from workers.tokens import SigningKeys

ALL, VALID, FULL = Policy.ALL_OR_NOTHING, Policy.VALID_ROWS, Policy.UNTIL_FULL
MAILS = "SELECT kind, to_address, queue, locale, state FROM email ORDER BY to_address, kind"
LINKS = """
    SELECT l.id, l.voided_at IS NOT NULL, CAST(extract(epoch FROM l.expires_at - now()) / 86400 AS int)
    FROM link l JOIN account a ON a.id = l.account_id WHERE a.email_norm = :email ORDER BY l.created_at, l.id"""


def activate(session: Session, email: str) -> None:
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm = :email"), {"email": email})


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
def test_a_closed_contract_enrols_nobody(
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
    theirs = order(asking("a"))
    theirs.portal_id = stranger
    answers = enroll(session, [theirs, mine])
    assert [codes(answer) for answer in answers] == [["unknown_contract"], ["enrolled"]]


# Mails and links


def test_an_activated_account_is_told_without_a_link(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a", notify=False)
    activate(session, "a@example.com")
    assert enrol_people(session, "a", contract="C-2") == ["attached"]
    assert [row[0] for row in query(session, MAILS)] == ["attachment"]
    assert query(session, "SELECT 1 FROM link") == []


def test_an_account_never_activated_is_attached_with_its_link_and_more_time(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a")
    session.execute(text("UPDATE link SET expires_at = now() + interval '2 days'"))
    [(link_id, _, _)] = query(session, LINKS, email="a@example.com")
    enrol_people(session, "a", contract="C-2")
    assert query(session, LINKS, email="a@example.com") == [(link_id, False, 30)]
    assert [row[0] for row in query(session, MAILS)] == ["attachment", "invitation"]


def test_a_link_is_never_shortened(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a")
    session.execute(text("UPDATE link SET expires_at = now() + interval '90 days'"))
    enrol_people(session, "a", contract="C-2")
    assert [days for _, _, days in query(session, LINKS, email="a@example.com")] == [90]


@pytest.mark.parametrize("column", ["expires_at", "voided_at", "consumed_at"])
def test_a_dead_link_is_replaced(session: Session, column: str) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a", "b")
    session.execute(text(f"UPDATE link SET {column} = now() - interval '1 second'"))
    enrol_people(session, "a", contract="C-2")
    old, new = query(session, LINKS, email="a@example.com")
    assert (old[1], new[1:]) == (column != "consumed_at", (False, 30))
    [(_, voided, _)] = query(session, LINKS, email="b@example.com")
    assert voided == (column == "voided_at")  # nobody else's link is touched


@pytest.mark.parametrize(("key", "left", "kept"), [("older", 8, True), ("older", 6, False), ("gone", 20, False)])
def test_a_link_of_an_older_key_is_replaced_before_it_is_too_short(
    session: Session, monkeypatch: pytest.MonkeyPatch, key: str, left: int, kept: bool
) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a", "b")
    keys = SigningKeys.parse(f"test:{'5a' * 32},older:{'6b' * 32}")
    monkeypatch.setattr("workers.services.links.signing_keys", lambda: keys)
    session.execute(text(f"UPDATE link SET key_id = '{key}', expires_at = now() + interval '{left} days'"))
    enrol_people(session, "a", contract="C-2")
    old, *new = [link[1:] for link in query(session, LINKS, email="a@example.com")]
    assert (old, new) == (((False, left), []) if kept else ((True, left), [(False, 30)]))
    signed = (
        "SELECT key_id FROM link l JOIN account a ON a.id = account_id WHERE email_norm LIKE 'a%' AND voided_at IS NULL"
    )
    assert query(session, signed) == [(key if kept else "test",)]
    assert [link[1:] for link in query(session, LINKS, email="b@example.com")] == [(False, left)]


def test_without_notify_nothing_is_owed(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a", "b", notify=False)
    enrol_people(session, "a", contract="C-2", notify=False)
    assert (query(session, MAILS), query(session, "SELECT 1 FROM link")) == ([], [])


def test_a_mail_names_its_cause_and_carries_no_link(session: Session) -> None:
    contract_id = add_contract(session)
    [answer] = enrol(session, asking("a"))
    [person] = answer.people
    [mail] = query(
        session,
        "SELECT dedup_key, account_id, enrollment_id, contract_id, job_id, context, message_id, lane, due_at <= now(),"
        " expires_at > now() FROM email",
    )
    [(company_id,)] = query(session, "SELECT id FROM company")
    assert mail[:6] == (
        f"invitation:{person.enrollment_id}",
        person.account_id,
        person.enrollment_id,
        contract_id,
        answer.order.job_id,
        None,
    )
    assert mail[6].endswith(".invitation@formation.test>")
    assert mail[7:] == (company_id, True, True)


def test_one_mail_per_enrollment_and_none_for_who_was_there(session: Session) -> None:
    add_contract(session, seats=3)
    enrol_people(session, "a", "b")
    enrol_people(session, "a", "b", "c", policy=FULL)
    enrol_people(session, "d", policy=FULL)
    assert query(session, "SELECT count(*), count(DISTINCT enrollment_id) FROM email") == [(3, 3)]


@pytest.mark.parametrize(("people", "queue"), [(10, "emails"), (11, "emails_bulk")])
def test_mails_of_many_wait_apart(session: Session, people: int, queue: str) -> None:
    add_contract(session, seats=20)
    enrol_people(session, *(f"p{number}" for number in range(people)))
    assert query(session, "SELECT DISTINCT queue FROM email") == [(queue,)]


# Batches of several jobs


def test_the_same_new_person_on_two_contracts_in_one_batch(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2", company="autre")
    first, second = enrol(session, asking(someone("a", "Zoé")), asking(someone("a", "Z."), contract="C-2"))
    assert (codes(first), codes(second)) == (["enrolled"], ["attached"])
    assert first.people[0].account_id == second.people[0].account_id
    assert query(session, "SELECT first_name FROM account") == [("Zoé",)]
    assert [row[0] for row in query(session, MAILS)] == ["attachment", "invitation"]
    assert len(query(session, LINKS, email="a@example.com")) == 1


def test_an_unnotified_first_order_leaves_the_link_to_the_second(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol(session, asking("a", notify=False), asking("a", contract="C-2"))
    assert [row[0] for row in query(session, MAILS)] == ["attachment"]
    assert [voided for _, voided, _ in query(session, LINKS, email="a@example.com")] == [False]


def test_the_same_person_twice_on_one_contract_in_one_batch(session: Session) -> None:
    add_contract(session)
    first, second = enrol(session, asking("a"), asking(someone("A@example.com"), "b"))
    assert (codes(first), codes(second)) == (["enrolled"], ["already_enrolled", "enrolled"])
    assert second.people[0][3:] == first.people[0][3:]
    assert seats(session) == 2


def test_orders_take_seats_in_ledger_order_each_by_its_own_policy(session: Session) -> None:
    add_contract(session, seats=3)
    answers = enrol(
        session,
        asking("a", "b"),
        asking("c", "d", policy=ALL),
        asking("c", "d", policy=FULL),
        asking("e", policy=VALID),
        asking("a"),
    )
    assert [codes(answer) for answer in answers] == [
        ["enrolled", "enrolled"],
        ["not_carried_out", "no_seat_left"],
        ["enrolled", "no_seat_left"],
        ["no_seat_left"],
        ["already_enrolled"],
    ]
    assert [answer.refused for answer in answers] == [False, True, False, True, False]
    assert seats(session) == 3


def test_each_answer_shows_the_contract_as_its_own_order_left_it(session: Session) -> None:
    add_contract(session, seats=9)
    answers = enrol(session, asking("a", "b"), asking("c", dry_run=True), asking("d"))
    assert [answer.contract and answer.contract.enrolled_count for answer in answers] == [2, 2, 3]


# Dry runs


def test_a_dry_run_writes_nothing(session: Session) -> None:
    add_contract(session, seats=4)
    add_contract(session, "C-2")
    enrol_people(session, "there")
    enrol_people(session, "known", contract="C-2")
    session.execute(text("UPDATE link SET expires_at = now() - interval '1 day'"))
    before = everything(session)
    people = [someone("a"), someone("@"), someone("there"), someone("known"), someone("A@example.com"), someone("b")]
    for policy in Policy:
        enrol(session, asking(*people, policy=policy, dry_run=True, report_to="chef@example.com"))
    assert everything(session) == before
    assert enrol_people(session, *people, policy=VALID, dry_run=True) == [
        "enrolled",
        "invalid_email",
        "already_enrolled",
        "attached",
        "duplicate_in_file",
        "enrolled",
    ]


def test_a_dry_run_takes_nothing_from_the_orders_behind_it(session: Session) -> None:
    add_contract(session, seats=1)
    add_contract(session, "C-2")
    answers = enrol(
        session,
        asking("a", dry_run=True),
        asking("a"),
        asking("a", dry_run=True),
        asking("b", dry_run=True, contract="C-2"),
        asking("b", contract="C-2"),
    )
    assert [codes(answer) for answer in answers] == [
        ["enrolled"],
        ["enrolled"],
        ["already_enrolled"],
        ["enrolled"],
        ["enrolled"],
    ]


ROWS = st.lists(
    st.builds(
        someone,
        st.sampled_from(["a", "A@Example.com", "b", "c", "d", "there", "known", "both", "@", ""]),
        st.sampled_from(["Zoé", "<b>", "", "Nul\0", "x" * 101]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=ROWS, policy=st.sampled_from(Policy), planned_seats=st.integers(2, 7), notify=st.booleans())
def test_what_a_dry_run_says_is_what_happens(
    session: Session, people: list[PersonToEnroll], policy: Policy, planned_seats: int, notify: bool
) -> None:
    with session.begin_nested() as undone:
        add_contract(session, seats=planned_seats)
        add_contract(session, "C-2")
        enrol_people(session, "there", "both")
        enrol_people(session, "known", "both", contract="C-2")
        before = everything(session)
        [said] = enrol(session, asking(*people, policy=policy, notify=notify, dry_run=True))
        assert everything(session) == before
        [done] = enrol(session, asking(*people, policy=policy, notify=notify))
        assert [p[:3] for p in said.people] == [p[:3] for p in done.people]
        assert said.plan == done.plan
        assert seats(session) == 2 + (done.plan.seats if done.plan else 0)
        if done.refused:
            assert everything(session) == before
        undone.rollback()


def test_accepting_twice_is_one_job(session: Session) -> None:
    first, second = (accepted(session, asking("a"), key="same") for _ in range(2))
    assert first == second
    assert query(session, "SELECT id, portal_id FROM job") == [(first, LOCAL_PORTAL_ID)]
    assert isinstance(first, UUID)
