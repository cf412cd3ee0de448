"""Participants page by page: order, search, filters, names, mails, and what may be done."""

from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID, Portal
from models.words import DeliveryState, Progress
from tests.kit.builders.contracts import add_contract, did, enrolled, query, someone
from workers.database import Session
from workers.enrollment.rows import INSERT_ENROLLMENTS
from workers.enrollment.searching import find_words
from workers.reading.participant_steps import count_participants
from workers.reading.participants import Filter, PageAsked, Position, find_contract, list_participants, show_participant
from workers.requests.accounts import CorrectEmail, CorrectName, ErasePerson
from workers.requests.enrollment import Withdraw
from workers.requests.internal import FindWords

PEOPLE = [
    someone("ada@example.com", "Ada", "Byron"),
    someone("zoe@example.com", "Zoé", "Lefèvre"),
    someone("jp@example.com", "Jean-Pierre", "Martin", external_id="EMP-7"),
]


@pytest.fixture
def contract(session: Session) -> UUID:
    """Makes a contract with three participants."""
    contract_id = add_contract(session)
    enrolled(session, *PEOPLE)
    return contract_id


def page(session: Session, contract: UUID, search: str = "", **more: Any) -> list[dict[str, Any]]:
    filtered = {name: more.pop(name) for name in ("progress", "mail", "to_do") if name in more}
    return list(list_participants(session, contract, PageAsked(Filter(search, **filtered), **more)).items)


def names(people: list[dict[str, Any]]) -> list[str]:
    return [one["first_name"] for one in people]


def test_the_latest_participants_come_first(session: Session, contract: UUID) -> None:
    assert names(page(session, contract)) == ["Jean-Pierre", "Zoé", "Ada"]


def test_pages_follow_each_other_without_gap_or_repeat(session: Session, contract: UUID) -> None:
    enrolled(session, *[f"person{number}" for number in range(7)])
    seen, position = [], None
    for _ in range(20):
        found = list_participants(session, contract, PageAsked(Filter(), position, 3))
        seen += [one["enrollment_id"] for one in found.items]
        position = found.next and Position.of_cursor(found.next.as_cursor())
        if position is None:
            break
    assert len(seen) == len(set(seen)) == 10
    assert all(later > earlier for later, earlier in pairwise(seen))


@pytest.mark.parametrize("cursor", ["", "x", "e30", "W10", "WzFd", "WyJ4Il0", "WyIwMCIsIngiLCJ5Il0", "é", "a" * 10_000])
def test_a_text_that_is_no_cursor_is_told(cursor: str) -> None:
    assert Position.of_cursor(cursor) is None


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("lefevre", ["Zoé"]),
        ("LEFÈ zo", ["Zoé"]),
        ("pierre", ["Jean-Pierre"]),
        ("emp-7", ["Jean-Pierre"]),
        ("ada@exam", ["Ada"]),
        ("byron lefevre", []),
        ("nobody", []),
        ("%", []),
    ],
)
def test_a_search_finds_names_addresses_and_numbers(
    session: Session, contract: UUID, typed: str, found: list[str]
) -> None:
    assert names(page(session, contract, typed)) == found


def test_a_person_with_two_words_that_fit_is_found_once(session: Session, contract: UUID) -> None:
    enrolled(session, someone("marta@example.com", "Marta", "Martinez"))
    seen, position = [], None
    while True:
        found = list_participants(session, contract, PageAsked(Filter("mart"), position, 1))
        seen += names(list(found.items))
        position = found.next
        if position is None:
            break
    assert sorted(seen) == ["Jean-Pierre", "Marta"]


def test_a_search_stays_in_its_contract(session: Session, contract: UUID) -> None:
    other = add_contract(session, "C-2")
    enrolled(session, "ada", contract="C-2")
    assert len(page(session, other, "ada")) == 1
    assert len(page(session, contract, "ada")) == 1


def test_people_who_left_are_neither_listed_nor_found(session: Session, contract: UUID) -> None:
    gone = UUID(page(session, contract, "ada")[0]["enrollment_id"])
    did(session, Withdraw(contract="C-1", enrollment_ids=[gone]))
    assert names(page(session, contract)) == ["Jean-Pierre", "Zoé"]
    assert page(session, contract, "ada") == []
    assert query(session, "SELECT word FROM participant_word WHERE enrollment_id = :id", id=gone) == []
    shown = show_participant(session, LOCAL_PORTAL_ID, gone)
    assert shown is not None
    assert shown["withdrawn_at"]
    assert shown["can"]["withdraw"] == {"allowed": False, "code": "already_withdrawn"}


