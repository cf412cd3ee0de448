"""Seats given back by themselves: who is warned, who loses a seat, who keeps it, and who is told."""

import re
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from models.daytime import is_daytime
from models.words import EmailKind, EmailState
from tests.accounts import keys
from tests.contracts import add_contract, asking, enrol_people, enrolled, query, seats, someone
from tests.contracts import did as do_request
from tests.unactivated import (
    MANAGER,
    OPTIONS,
    answers,
    change_contract,
    deliver,
    gone,
    invited,
    later,
    letter_to,
    letters,
    owed,
    plan,
    remind,
    text_of,
    warned,
)
from tests.unactivated import did as did_job
from workers.database import Session
from workers.internal_requests import PlanReleases
from workers.mail.renderer import render
from workers.requests import ResendInvitations
from workers.services import release_plans
from workers.services.link_views import LinkView
from workers.services.passwords import choose_password


def test_warned_a_week_before_and_released_on_the_day(session: Session) -> None:
    invited(session, "anne")
    course = []
    for day in range(1, 34):
        later(session, 1)
        plan(session)
        course += [(day, kind) for kind in ("release_warning", "release") if owed(session, kind)]
        deliver(session)
    assert course == [(23, "release_warning"), (30, "release")]
    assert (gone(session), seats(session)) == (["anne@example.com"], 0)
    assert answers(session) == [["withdrawn"]]


@pytest.mark.parametrize(("now", "warned_people"), [("2026-02-07T12:00+01:00", 0), ("2026-02-06T12:00+01:00", 1)])
def test_a_plan_that_was_missed_warns_nobody_at_the_weekend(
    session: Session, monkeypatch: pytest.MonkeyPatch, now: str, warned_people: int
) -> None:
    invited(session, "anne")
    later(session, 23)
    with monkeypatch.context() as then:
        then.setattr(release_plans, "is_daytime", lambda _: is_daytime(datetime.fromisoformat(now)))
        did_job(session, PlanReleases(daytime=True))
    assert len(owed(session, "release_warning")) == warned_people
    plan(session)
    assert len(owed(session, "release_warning")) == 1


def test_it_is_off_unless_the_contract_says_so(session: Session) -> None:
    invited(session, "anne", release_after_days=None)
    later(session, 400)
    plan(session)
    assert query(session, "SELECT kind FROM job WHERE kind <> 'plan_releases'") == []
    assert query(session, "SELECT count(*) FROM job") == [(1,)]
    assert seats(session) == 1


def test_the_warning_has_the_link_and_the_day(session: Session) -> None:
    invited(session, "anne")
    later(session, 23)
    [before] = query(session, "SELECT id, expires_at, resent FROM link")
    plan(session)
    letter = letter_to(session, "anne@example.com", EmailKind.RELEASE_WARNING)
    [(enrolled_at, warned_at)] = query(session, "SELECT enrolled_at, release_warned_at FROM enrollment")
    assert letter.context["released_from"] == enrolled_at + timedelta(days=30)
    assert warned_at is not None
    assert query(session, "SELECT id, expires_at, resent FROM link") == [before]
    said = text_of(letter)
    assert "votre place sera rendue à votre entreprise à partir du" in said
    token = letter.context["link"].rpartition("/")[2]
    assert isinstance(choose_password(session, keys(), token, "hash"), LinkView)
    later(session, 7)
    plan(session)
    assert (answers(session), seats(session)) == ([], 1)


def test_the_manager_is_told_twice_who_will_lose_a_seat_and_who_did(session: Session) -> None:
    people = [someone(f"{name}@example.com", name.title(), "Durand") for name in ("anne", "zoe")]
    invited(session, *people, manager_locale="en")
    later(session, 23)
    plan(session)
    report = letter_to(session, MANAGER, EmailKind.RELEASE_REPORT)
    assert report.row.columns["locale"] == "en"
    said = text_of(report, "en")
    assert "Anne Durand <anne@example.com>\nZoe Durand <zoe@example.com>\n" in said
    assert "Number of seats: 2" in said
    assert "may come back to you from" in said
    deliver(session)
    later(session, 7)
    plan(session)
    said = text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))
    assert "leurs places sont de nouveau libres" in said
    assert "Zoe Durand <zoe@example.com>\n" in said
    assert "Votre compte sur Formation n’a pas été activé à temps" in text_of(
        letter_to(session, "zoe@example.com", EmailKind.RELEASE)
    )
    assert owed(session, "withdrawal") == []


def report_text(session: Session) -> str:
    return text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))


