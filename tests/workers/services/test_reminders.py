"""Reminders: who gets one, when, about which training, and when no more."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.words import EmailKind, EmailState
from tests.accounts import keys
from tests.committed import claimed, fail_half_way, state_of_things
from tests.contracts import add_contract, enrolled, query, someone
from tests.contracts import did as do_request
from tests.support import rows
from tests.unactivated import change_contract, deliver, later, letters, owe, owed, remind, run_all
from tests.unactivated import did as did_job
from workers.actors.claimer import BatchRun
from workers.clock import next_slot
from workers.database import Session, transaction
from workers.internal_requests import SendReminders
from workers.ledger import JOBS, bells
from workers.mail.renderer import render
from workers.queues import Queue
from workers.requests import CorrectEmail, ResendInvitations, Withdraw
from workers.services import reminders
from workers.services.jobs import do_jobs
from workers.services.link_views import LinkView
from workers.services.passwords import choose_password

ANNE = ("anne@example.com", "C-1")
STEPS = "SELECT reminders, next_reminder_at FROM enrollment"
INVITED = "SELECT enrollment_id, id FROM email WHERE kind = 'invitation'"


def token(link: str) -> str:
    return link.rpartition("/")[2]


def activate(session: Session) -> None:
    """Whoever has an owed mail with a link follows it."""
    links = {letter.context["link"] for letter in letters(session) if letter.context.get("link")}
    for link in links:
        assert isinstance(choose_password(session, keys(), token(link), "hash"), LinkView)


def invited(session: Session, *names: str, **contract: Any) -> None:
    """People whose invitation was sent the moment they were enrolled."""
    add_contract(session, seats=50, **contract)
    enrolled(session, *names)
    deliver(session)


def test_two_five_and_ten_days_after_and_then_no_more(session: Session) -> None:
    invited(session, "anne")
    told = []
    for day in range(1, 15):
        later(session, 1)
        assert remind(session)["more"] is False
        if owed(session, "reminder"):
            [letter] = letters(session)
            told.append((day, letter.row.columns["context"]["step"], letter.context["last"]))
            deliver(session)
    assert told == [(2, 1, False), (5, 2, False), (10, 3, True)]
    assert query(session, STEPS) == [(3, None)]
    assert query(session, "SELECT count(*), count(DISTINCT dedup_key) FROM email WHERE kind = 'reminder'") == [(3, 3)]


def test_a_reminder_carries_the_same_live_link_with_no_more_time(session: Session) -> None:
    invited(session, "anne")
    before = query(session, "SELECT id, expires_at - interval '2 days', resent FROM link")
    later(session, 2)
    assert remind(session)["reminded"] == 1
    assert query(session, "SELECT id, expires_at, resent FROM link") == before
    assert bells(session) >= {"emails_bulk"}
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


def test_a_link_that_ended_is_replaced_in_the_reminder(session: Session) -> None:
    invited(session, "anne")
    later(session, 2)
    session.execute(text("UPDATE link SET expires_at = now()"))
    remind(session)
    [letter] = letters(session)
    assert letter.context["expires_at"] > datetime.now(UTC) + timedelta(days=29)
    assert query(session, "SELECT count(*), count(voided_at) FROM link") == [(2, 1)]


def test_a_contract_that_gives_seats_back_says_from_when(session: Session) -> None:
    invited(session, "anne")
    change_contract(session, release_after_days=30)
    later(session, 2)
    remind(session)
    [letter] = letters(session)
    [(enrolled_at,)] = query(session, "SELECT enrolled_at FROM enrollment")
    assert letter.context["released_from"] == enrolled_at + timedelta(days=30)
    assert "votre place peut être rendue" in render(letter.kind, "fr", letter.context).text


def test_whoever_was_not_sent_an_invitation_or_is_active_is_not_reminded(session: Session) -> None:
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
def test_what_stops_reminders(session: Session, meanwhile: str, looked_at: int) -> None:
    invited(session, "anne")
    later(session, 2)
    session.execute(text(meanwhile))
    assert remind(session) == {"looked_at": looked_at, "reminded": 0, "more": False}
    assert query(session, STEPS) == [(0, None)]
    assert owed(session, "reminder") == []


def test_reminders_are_off_where_the_contract_says_so_alone(session: Session) -> None:
    invited(session, "anne")
    add_contract(session, "C-2")
    enrolled(session, "zoe", contract="C-2")
    deliver(session)
    change_contract(session, reminders=False)
    later(session, 2)
    remind(session)
    assert owed(session, "reminder") == [("zoe@example.com", "C-2")]


def test_a_contract_on_its_last_day_still_reminds(session: Session) -> None:
    invited(session, "anne")
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
    invited(session, "anne")
    later(session, 2)
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[one]))
    deliver(session)
    assert remind(session)["reminded"] == 0
    later(session, 1)
    assert remind(session)["reminded"] == 1


def test_after_an_outage_one_is_sent_and_the_next_a_day_later(session: Session) -> None:
    invited(session, "anne")
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
    assert remind(session)["reminded"] == 1  # the third is due in an hour and goes with the first
    assert owed(session, "reminder") == [("anne@example.com", "C-3")]
    assert query(session, "SELECT DISTINCT reminders FROM enrollment") == [(1,)]
    deliver(session)
    later(session, 3)
    assert remind(session)["reminded"] == 1
    assert owed(session, "reminder") == [("anne@example.com", "C-3")]


def test_of_several_the_latest_that_reminds_is_told(session: Session) -> None:
    for reference in ("C-1", "C-2"):
        add_contract(session, reference)
        enrolled(session, "anne", contract=reference)
    deliver(session)
    change_contract(session, "C-2", reminders=False)
    later(session, 2)
    remind(session)
    assert owed(session, "reminder") == [ANNE]


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
    invited(session, "anne")
    later(session, 2)
    remind(session)
    session.execute(text(meanwhile))
    [letter] = letters(session)
    assert (letter.unsent, letter.context) == (EmailState.CANCELLED, {})


def test_a_withdrawal_cancels_the_reminder_that_waits(session: Session) -> None:
    invited(session, "anne")
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


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2026-03-27", "07:07", "17:07"),
        ("2026-03-30", "06:07", "16:07"),  # the clocks have gone forward
        ("2026-10-23", "06:07", "16:07"),
        ("2026-10-26", "07:07", "17:07"),  # and back
    ],
)
def test_people_are_reminded_between_eight_and_seven_by_the_clock_of_paris(
    session: Session, day: str, first: str, last: str
) -> None:
    [(cron,)] = query(session, "SELECT cron FROM schedule WHERE name = 'reminders'")
    slot = datetime.fromisoformat(f"{day}T03:00+00:00")
    slots: list[datetime] = []
    while len(slots) < 11:
        slot = next_slot(cron, slot)
        slots.append(slot)
    assert (slots[0].strftime("%F %R"), slots[-1].strftime("%F %R")) == (f"{day} {first}", f"{day} {last}")


def test_nobody_is_reminded_at_the_weekend(session: Session) -> None:
    for name, hour in (("reminders", "07:07"), ("releases", "07:37")):
        [(cron, request)] = query(session, "SELECT cron, request FROM schedule WHERE name = :name", name=name)
        friday = datetime.fromisoformat("2026-02-06T19:00+00:00")
        assert next_slot(cron, friday).strftime("%F %R") == f"2026-02-09 {hour}"
        assert request == {"daytime": True}


@pytest.mark.parametrize(
    ("now", "reminded"),
    [("2026-02-06T03:00+01:00", 0), ("2026-02-07T12:00+01:00", 0), ("2026-02-06T12:00+01:00", 2)],
)
def test_a_slot_that_was_missed_reminds_nobody_at_night(
    session: Session, monkeypatch: pytest.MonkeyPatch, now: str, reminded: int
) -> None:
    invited(session, "anne", "zoe")
    later(session, 2)
    monkeypatch.setattr(reminders, "PART", 1)
    monkeypatch.setattr(reminders, "NOW", text(f"SELECT CAST('{now}' AS timestamptz)"))
    did_job(session, SendReminders(daytime=True))
    assert len(owed(session, "reminder")) == reminded
    remind(session)  # nobody is forgotten
    assert len(owed(session, "reminder")) == 2


# Taken up again


@pytest.mark.parametrize("state", ["failed", "suppressed", "cancelled"])
def test_an_invitation_sent_again_takes_reminders_up_again(session: Session, state: str) -> None:
    invited(session, "anne")
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


def test_an_invitation_sent_again_reminds_nobody_a_fourth_time(session: Session) -> None:
    invited(session, "anne")
    session.execute(text("UPDATE enrollment SET reminders = 3, next_reminder_at = NULL"))
    [(one,)] = query(session, "SELECT id FROM enrollment")
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[one]))
    assert query(session, STEPS) == [(3, None)]


@pytest.mark.parametrize("reached", [True, False])
def test_at_a_corrected_address_the_reminders_begin_with_the_first(session: Session, reached: bool) -> None:
    invited(session, "anne")
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
    invited(session, "anne", "zoe", "luc", "max")
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
    change_contract(session, planned_seats=90, **STOPPED[stopped])  # still so: nobody is
    assert query(session, "SELECT count(next_reminder_at) FROM enrollment") == [(0,)]
    change_contract(session, reminders=True, ends_on=None)
    remind(session)
    assert owed(session, "reminder") == [ANNE, ("max@example.com", "C-1")]
    deliver(session)
    later(session, 2)
    assert remind(session)["reminded"] == 2  # and the next on the fifth day


# Part by part, and once whatever happens


def test_what_is_more_than_a_part_is_done_by_jobs_that_follow(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminders, "PART", 4)
    invited(session, *[f"p{number}" for number in range(10)])
    later(session, 2)
    remind(session)
    jobs = query(session, "SELECT id, result ->> 'reminded', result ->> 'more' FROM job WHERE kind = 'send_reminders'"
                          " ORDER BY created_at, id")  # fmt: skip
    assert [(int(number), more) for _, number, more in jobs] == [(4, "true"), (4, "true"), (2, "false")]
    assert {key for (key,) in query(session, "SELECT key FROM idempotency WHERE key LIKE 'follow-up:%'")} == {
        f"follow-up:{job_id}" for job_id, *_ in jobs[:2]
    }
    assert len(owed(session, "reminder")) == 10


def due_tomorrow(*names: str) -> None:
    with transaction() as session:
        invited(session, *names)
        later(session, 2)
        owe(session, SendReminders())


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    due_tomorrow("anne", "zoe")
    taken = claimed(Queue.MAINTENANCE)
    assert BatchRun(JOBS, do_jobs).run(taken)
    before = state_of_things()
    assert BatchRun(JOBS, do_jobs).run(taken)
    assert state_of_things() == before
    with transaction() as session:
        owe(session, SendReminders())
    run_all()
    after = state_of_things()
    assert {name for name in after if after[name] != before[name]} == {"job", "idempotency"}


def test_a_reminder_that_is_there_already_is_not_owed_twice(fresh_database: str) -> None:
    """Whatever else went wrong: the key of step and enrollment stands in the database."""
    due_tomorrow("anne")
    run_all()
    with transaction() as session:
        session.execute(text("UPDATE enrollment SET reminders = 0, next_reminder_at = now()"))
        owe(session, SendReminders())
    run_all()
    assert rows("SELECT count(*) FROM email WHERE kind = 'reminder'") == [(1,)]


@pytest.mark.parametrize("step", ["_move_on", "owe_mails", "_owe_the_rest"])
def test_reminders_that_fail_half_way_leave_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(reminders, "PART", 1)
    due_tomorrow("anne", "zoe")
    fail_half_way(monkeypatch, reminders, step, Queue.MAINTENANCE)
    assert rows("SELECT state, failures FROM job") == [("queued", 1)]
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now()"))
    run_all()
    assert rows("SELECT count(*) FROM email WHERE kind = 'reminder'") == [(2,)]
