"""An enrollment owes these mails and links, and no others."""

import pytest
from sqlalchemy import text

from models.words import Policy
from tests.kit.builders.contracts import (
    LINKS,
    MAILS,
    add_contract,
    asking,
    enrol,
    enrol_people,
    query,
)
from workers.database import Session
from workers.security.tokens import SigningKeys


def activate(session: Session, email: str) -> None:
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm = :email"), {"email": email})


def test_an_activated_account_is_told_without_a_link(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a", notify=False)
    activate(session, "a@example.com")
    assert enrol_people(session, "a", contract="C-2") == ["attached"]
    assert [row[0] for row in query(session, MAILS)] == ["attachment"]
    assert query(session, "SELECT 1 FROM link") == []


def test_an_account_never_activated_is_attached_and_its_link_prolonged(session: Session) -> None:
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
    assert voided == (column == "voided_at")  # no link of another person is changed


@pytest.mark.parametrize(("key", "left", "kept"), [("older", 8, True), ("older", 6, False), ("gone", 20, False)])
def test_a_link_of_an_older_key_is_replaced_before_it_is_too_short(
    session: Session, monkeypatch: pytest.MonkeyPatch, key: str, left: int, kept: bool
) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "a", "b")
    keys = SigningKeys.parse(f"test:{'5a' * 32},older:{'6b' * 32}")
    monkeypatch.setattr("workers.security.links.signing_keys", lambda: keys)
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


def test_one_mail_per_enrollment_and_none_if_already_enrolled(session: Session) -> None:
    add_contract(session, seats=3)
    enrol_people(session, "a", "b")
    enrol_people(session, "a", "b", "c", policy=Policy.UNTIL_FULL)
    enrol_people(session, "d", policy=Policy.UNTIL_FULL)
    assert query(session, "SELECT count(*), count(DISTINCT enrollment_id) FROM email") == [(3, 3)]


@pytest.mark.parametrize(("people", "queue"), [(10, "emails"), (11, "emails_bulk")])
def test_mails_of_many_wait_apart(session: Session, people: int, queue: str) -> None:
    add_contract(session, seats=20)
    enrol_people(session, *(f"p{number}" for number in range(people)))
    assert query(session, "SELECT DISTINCT queue FROM email") == [(queue,)]