def test_somebody_elses_account_is_called_what_this_company_typed(session: Session) -> None:
    """The names an account was registered with may be a stranger's: not for whoever guessed the address."""
    add_contract(session, "C-0", company="other")
    enrolled(session, someone("anne@example.com", "Secret", "Stranger"), contract="C-0")
    enrolled(session, someone("zoe@example.com", "Secret", "Stranger"), contract="C-0")
    later(session, 1)
    add_contract(session, seats=100)
    change_contract(session, **OPTIONS)
    do_request(session, asking(someone("anne@example.com", "Annabelle", "Dupond"), someone("luc@example.com", "Luc")))
    enrolled(session, someone("zoe@example.com", "Lost", "Request"))  # what was typed is not known any more
    deliver(session)
    later(session, 23)
    plan(session)
    said = report_text(session)
    assert "Stranger" not in said
    for shown in ("\nAnnabelle Dupond <anne@example.com>\n", "\nLuc Le Dû <luc@example.com>\n", "\nzoe@example.com\n"):
        assert shown in said


def test_two_companies_at_the_same_moment_see_no_name_of_each_other(session: Session) -> None:
    """Of two requests in one transaction nothing tells which made the account: neither is shown its names."""
    add_contract(session, "C-0", company="other")
    enrolled(session, someone("anne@example.com", "Secret", "Stranger"), contract="C-0")
    invited(session, someone("anne@example.com", "Anne"))
    later(session, 23)
    plan(session)
    assert "\nanne@example.com\n" in report_text(session)


@pytest.mark.parametrize(
    ("became", "marked"),
    [
        ("state = 'suppressed'", True),
        ("""state = 'failed', error = '{"reason": "address_rejected"}'""", True),
        ("""state = 'failed', error = '{"reason": "policy"}'""", False),
        ("state = 'sent'", False),
    ],
)
def test_an_address_that_is_refused_is_marked_and_nobody_is_said_to_know(
    session: Session, became: str, marked: bool
) -> None:
    invited(session, "anne", "zoe")
    session.execute(text(f"UPDATE email SET {became} WHERE to_address LIKE 'zoe%'"))
    later(session, 23)
    plan(session)
    said = report_text(session)
    assert ("zoe@example.com> – Adresse refusée" in said) is marked
    assert ("sauf celles dont l’adresse est refusée" in said) is marked
    assert "anne@example.com> –" not in said
    deliver(session)
    later(session, 7)
    plan(session)
    session.execute(text(f"UPDATE email SET {became} WHERE to_address LIKE 'zoe%'"))
    said = report_text(session)
    assert "leurs places sont de nouveau libres" in said
    assert ("zoe@example.com> – Adresse refusée" in said) is marked


def test_of_one_person_the_report_reads_the_result_of_the_job(session: Session) -> None:
    warned(session, someone("anne@example.com", "Anne", "Durand"))
    plan(session)
    assert query(session, "SELECT count(*) FROM job_person") == [(0,)]
    assert "Anne Durand <anne@example.com>" in text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))


def test_a_report_names_a_hundred_and_counts_all(session: Session) -> None:
    invited(session, *[f"p{number}" for number in range(100)], planned_seats=200)
    enrolled(session, *[f"q{number}" for number in range(50)])
    deliver(session)
    later(session, 23)
    plan(session)
    said = text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))
    assert said.count("@example.com>") == 100
    assert "Seules les 100 premières personnes sur 150" in said


def test_without_a_manager_nobody_is_written_to_about_them(session: Session) -> None:
    warned(session, "anne", manager_email=None)
    plan(session)
    assert query(session, "SELECT count(*) FROM email WHERE kind = 'release_report'") == [(0,)]
    assert seats(session) == 0


def test_names_that_are_addresses_of_pages_are_inert_in_the_report(session: Session) -> None:
    invited(session, someone("anne@example.com", "Gagnez http://evil.fr", "<script>alert(1)</script>"))
    later(session, 23)
    plan(session)
    letter = letter_to(session, MANAGER, EmailKind.RELEASE_REPORT)
    mail = render(letter.kind, "fr", letter.context)
    assert not re.search(r"http://evil|evil\.fr", mail.text + mail.html + mail.subject)
    assert "<script" not in mail.html


