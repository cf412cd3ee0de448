"""The mails of a correction: their text when they leave, and the mails that no longer leave."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Purpose
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import query
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    OTHER,
    account_id,
    answer_token,
    by_ops,
    correct,
    notice_sent,
    participant,
    sweep,
    token,
)
from workers.corrections.answers import confirm_address, refuse_correction
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.i18n.moments import shown_moment
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.requests.queues import Queue
from workers.security.keys import signing_keys
from workers.security.link_views import LinkView, look_at_link
from workers.settings import get_settings


def letters(session: Session) -> dict[tuple[str, str], Letter]:
    """Returns each owed mail by kind and address, after a check that all of them can be rendered."""
    held = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())
    found = write_letters(session, held)
    for letter in found:
        if letter.unsent is None:
            rendered = render(letter.kind, letter.row.columns.locale, letter.context)
            assert "Zoé" not in rendered.subject
    return {(one.row.columns.kind, one.row.columns.to_address): one for one in found}


def body(letter: Letter) -> str:
    """Returns subject, text and HTML."""
    rendered = render(letter.kind, "fr", letter.context)
    return rendered.subject + rendered.text + rendered.html


def said(letter: Letter) -> str:
    """Returns the text."""
    return render(letter.kind, "fr", letter.context).text


def leads_to(letter: Letter) -> str:
    return str(letter.context["link"]).rpartition("/")[2]


def test_each_mailbox_gets_its_own_link_and_the_old_one_few_facts(session: Session) -> None:
    correct(session, participant(session))
    found = letters(session)
    confirmation, notice = found["correction_confirmation", NEW], found["correction_notice", OLD]
    assert (leads_to(confirmation), leads_to(notice)) == (token(session), answer_token(session))
    assert NEW in body(confirmation)
    assert OLD not in body(confirmation)
    assert "Zoé" not in body(confirmation)  # the owner of this mailbox is not known yet
    assert "a***@example.org" in body(notice)
    assert NEW not in body(notice)
    [(now,)] = query(session, "SELECT now()")
    assert f"Répondez avant le {shown_moment(now + timedelta(hours=72), 'fr')} (heure de Paris)" in said(notice)
    assert said(notice).index("Répondez avant") < said(notice).index("/links/")
    assert "Ce lien est valable" not in body(notice)  # silence counts as consent long before the link expires
    for letter in (confirmation, notice):
        assert "Acmé" in body(letter)


def test_a_person_who_refused_before_is_told_that_silence_is_no_consent(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    letters(session)
    refuse_correction(session, keys(), answer_token(session))
    correct(session, enrollment_id, OTHER)
    notice = letters(session)["correction_notice", OLD]
    assert "sans réponse" not in body(notice)
    assert "Ce lien est valable" in body(notice)


@pytest.mark.parametrize(
    ("reason", "activated", "unsent"),
    [("hard_bounce", True, None), ("ops", True, "suppressed"), ("hard_bounce", False, "suppressed")],
)
def test_a_person_who_may_lose_their_account_is_asked_despite_a_bounce(
    session: Session, reason: str, activated: bool, unsent: str | None
) -> None:
    """An old bounce is no answer. A dead mailbox of an account never used needs no mail."""
    enrollment_id = participant(session, activated=activated)
    session.execute(
        text("INSERT INTO suppression (email_norm, reason, created_at) VALUES (:e, :r, now() - interval '6 days')"),
        {"e": OLD, "r": reason},
    )
    correct(session, enrollment_id)
    notice = letters(session)["correction_notice", OLD]
    assert notice.unsent == unsent
    if unsent is None:
        assert leads_to(notice) == answer_token(session)


def test_applied_is_told_to_each_address_as_it_was_frozen(session: Session) -> None:
    correct(session, participant(session))
    notice_sent(session, hours=100)
    confirm_address(session, keys(), token(session), password_given=False)
    by_ops(session, account_id(session, NEW), OTHER)  # then the address changes again
    found = {key: one for key, one in letters(session).items() if key[0] == "correction_applied"}
    assert all(one.unsent is None for one in found.values())
    assert {to for _, to in found} == {OLD, NEW, OTHER}
    assert "a***@example.org" in body(found["correction_applied", OLD])
    assert NEW not in body(found["correction_applied", OLD])
    assert OTHER in body(found["correction_applied", OTHER])


def test_a_correction_by_operators_tells_both_and_invites_the_new_address(session: Session) -> None:
    participant(session)
    by_ops(session, account_id(session))
    found = letters(session)
    for address in (OLD, NEW):
        assert "ne permet plus de se connecter" in said(found["correction_applied", address])
        assert "n’a pas changé" not in body(found["correction_applied", address])
    reset = found["password_reset", NEW]
    assert leads_to(reset) == token(session, Purpose.PASSWORD_RESET)
    assert "a été corrigée" in said(reset)
    assert "reste valable" not in body(reset)


def test_a_possible_stranger_is_told_no_name_no_address_and_no_link(session: Session) -> None:
    correct(session, participant(session, activated=False))
    found = letters(session)
    told = body(found["correction_notice", OLD])
    for hidden in ("Zoé", NEW, "example.org", "/links/", "/activation/"):
        assert hidden not in told
    assert "/links/" in body(found["invitation", NEW])


@pytest.mark.parametrize("ended", ["refused", "superseded", "applied", "expired", "password"])
def test_a_claimed_mail_of_an_ended_correction_is_not_sent(session: Session, ended: str) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    held = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())
    assert len(held) == 2
    match ended:
        case "refused":
            refuse_correction(session, keys(), answer_token(session))
        case "superseded":
            correct(session, enrollment_id, OTHER)
        case "applied":
            confirm_address(session, keys(), token(session), password_given=True)
        case "expired":
            session.execute(text("UPDATE email_correction SET asked_at = asked_at - interval '15 days'"))
            assert sweep(session) == {"expired": 1}
        case "password":
            session.execute(text("UPDATE link SET voided_at = now() WHERE consumed_at IS NULL"))
    assert [letter.unsent for letter in write_letters(session, held)] == ["cancelled", "cancelled"]


def test_a_link_whose_key_was_withdrawn_is_signed_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    correct(session, participant(session))
    old = token(session)
    monkeypatch.setenv("LINK_KEYS", "new:" + "7b" * 32)
    get_settings.cache_clear()
    signing_keys.cache_clear()
    found = letters(session)
    fresh = leads_to(found["correction_confirmation", NEW])
    assert fresh != old
    view: Any = look_at_link(session, keys(), fresh)
    assert isinstance(view, LinkView)
    assert view.purpose is Purpose.CORRECTION_CONFIRMATION
    assert query(session, "SELECT count(*) FROM link WHERE subject_id IS NOT NULL") == [(2,)]
    assert sweep(session) == {}  # the correction continues


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "evil.com", "a\r\nBcc: evil@x.fr", "\u202emoc.live", "{{ 7 * 7 }} %(x)s"]
)
@pytest.mark.parametrize("new", [NEW, "=?utf-8?q?bcc=3a_x?=@example.org", "{{7*7}}'%s@example.org"])
def test_hostile_names_and_addresses_do_nothing(session: Session, name: str, new: str) -> None:
    enrollment_id = participant(session)
    session.execute(text("UPDATE company SET name = :name"), {"name": name})
    session.execute(text("UPDATE account SET first_name = :name"), {"name": name})
    correct(session, enrollment_id, new)
    confirm_address(session, keys(), token(session), password_given=False)
    by_ops(session, account_id(session), OTHER)
    for letter in letters(session).values():
        if letter.unsent is None:
            rendered = render(letter.kind, "fr", letter.context)
            everything = rendered.subject + rendered.text + rendered.html
            assert "<script" not in rendered.html
            for hostile in ("evil.com", "\nBcc", "\u202e", "=?"):
                assert hostile not in everything
            assert len(rendered.subject.splitlines()) == 1
