"""A re-sent reset or invitation: its link, and the mail that carries it."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text

from models.base import new_id
from models.link import MOST_RESENT
from models.words import EmailKind, EmailState
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import everything, query
from tests.kit.builders.password_links import (
    answers,
    do,
    enrolled,
    later,
    links,
    resend,
    reset,
)
from workers.access.passwords import choose_password
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.requests.queues import Queue
from workers.security.keys import signing_keys
from workers.security.link_views import LinkView
from workers.settings import get_settings


def letters(session: Session, queue: Queue = Queue.EMAILS) -> list[Letter]:
    return write_letters(session, ledger.claim(session, EMAILS, queue, size=200, lease=30, worker=new_id()))


def token(letter: Letter) -> str:
    return str(letter.context["link"]).rpartition("/")[2]


# The link


@pytest.mark.moment
def test_asked_again_it_is_the_same_live_link_with_more_time_three_times(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    tokens = set()
    for times in range(MOST_RESENT + 1):
        assert answers(session, reset(anne)) == ["sent"]
        assert links(session, "anne")[1:] == [("password_reset", times, True)]
        [letter] = letters(session)
        assert letter.kind is EmailKind.PASSWORD_RESET
        tokens.add(token(letter))
        [(left,)] = query(session, "SELECT expires_at - now() FROM link WHERE purpose = 'password_reset'")
        assert left == timedelta(hours=1)
        later(session, 40)
    assert len(tokens) == 1
    [job] = do(session, reset(anne))
    [(ends_at,)] = query(session, "SELECT expires_at FROM link WHERE purpose = 'password_reset'")
    [person] = job["result"]["people"]
    assert (person["code"], person["detail"]) == ("throttled", {"from": ends_at.isoformat()})
    later(session, 20)  # the link expires
    assert answers(session, reset(anne)) == ["sent"]
    assert [(resent, alive) for _, resent, alive in links(session, "anne")[1:]] == [(3, False), (0, True)]


@pytest.mark.parametrize("ended", ["consumed_at = now()", "voided_at = now()", "key_id = 'gone'"])
def test_a_link_that_was_used_or_ended_gives_place_to_a_new_one(session: Session, ended: str) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    session.execute(text(f"UPDATE link SET resent = 3, {ended} WHERE purpose = 'password_reset'"))
    assert answers(session, reset(anne)) == ["sent"]
    live = (
        "SELECT resent, key_id FROM link WHERE purpose = 'password_reset' AND consumed_at IS NULL AND voided_at IS NULL"
    )
    assert query(session, live) == [(0, "test")]


def rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a newer key sign from now on."""
    monkeypatch.setenv("LINK_KEYS", f"newer:{'6b' * 32},{get_settings().link_keys}")
    get_settings.cache_clear()
    signing_keys.cache_clear()


def test_a_reset_link_under_an_older_key_is_still_the_same(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [first] = letters(session)
    later(session, 30)
    rotate(monkeypatch)
    answers(session, reset(anne))
    [second] = letters(session)
    assert second.context["link"] == first.context["link"]
    assert second.context["expires_at"] - first.context["expires_at"] == timedelta(minutes=0)
    assert isinstance(choose_password(session, signing_keys(), token(first), "new"), LinkView)


@pytest.mark.parametrize(("days_left", "same"), [(20, True), (6, False)])
def test_an_activation_link_never_outlives_its_older_key(
    session: Session, monkeypatch: pytest.MonkeyPatch, days_left: int, same: bool
) -> None:
    (luc,) = enrolled(session, "luc", activated=False)
    expires_at = "now() + make_interval(days => :days)"
    session.execute(text(f"UPDATE link SET expires_at = {expires_at}"), {"days": days_left})
    rotate(monkeypatch)
    assert answers(session, resend(luc)) == ["sent"]
    live = "SELECT key_id, resent, extract(day FROM expires_at - now()) FROM link WHERE voided_at IS NULL"
    assert query(session, live) == ([("test", 1, 20)] if same else [("newer", 0, 30)])


def test_a_person_enrolled_without_a_mail_gets_their_first_link(session: Session) -> None:
    (luc,) = enrolled(session, "luc", activated=False)
    session.execute(text("DELETE FROM link"))
    assert answers(session, reset(luc)) == ["activation_sent_instead"]
    assert links(session, "luc") == [("activation", 0, True)]
    [letter] = letters(session)
    assert (letter.kind, letter.unsent) == (EmailKind.INVITATION, None)
    assert isinstance(choose_password(session, keys(), token(letter), "new"), LinkView)


# The mail


def test_the_mail_leaves_while_its_link_lives_or_not_at_all(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [(mail_left, link_left)] = query(
        session,
        "SELECT e.expires_at - now(), l.expires_at - now() FROM email e, link l WHERE l.purpose = 'password_reset'",
    )
    assert mail_left == timedelta(minutes=45)
    assert link_left - mail_left == timedelta(minutes=15)
    session.execute(text("UPDATE email SET expires_at = now()"))
    [letter] = letters(session)
    assert letter.unsent is EmailState.EXPIRED


def test_a_reset_mail_carries_the_reset_link_and_who_asked(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [letter] = letters(session)
    assert (letter.kind, letter.unsent, letter.context["company_name"]) == (EmailKind.PASSWORD_RESET, None, "Acmé")
    shown = render(letter.kind, "fr", letter.context)
    assert letter.context["link"] in shown.text
    assert "Acmé" in shown.text
    chosen = choose_password(session, keys(), token(letter), "new")
    assert isinstance(chosen, LinkView)
    assert query(session, "SELECT password_hash, credential_version FROM account") == [("new", 2)]


@pytest.mark.parametrize("kind", ["reset", "invitation"])
def test_a_mail_that_waits_is_dropped_once_a_password_was_chosen(session: Session, kind: str) -> None:
    (anne,) = enrolled(session, "anne", activated=kind == "reset")
    request = reset(anne) if kind == "reset" else resend(anne)
    answers(session, request)
    [first] = letters(session)
    answers(session, request)  # requested again before the first link was used
    assert isinstance(choose_password(session, keys(), token(first), "new"), LinkView)
    [second] = letters(session)
    assert second.unsent is EmailState.CANCELLED


def test_a_live_reset_link_ends_when_the_password_changes(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    (luc,) = enrolled(session, "luc", activated=False)
    answers(session, reset(anne, luc))
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm = 'luc@example.com'"))
    session.execute(text("DELETE FROM throttle"))
    answers(session, reset(luc))
    assert [(purpose, alive) for purpose, _, alive in links(session, "luc")] == [
        ("activation", True), ("password_reset", True)]  # fmt: skip
    by_kind = {
        letter.row.columns.kind: letter for letter in letters(session) if letter.row.columns.to_address[0] == "l"
    }
    assert isinstance(choose_password(session, keys(), token(by_kind["password_reset"]), "new"), LinkView)
    assert not any(alive for _, _, alive in links(session, "luc"))
    assert query(session, "SELECT count(*) FROM link WHERE voided_at IS NOT NULL") == [(1,)]


def test_a_reset_link_that_lost_its_key_before_its_mail_left_is_replaced(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    session.execute(text("UPDATE link SET key_id = 'gone' WHERE purpose = 'password_reset'"))
    [letter] = letters(session)
    assert letter.unsent is None
    assert isinstance(choose_password(session, keys(), token(letter), "new"), LinkView)


def test_nothing_secret_is_kept(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [letter] = letters(session)
    kept = json.dumps(everything(session))
    assert token(letter) not in kept
    assert "/links/" not in kept
