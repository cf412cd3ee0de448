"""A reminder carries the same live link with the same expiry, and nothing misleading."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.words import EmailKind, EmailState
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import (
    add_contract,
    enrolled,
    query,
    someone,
)
from tests.kit.builders.contracts import did as do_request
from tests.kit.builders.invited_people import (
    change_contract,
    deliver,
    enrol_and_invite,
    later,
    letters,
    remind,
    token,
)
from workers.access.passwords import choose_password
from workers.database import Session
from workers.engine.ledger import queues_to_wake
from workers.mail.renderer import render
from workers.requests.enrollment import Withdraw
from workers.security.link_views import LinkView

INVITED = "SELECT enrollment_id, id FROM email WHERE kind = 'invitation'"


def test_a_reminder_carries_the_same_live_link_with_no_more_time(session: Session) -> None:
    enrol_and_invite(session, "anne")
    before = query(session, "SELECT id, expires_at - interval '2 days', resent FROM link")
    later(session, 2)
    assert remind(session)["reminded"] == 1
    assert query(session, "SELECT id, expires_at, resent FROM link") == before
    assert queues_to_wake(session) >= {"emails_bulk"}
    assert query(session, "SELECT dedup_key, queue, lane = (SELECT id FROM company) FROM email"
                          " WHERE kind = 'reminder'") == [
        ("reminder:1:{}:{}".format(*query(session, INVITED)[0]), "emails_bulk", True)]  # fmt: skip
    [letter] = letters(session)
    assert (letter.kind, letter.unsent) == (EmailKind.REMINDER, None)
    mail = render(letter.kind, "fr", letter.context)
    assert "Acmé vous a ouvert l’accès à la formation «\u00a0Sécurité\u00a0»" in mail.text
    assert letter.context["expires_at"] == before[0][1]
    assert "Ce lien est valable jusqu’au" in mail.text
    assert "rendue" not in mail.text
    assert isinstance(choose_password(session, keys(), token(letter.context["link"]), "hash"), LinkView)


@pytest.mark.moment
def test_a_link_that_ended_is_replaced_in_the_reminder(session: Session) -> None:
    enrol_and_invite(session, "anne")
    later(session, 2)
    session.execute(text("UPDATE link SET expires_at = now()"))
    remind(session)
    [letter] = letters(session)
    assert letter.context["expires_at"] > datetime.now(UTC) + timedelta(days=29)
    assert query(session, "SELECT count(*), count(voided_at) FROM link") == [(2, 1)]


def test_a_contract_that_gives_seats_back_says_from_when(session: Session) -> None:
    enrol_and_invite(session, "anne")
    change_contract(session, release_after_days=30)
    later(session, 2)
    remind(session)
    [letter] = letters(session)
    [(enrolled_at,)] = query(session, "SELECT enrolled_at FROM enrollment")
    assert letter.context["released_from"] == enrolled_at + timedelta(days=30)
    assert "votre place peut être rendue" in render(letter.kind, "fr", letter.context).text


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE account SET activated_at = now()",
        "UPDATE enrollment SET withdrawn_at = now()",
        "UPDATE enrollment SET detached_at = now()",
        "UPDATE contract SET reminders = false",
        "UPDATE link SET voided_at = now()",
    ],
)
def test_a_reminder_still_owed_is_not_sent_when_it_would_mislead(session: Session, meanwhile: str) -> None:
    enrol_and_invite(session, "anne")
    later(session, 2)
    remind(session)
    session.execute(text(meanwhile))
    [letter] = letters(session)
    assert (letter.unsent, letter.context) == (EmailState.CANCELLED, {})


def test_a_withdrawal_cancels_the_reminder_that_waits(session: Session) -> None:
    enrol_and_invite(session, "anne")
    later(session, 2)
    remind(session)
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, Withdraw(contract="C-1", enrollment_ids=[one], notify=False))
    assert query(session, "SELECT state FROM email WHERE kind = 'reminder'") == [("cancelled",)]


def test_hostile_names_stay_inert(session: Session) -> None:
    add_contract(session)
    enrolled(session, someone("anne@example.com", "Gagnez http://evil.fr", "<script>"))
    session.execute(text("UPDATE training SET title = '</td><b>{{ 7 * 7 }} evil.com'"))
    deliver(session)
    later(session, 2)
    remind(session)
    [letter] = letters(session)
    mail = render(letter.kind, "fr", letter.context)
    assert not re.search(r"http://evil|evil\.com|>49", mail.text + mail.html + mail.subject)
    assert "</td>{{" not in mail.html