def ended(session: Session, address: str, state: str, error: str | None = None) -> None:
    """Records that the mails to an address have ended."""
    given = {"address": address, "state": state, "error": error}
    session.execute(text("""
        UPDATE email SET state = :state, due_at = NULL, finished_at = now(), error = CAST(:error AS json)
        WHERE to_address = :address"""), given)  # fmt: skip


def test_progress_and_mail_are_filters(session: Session, contract: UUID) -> None:
    session.execute(text("UPDATE enrollment SET progress = 'completed', completed_at = now() WHERE words LIKE '%ada%'"))
    ended(session, "zoe@example.com", "failed", '{"reason": "address_rejected"}')
    ended(session, "jp@example.com", "sent")
    assert names(page(session, contract, progress=Progress.COMPLETED)) == ["Ada"]
    assert names(page(session, contract, progress=Progress.NOT_STARTED)) == ["Jean-Pierre", "Zoé"]
    assert names(page(session, contract, mail=DeliveryState.UNDELIVERABLE)) == ["Zoé"]
    assert names(page(session, contract, mail=DeliveryState.SENT)) == ["Jean-Pierre"]
    assert names(page(session, contract, mail=DeliveryState.QUEUED)) == ["Ada"]
    assert names(page(session, contract, "zoe", mail=DeliveryState.UNDELIVERABLE)) == ["Zoé"]
    assert page(session, contract, "zoe", mail=DeliveryState.SENT) == []
    assert page(session, contract, progress=Progress.COMPLETED, mail=DeliveryState.UNDELIVERABLE) == []


def test_a_mail_says_what_became_of_it_and_what_to_do(session: Session, contract: UUID) -> None:
    ended(session, "jp@example.com", "failed", '{"reason": "address_rejected"}')
    mail = page(session, contract)[0]["mail"]
    assert (mail["kind"], mail["state"], mail["code"], mail["next"]) == (
        "invitation",
        "undeliverable",
        "address_rejected",
        "correct",
    )


def kinds(value: object) -> set[type]:
    """Returns the types of all values in what will be JSON."""
    if isinstance(value, dict):
        return set().union(*map(kinds, value.values()))
    return set().union(*map(kinds, value)) if isinstance(value, list) else {type(value)}


def test_a_page_holds_plain_texts_which_are_written_fast(session: Session, contract: UUID) -> None:
    ended(session, "ada@example.com", "failed", '{"reason": "address_rejected"}')
    assert kinds(page(session, contract)) == {str, bool, type(None)}


def waiting_since(session: Session, address: str, *, sent: int, link: int) -> None:
    """Records an invitation that was sent some days ago, with a link that ends in some days."""
    ended(session, address, "sent")
    given = {"address": address, "sent": sent, "link": link}
    of_person = "FROM account a WHERE a.email_norm = :address AND a.id = "
    for change in (
        "UPDATE email m SET finished_at = now() - make_interval(days => :sent) " + of_person + "m.account_id",
        "UPDATE enrollment e SET enrolled_at = now() - make_interval(days => :sent) " + of_person + "e.account_id",
        "UPDATE link l SET expires_at = now() + make_interval(days => :link) " + of_person + "l.account_id",
    ):
        session.execute(text(change), given)


def test_those_to_act_on_are_a_filter_and_counted(session: Session, contract: UUID) -> None:
    enrolled(session, *[f"person{number}" for number in range(4)])
    assert page(session, contract, to_do=True) == []
    ended(session, "ada@example.com", "failed", '{"reason": "address_rejected"}')
    waiting_since(session, "zoe@example.com", sent=15, link=15)
    waiting_since(session, "jp@example.com", sent=10, link=-1)
    waiting_since(session, "person0@example.com", sent=10, link=20)
    ended(session, "person1@example.com", "cancelled")
    found = page(session, contract, to_do=True)
    assert [one["email"] for one in found] == ["jp@example.com", "zoe@example.com", "ada@example.com"]
    assert [one["mail"]["next"] for one in found] == ["resend", "resend", "correct"]
    assert names(page(session, contract, "lefevre", to_do=True)) == ["Zoé"]
    counts = count_participants(session, contract)
    assert counts["to_do"] == {"number": 3, "more": False}
    assert counts["not_started"] == {"number": 7, "more": False}
    session.execute(text("UPDATE account SET activated_at = now(), password_hash = 'x' WHERE email_norm LIKE 'zoe%'"))
    done = "UPDATE enrollment SET progress = 'completed', completed_at = now() WHERE words LIKE '%jean%'"
    session.execute(text(done))
    assert names(page(session, contract, to_do=True)) == ["Ada"]
    counts = count_participants(session, contract)
    assert (counts["to_do"]["number"], counts["completed"]["number"]) == (1, 1)


