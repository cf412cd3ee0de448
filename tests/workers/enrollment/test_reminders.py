"""Reminders: who receives one, when, and when they end."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import add_contract, enrolled, query
from tests.kit.builders.contracts import did as do_request
from tests.kit.builders.invited_people import (
    change_contract,
    deliver,
    enrol_and_invite,
    later,
    letters,
    owed,
    remind,
    token,
)
from workers.access.passwords import choose_password
from workers.database import Session
from workers.requests.accounts import CorrectEmail, ResendInvitations
from workers.requests.enrollment import Withdraw
from workers.security.link_views import LinkView

pytestmark = pytest.mark.moment

ANNE = ("anne@example.com", "C-1")
STEPS = "SELECT reminders, next_reminder_at FROM enrollment"


def activate(session: Session) -> None:
    """Activates each account that has an owed mail with a link."""
    links = {letter.context["link"] for letter in letters(session) if letter.context.get("link")}
    for link in links:
        assert isinstance(choose_password(session, keys(), token(link), "hash"), LinkView)


def test_two_five_and_ten_days_after_and_then_no_more(session: Session) -> None:
    enrol_and_invite(session, "anne")
    told = []
    for day in range(1, 15):
        later(session, 1)
        assert remind(session)["more"] is False
        if owed(session, "reminder"):
            [letter] = letters(session)
            told.append((day, (letter.row.columns.context or {})["step"], letter.context["last"]))
            deliver(session)
    assert told == [(2, 1, False), (5, 2, False), (10, 3, True)]
    assert query(session, STEPS) == [(3, None)]
    assert query(session, "SELECT count(*), count(DISTINCT dedup_key) FROM email WHERE kind = 'reminder'") == [(3, 3)]


def test_active_people_and_people_without_an_invitation_get_no_reminder(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrolled(session, "anne")
    session.execute(text("UPDATE account SET activated_at = now()"))
    enrolled(session, "anne", contract="C-2")
    enrolled(session, "zoe", notify=False)
    assert query(session, "SELECT a.email_norm, count(*), count(next_reminder_at) FROM enrollment n"
                          " JOIN account a ON a.id = n.account_id GROUP BY 1 ORDER BY 1") == [
        ("anne@example.com", 2, 1), ("zoe@example.com", 1, 0)]  # fmt: skip
    deliver(session)
    later(session, 20)
    assert remind(session) == {"looked_at": 1, "reminded": 0, "more": False}
    assert query(session, "SELECT count(next_reminder_at) FROM enrollment") == [(0,)]


def test_activation_and_withdrawal_end_the_schedule(session: Session) -> None:
    add_contract(session)
    enrolled(session, "anne")
    activate(session)
    [zoe] = enrolled(session, "zoe")
    do_request(session, Withdraw(contract="C-1", enrollment_ids=[zoe]))
    assert query(session, "SELECT count(next_reminder_at) FROM enrollment") == [(0,)]


@pytest.mark.parametrize(
    ("meanwhile", "looked_at"),
    [
        ("UPDATE account SET activated_at = now()", 1),
        ("UPDATE account SET erased_at = now()", 1),
        ("UPDATE enrollment SET withdrawn_at = now()", 1),
        ("UPDATE enrollment SET detached_at = now()", 1),
        ("UPDATE contract SET reminders = false", 1),
        ("UPDATE contract SET ends_on = now() - interval '2 days'", 1),
        ("UPDATE email SET state = 'failed'", 1),
        ("UPDATE email SET state = 'suppressed'", 1),
        ("UPDATE email SET state = 'cancelled'", 1),
        ("UPDATE enrollment SET next_reminder_at = NULL", 0),
    ],
)
def test_the_events_that_stop_reminders(session: Session, meanwhile: str, looked_at: int) -> None:
    enrol_and_invite(session, "anne")
    later(session, 2)
    session.execute(text(meanwhile))
    assert remind(session) == {"looked_at": looked_at, "reminded": 0, "more": False}
    assert query(session, STEPS) == [(0, None)]
    assert owed(session, "reminder") == []


def test_reminders_are_off_where_the_contract_says_so_alone(session: Session) -> None:
    enrol_and_invite(session, "anne")
    add_contract(session, "C-2")
    enrolled(session, "zoe", contract="C-2")
    deliver(session)
    change_contract(session, reminders=False)
    later(session, 2)
    remind(session)
    assert owed(session, "reminder") == [("zoe@example.com", "C-2")]


def test_a_contract_on_its_last_day_still_reminds(session: Session) -> None:
    enrol_and_invite(session, "anne")
    session.execute(text("UPDATE contract SET ends_on = CAST(now() AT TIME ZONE 'Europe/Paris' AS date)"))
    later(session, 2)
    assert remind(session)["reminded"] == 1


def test_while_the_invitation_is_owed_a_reminder_waits_a_day(session: Session) -> None:
    add_contract(session)
    enrolled(session, "anne")
    later(session, 2)
    session.execute(text("UPDATE email SET expires_at = now() + interval '3 days'"))
    assert remind(session)["reminded"] == 0
    assert query(session, "SELECT reminders, next_reminder_at - now() FROM enrollment") == [(0, timedelta(days=1))]
    deliver(session)
    later(session, 1)
    assert remind(session)["reminded"] == 1


def test_an_invitation_sent_again_an_hour_ago_is_reminder_enough(session: Session) -> None:
    enrol_and_invite(session, "anne")
    later(session, 2)
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[one]))
    deliver(session)
    assert remind(session)["reminded"] == 0
    later(session, 1)
    assert remind(session)["reminded"] == 1


def test_after_an_outage_one_is_sent_and_the_next_a_day_later(session: Session) -> None:
    enrol_and_invite(session, "anne")
    later(session, 20)
    told = []
    for hour in range(0, 80, 4):
        if remind(session)["reminded"]:
            told.append(hour)
        deliver(session)
        later(session, 4 / 24)
    assert told == [0, 24, 48]


def test_three_enrollments_of_one_account_are_one_mail_about_the_latest(session: Session) -> None:
    for number, reference in enumerate(("C-1", "C-2", "C-3")):
        add_contract(session, reference, company=f"company-{number}")
        enrolled(session, "anne", contract=reference)
        deliver(session)
        later(session, 1 / 24)
    later(session, 1.9)
    assert remind(session)["reminded"] == 1  # the third is due within the hour and is sent with the first
    assert owed(session, "reminder") == [("anne@example.com", "C-3")]
    assert query(session, "SELECT DISTINCT reminders FROM enrollment") == [(1,)]
    deliver(session)
    later(session, 3)
    assert remind(session)["reminded"] == 1
    assert owed(session, "reminder") == [("anne@example.com", "C-3")]


def test_of_several_trainings_the_latest_with_reminders_is_named(session: Session) -> None:
    for reference in ("C-1", "C-2"):
        add_contract(session, reference)
        enrolled(session, "anne", contract=reference)
    deliver(session)
    change_contract(session, "C-2", reminders=False)
    later(session, 2)
    remind(session)
    assert owed(session, "reminder") == [ANNE]


# Resumed


@pytest.mark.parametrize("state", ["failed", "suppressed", "cancelled"])
def test_an_invitation_sent_again_takes_reminders_up_again(session: Session, state: str) -> None:
    enrol_and_invite(session, "anne")
    session.execute(text("UPDATE email SET state = :state"), {"state": state})
    later(session, 2)
    assert remind(session)["reminded"] == 0
    assert query(session, STEPS) == [(0, None)]
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[one]))
    assert query(session, "SELECT reminders, next_reminder_at - enrolled_at FROM enrollment") == [
        (0, timedelta(days=3))
    ]
    deliver(session)
    later(session, 1)
    assert remind(session)["reminded"] == 1


def test_a_re_sent_invitation_leads_to_no_fourth_reminder(session: Session) -> None:
    enrol_and_invite(session, "anne")
    session.execute(text("UPDATE enrollment SET reminders = 3, next_reminder_at = NULL"))
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[one]))
    assert query(session, STEPS) == [(3, None)]


@pytest.mark.parametrize("reached", [True, False])
def test_at_a_corrected_address_the_reminders_begin_with_the_first(session: Session, reached: bool) -> None:
    enrol_and_invite(session, "anne")
    if not reached:
        session.execute(text("UPDATE email SET state = 'failed'"))
    later(session, 2)
    assert remind(session)["reminded"] == reached
    deliver(session)
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, CorrectEmail(enrollment_id=one, email="anne.new@example.com"))
    deliver(session)
    later(session, 2)
    assert remind(session)["reminded"] == 1
    assert owed(session, "reminder") == [("anne.new@example.com", "C-1")]


STOPPED: dict[str, dict[str, Any]] = {"off": {"reminders": False}, "over": {"ends_on": date(2026, 1, 1)}}


@pytest.mark.parametrize("stopped", STOPPED)
def test_a_contract_that_reminds_again_reminds_who_still_has_not_activated(session: Session, stopped: str) -> None:
    enrol_and_invite(session, "anne", "zoe", "luc", "max")
    enrolled(session, "eve", notify=False)
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm LIKE 'zoe%'"))
    gone = query(session, "SELECT n.id FROM enrollment n JOIN account a ON a.id = n.account_id"
                          " WHERE email_norm LIKE 'luc%'")  # fmt: skip
    do_request(session, Withdraw(contract="C-1", enrollment_ids=[gone[0][0]], notify=False))
    deliver(session)
    later(session, 2)
    change_contract(session, **STOPPED[stopped])
    assert remind(session)["reminded"] == 0
    later(session, 1)
    change_contract(session, planned_seats=90, **STOPPED[stopped])  # the option is still off
    assert query(session, "SELECT count(next_reminder_at) FROM enrollment") == [(0,)]
    change_contract(session, reminders=True, ends_on=None)
    remind(session)
    assert owed(session, "reminder") == [ANNE, ("max@example.com", "C-1")]
    deliver(session)
    later(session, 2)
    assert remind(session)["reminded"] == 2  # the next is on the fifth day
