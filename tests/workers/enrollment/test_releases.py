"""Automatic seat releases: who is warned, who loses the seat, who keeps it."""

from datetime import datetime

import pytest
from sqlalchemy import text

from models.paris import is_daytime
from models.words import EmailKind, EmailState
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import (
    add_contract,
    enrol_people,
    enrolled,
    query,
    seats,
)
from tests.kit.builders.contracts import did as do_request
from tests.kit.builders.invited_people import (
    OPTIONS,
    answers,
    change_contract,
    deliver,
    invited,
    later,
    letter_to,
    letters,
    owed,
    plan,
    remind,
    warned,
    withdrawn_addresses,
)
from tests.kit.builders.invited_people import did as did_job
from workers.access.passwords import choose_password
from workers.database import Session
from workers.enrollment import releases
from workers.requests.accounts import ResendInvitations
from workers.requests.internal import PlanReleases
from workers.security.link_views import LinkView

pytestmark = pytest.mark.moment


def test_warned_a_week_before_and_released_on_the_day(session: Session) -> None:
    invited(session, "anne")
    course = []
    for day in range(1, 34):
        later(session, 1)
        plan(session)
        course += [(day, kind) for kind in ("release_warning", "release") if owed(session, kind)]
        deliver(session)
    assert course == [(23, "release_warning"), (30, "release")]
    assert (withdrawn_addresses(session), seats(session)) == (["anne@example.com"], 0)
    assert answers(session) == [["withdrawn"]]


@pytest.mark.parametrize(("now", "warned_people"), [("2026-02-07T12:00+01:00", 0), ("2026-02-06T12:00+01:00", 1)])
def test_a_missed_plan_warns_no_one_at_the_weekend(
    session: Session, monkeypatch: pytest.MonkeyPatch, now: str, warned_people: int
) -> None:
    invited(session, "anne")
    later(session, 23)
    with monkeypatch.context() as then:
        then.setattr(releases, "is_daytime", lambda _: is_daytime(datetime.fromisoformat(now)))
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
def test_these_people_are_neither_warned_nor_released(session: Session, facts: str) -> None:
    invited(session, "anne")
    later(session, 60)
    session.execute(text(facts))
    for _ in range(3):
        plan(session)
        later(session, 8)
    assert query(session, "SELECT count(*) FROM email WHERE kind LIKE 'release%'") == [(0,)]
    assert seats(session) == 1


def test_a_person_without_an_invitation_keeps_the_seat_until_warned(session: Session) -> None:
    add_contract(session)
    change_contract(session, **OPTIONS)
    [anne] = enrolled(session, "anne", notify=False)
    later(session, 60)
    plan(session)
    assert owed(session, "release_warning") == []
    do_request(session, ResendInvitations(contract="C-1", enrollment_ids=[anne]))
    plan(session)
    assert owed(session, "release_warning") == []  # the invitation was not sent yet
    deliver(session)
    plan(session)
    assert owed(session, "release_warning") == [("anne@example.com", "C-1")]
    deliver(session)
    later(session, 7)
    plan(session)
    assert answers(session) == [["withdrawn"]]


@pytest.mark.parametrize("state", ["cancelled", "expired", "failed", "suppressed", "uncertain", "bounced"])
def test_without_a_warning_that_was_sent_no_seat_goes(session: Session, state: str) -> None:
    warned(session, "anne")
    session.execute(text("UPDATE email SET state = :state WHERE kind = 'release_warning'"), {"state": state})
    for _ in range(4):
        plan(session)
        later(session, 5)
    assert (answers(session), seats(session)) == ([], 1)
    assert owed(session, "release_warning") == []


@pytest.mark.parametrize("state", ["expired", "failed", "suppressed", "uncertain", "bounced"])
def test_a_warning_that_was_not_sent_is_repeated_a_month_later(session: Session, state: str) -> None:
    warned(session, "anne")
    session.execute(text("UPDATE email SET state = :state WHERE kind = 'release_warning'"), {"state": state})
    later(session, 22)
    plan(session)
    assert owed(session, "release_warning") == []
    later(session, 1)
    for _ in range(2):
        session.execute(text("UPDATE link SET expires_at = now() + interval '1 day'"))
        plan(session)
    assert owed(session, "release_warning") == [("anne@example.com", "C-1")]
    deliver(session)
    later(session, 6)
    plan(session)
    assert answers(session) == []
    later(session, 1)
    plan(session)
    assert answers(session) == [["withdrawn"]]


@pytest.mark.parametrize("state", ["failed", "bounced", "complained"])
def test_an_invitation_that_bounced_keeps_no_seat_from_others(session: Session, state: str) -> None:
    invited(session, "anne")
    session.execute(text("UPDATE email SET state = :state"), {"state": state})
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
    found = [one for one in letters(session) if one.row.columns.to_address == "anne@example.com"]
    assert {(one.kind, one.unsent) for one in found} == {
        (EmailKind.ATTACHMENT, None),
        (EmailKind.RELEASE, EmailState.CANCELLED),  # it would arrive after the new invitation
    }
    assert query(session, "SELECT count(*) FROM enrollment WHERE withdrawn_at IS NULL"
                          " AND release_warned_at IS NULL") == [(1,)]  # fmt: skip