def test_pages_of_those_to_act_on_follow_each_other(
    session: Session, contract: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(session, *[f"person{number}" for number in range(7)])
    ended(session, "zoe@example.com", "failed")
    session.execute(text("UPDATE email SET state = 'expired', due_at = NULL WHERE to_address LIKE 'person%'"))
    session.execute(text("""
        INSERT INTO email SELECT (jsonb_populate_record(m, jsonb_build_object('id', gen_random_uuid(),
          'dedup_key', 'again ' || m.id, 'message_id', 'again ' || m.id))).* FROM email m"""))  # fmt: skip
    monkeypatch.setattr("workers.reading.participants.LOOKED_AT", 3)
    seen, position = [], None
    while True:
        found = list_participants(session, contract, PageAsked(Filter(to_do=True), position, 2))
        seen += [one["email"] for one in found.items]
        position = found.next
        if position is None:
            break
    assert seen == [*[f"person{number}@example.com" for number in range(6, -1, -1)], "zoe@example.com"]


def test_a_large_contract_is_counted_up_to_a_bound(
    session: Session, contract: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(session, "zoe@example.com", "failed")
    for name in ("MOST_COUNTED", "MOST_LOOKED_AT"):
        monkeypatch.setattr(f"workers.reading.participant_steps.{name}", 2)
    counts = count_participants(session, contract)
    assert counts["not_started"] == {"number": 2, "more": True}
    assert counts["to_do"] == {"number": 1, "more": True}


def test_what_may_be_done_is_what_a_request_would_answer(session: Session, contract: UUID) -> None:
    can = page(session, contract, "ada")[0]["can"]
    assert can == {
        "withdraw": {"allowed": True, "code": "withdrawn"},
        "reset": {"allowed": True, "code": "activation_sent_instead"},
        "resend": {"allowed": True, "code": "sent"},
        "correct": {"allowed": True, "code": "at_once"},
        "duplicate": {"allowed": False, "code": "not_completed"},
    }
    session.execute(text("UPDATE account SET activated_at = now(), password_hash = 'x'"))
    session.execute(text("UPDATE enrollment SET progress = 'in_progress', started_at = now()"))
    can = page(session, contract, "ada")[0]["can"]
    assert can["withdraw"] == {"allowed": False, "code": "already_started"}
    assert can["reset"] == {"allowed": True, "code": "sent"}
    assert can["resend"] == {"allowed": False, "code": "already_activated"}
    assert can["correct"] == {"allowed": True, "code": "needs_confirmation"}


def test_an_account_of_two_companies_cannot_be_corrected(session: Session, contract: UUID) -> None:
    add_contract(session, "C-2", company="autre")
    enrolled(session, PEOPLE[0], contract="C-2")
    assert page(session, contract, "ada")[0]["can"]["correct"] == {"allowed": False, "code": "shared_account"}


def test_a_limit_that_is_reached_closes_the_button(session: Session, contract: UUID) -> None:
    for _ in range(3):
        session.execute(text("INSERT INTO throttle (scope, subject) SELECT 'invitation:account', id FROM account"))
    assert page(session, contract, "ada")[0]["can"]["resend"] == {"allowed": False, "code": "throttled"}


def test_who_asked_is_judged_apart_from_people_like_them(session: Session, contract: UUID) -> None:
    asked = text(
        "INSERT INTO throttle (scope, subject) SELECT 'invitation:account', id FROM account WHERE email_norm = :who"
    )
    for _ in range(3):
        session.execute(asked, {"who": "zoe@example.com"})
    session.execute(
        text("UPDATE link SET resent = 3 WHERE account_id IN (SELECT id FROM account WHERE email_norm LIKE 'jp%')")
    )
    can = {one["first_name"]: one["can"]["resend"]["code"] for one in page(session, contract)}
    assert can == {"Ada": "sent", "Zoé": "throttled", "Jean-Pierre": "throttled"}


def another_portal(session: Session) -> UUID:
    portal = Portal(id=new_id(), name="autre")
    session.add(portal)
    session.flush()
    return portal.id


def test_names_that_another_portal_typed_are_not_shown(session: Session, contract: UUID) -> None:
    theirs = another_portal(session)
    add_contract(session, "C-2", company="autre")
    session.execute(text("UPDATE contract SET portal_id = :portal WHERE id = :id"), {"portal": theirs, "id": contract})
    [later] = enrolled(session, someone("ada@example.com", "Adélaïde", "Lovelace"), contract="C-2")
    shown = show_participant(session, LOCAL_PORTAL_ID, later)
    assert shown is not None
    assert (shown["first_name"], shown["last_name"]) == ("Adélaïde", "Lovelace")
    found = find_contract(session, LOCAL_PORTAL_ID, "C-2")
    assert found is not None
    assert len(page(session, found.id, "lovelace")) == 1
    assert page(session, found.id, "byron") == []
    assert names(page(session, contract, "byron")) == ["Ada"]


def test_a_portal_that_was_first_is_shown_the_names_of_the_account(session: Session, contract: UUID) -> None:
    other = add_contract(session, "C-2", company="autre")
    enrolled(session, someone("ada@example.com", "Adélaïde", "Lovelace"), contract="C-2")
    assert names(page(session, other, "byron")) == ["Ada"]
    assert page(session, other, "lovelace") == []


def test_a_participant_of_another_portal_is_not_shown(session: Session, contract: UUID) -> None:
    theirs = UUID(page(session, contract)[0]["enrollment_id"])
    assert show_participant(session, another_portal(session), theirs) is None
    assert show_participant(session, LOCAL_PORTAL_ID, theirs, ["another"]) is None
    assert show_participant(session, LOCAL_PORTAL_ID, theirs, ["acme"]) is not None


def test_a_corrected_name_or_address_is_found(session: Session, contract: UUID) -> None:
    ada = UUID(page(session, contract, "ada")[0]["enrollment_id"])
    did(session, CorrectName(enrollment_id=ada, last_name="Lovelace"))
    did(session, CorrectEmail(enrollment_id=ada, email="countess@example.com"))
    assert page(session, contract, "byron") == page(session, contract, "ada@example") == []
    assert names(page(session, contract, "lovelace countess@")) == ["Ada"]


def test_a_correction_that_waits_is_told_to_the_company_that_asked(session: Session, contract: UUID) -> None:
    session.execute(text("UPDATE account SET activated_at = now(), password_hash = 'x'"))
    ada = UUID(page(session, contract, "ada")[0]["enrollment_id"])
    did(session, CorrectEmail(enrollment_id=ada, email="countess@example.com"))
    did(session, CorrectName(enrollment_id=ada, last_name="Lovelace"))
    [shown, zoe] = [page(session, contract, name)[0] for name in ("ada", "zoe")]
    assert (shown["email"], shown["last_name"]) == ("ada@example.com", "Byron")
    for waits in ("email_pending_until", "name_pending_until"):
        assert shown[waits] > shown["enrolled_at"]
        assert zoe[waits] is None
    other = add_contract(session, "C-2", company="autre")
    enrolled(session, PEOPLE[0], contract="C-2")
    [theirs] = page(session, other)
    assert theirs["email_pending_until"] is theirs["name_pending_until"] is None


def test_an_erased_person_is_found_by_nothing(session: Session, contract: UUID) -> None:
    did(session, ErasePerson(email="zoe@example.com", reason="demande"))
    assert page(session, contract, "zoe") == []
    assert not [word for (word,) in query(session, "SELECT word FROM participant_word") if "zo" in word]


def test_people_of_an_older_release_get_their_words(session: Session, contract: UUID) -> None:
    session.execute(text("DELETE FROM participant_word"))
    session.execute(text("UPDATE enrollment SET words = NULL"))
    assert page(session, contract, "ada") == []
    find_words(session, LOCAL_PORTAL_ID, new_id(), FindWords())
    assert names(page(session, contract, "ada")) == ["Ada"]
    assert "participant_word" in str(INSERT_ENROLLMENTS)