@pytest.mark.parametrize(
    "facts",
    [
        "UPDATE account SET activated_at = now()",
        "UPDATE account SET erased_at = now()",
        "UPDATE enrollment SET progress = 'in_progress'",
        "UPDATE enrollment SET detached_at = now()",
        "UPDATE contract SET ends_on = now() - interval '2 days'",
        "UPDATE contract SET release_after_days = NULL",
        "UPDATE email SET state = 'owed', due_at = now() WHERE kind = 'invitation'",
        "UPDATE email SET state = 'expired' WHERE kind = 'invitation'",
        "DELETE FROM email",  # enrolled without an invitation
        "UPDATE link SET voided_at = now()",
    ],
)
def test_who_is_neither_warned_nor_released(session: Session, facts: str) -> None:
    invited(session, "anne")
    later(session, 60)
    session.execute(text(facts))
    for _ in range(3):
        plan(session)
        later(session, 8)
    assert query(session, "SELECT count(*) FROM email WHERE kind LIKE 'release%'") == [(0,)]
    assert seats(session) == 1


def test_whoever_was_enrolled_without_a_mail_keeps_the_seat_until_invited_and_warned(session: Session) -> None:
    add_contract(session)
    change_contract(session, **OPTIONS)
    [anne] = enrolled(session, "anne", notify=False)
    later(session, 60)
    plan(session)
    assert owed(session, "release_warning") == []
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[anne]))
    plan(session)
    assert owed(session, "release_warning") == []  # the invitation has not left
    deliver(session)
    plan(session)
    assert owed(session, "release_warning") == [("anne@example.com", "C-1")]
    deliver(session)
    later(session, 7)
    plan(session)
    assert answers(session) == [["withdrawn"]]


@pytest.mark.parametrize("state", ["cancelled", "expired"])
def test_without_a_warning_that_left_no_seat_goes(session: Session, state: str) -> None:
    warned(session, "anne")
    session.execute(text("UPDATE email SET state = :state WHERE kind = 'release_warning'"), {"state": state})
    plan(session)
    assert (answers(session), seats(session)) == ([], 1)


def test_an_invitation_that_bounced_keeps_no_seat_from_others(session: Session) -> None:
    invited(session, "anne")
    session.execute(text("UPDATE email SET state = 'failed'"))
    later(session, 23)
    plan(session)
    assert owed(session, "release_warning") == [("anne@example.com", "C-1")]


def test_a_warning_that_waits_or_left_late_puts_the_release_off(session: Session) -> None:
    invited(session, "anne")
    later(session, 23)
    plan(session)
    later(session, 8)
    plan(session)
    assert answers(session) == []
    letter = letter_to(session, "anne@example.com", EmailKind.RELEASE_WARNING)
    assert letter.context["released_from"] == query(session, "SELECT now() + interval '7 days'")[0][0]
    deliver(session)
    later(session, 6)
    plan(session)
    assert answers(session) == []
    later(session, 1)
    plan(session)
    assert answers(session) == [["withdrawn"]]


def test_the_activation_link_works_after_the_release_and_opens_no_training(session: Session) -> None:
    invited(session, "anne")
    later(session, 23)
    plan(session)
    token = letter_to(session, "anne@example.com", EmailKind.RELEASE_WARNING).context["link"].rpartition("/")[2]
    deliver(session)
    later(session, 7)
    session.execute(text("UPDATE link SET expires_at = now() + interval '1 day'"))
    plan(session)
    assert isinstance(choose_password(session, keys(), token, "hash"), LinkView)
    assert query(session, "SELECT count(activated_at) FROM account") == [(1,)]
    assert seats(session) == 0


def test_mails_still_owed_are_cancelled_with_the_seat(session: Session) -> None:
    warned(session, "anne")
    assert remind(session)["reminded"] == 1
    plan(session)
    assert query(session, "SELECT state FROM email WHERE kind = 'reminder'") == [("cancelled",)]
    assert query(session, "SELECT count(next_reminder_at) FROM enrollment") == [(0,)]


def test_a_seat_given_back_is_free_and_its_holder_can_be_enrolled_again(session: Session) -> None:
    warned(session, "anne", planned_seats=1)
    plan(session)
    assert enrol_people(session, "anne") == ["attached"]
    found = [one for one in letters(session) if one.row.columns["to_address"] == "anne@example.com"]
    assert {(one.kind, one.unsent) for one in found} == {
        (EmailKind.ATTACHMENT, None),
        (EmailKind.RELEASE, EmailState.CANCELLED),  # it would arrive after the new invitation
    }
    assert query(session, "SELECT count(*) FROM enrollment WHERE withdrawn_at IS NULL"
                          " AND release_warned_at IS NULL") == [(1,)]  # fmt: skip
