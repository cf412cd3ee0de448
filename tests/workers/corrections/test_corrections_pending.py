"""A pending correction goes only as far as both mailboxes allow, and never lasts longer than its time."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from models.correction import LASTS
from models.email import HARD_BOUNCE_LIFETIME
from tests.kit.builders.contracts import query
from tests.kit.builders.corrections import (
    LIVE,
    NEW,
    OLD,
    OTHER,
    account,
    agree,
    confirm,
    correct,
    corrections,
    later,
    mails,
    notice_sent,
    participant,
    refuse,
    sweep,
)
from workers.database import Session
from workers.security.lockouts import count_failure, subjects_of


def test_an_activated_account_waits_for_the_answer_of_both_mailboxes(session: Session) -> None:
    enrollment_id = participant(session)
    [(until,)] = query(session, "SELECT now() + CAST(:lasts AS interval)", lasts=LASTS)
    assert correct(session, enrollment_id) == ("confirmation_sent", {"until": until.isoformat()})
    assert account(session) == (OLD, True, 1)
    assert corrections(session) == [("pending", None, NEW)]
    assert mails(session) == [("correction_confirmation", NEW, "owed"), ("correction_notice", OLD, "owed")]
    assert query(session, LIVE) == [("correction_answer",), ("correction_confirmation",)]
    sweep(session)
    assert account(session)[0] == OLD


@pytest.mark.parametrize(
    "ground", ["password", "agreement", "agreement first", "hard_bounce", "bounced", "suppressed", "silence"]
)
def test_after_the_confirmation_each_ground_alone_applies_it(session: Session, ground: str) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    count_failure(session, subjects_of(OLD, None))
    match ground:
        case "password":
            assert confirm(session, password_given=True) == "applied"
        case "agreement":
            assert confirm(session) == "pending"
            assert agree(session) == "applied"
        case "agreement first":
            assert agree(session) == "pending"
            assert confirm(session) == "applied"
        case "hard_bounce":
            error = json.dumps({"class": "failed", "reason": "address_rejected"})
            session.execute(
                text("UPDATE email SET state = 'failed', error = :e WHERE kind = 'correction_notice'"), {"e": error}
            )
            assert confirm(session) == "applied"
        case "bounced":
            error = json.dumps({"class": "Bounce", "reason": "address_rejected"})
            session.execute(
                text("UPDATE email SET state = 'bounced', error = :e WHERE kind = 'correction_notice'"), {"e": error}
            )
            assert confirm(session) == "applied"
        case "suppressed":
            session.execute(text("INSERT INTO suppression (email_norm, reason) VALUES (:e, 'hard_bounce')"), {"e": OLD})
            assert sweep(session) == {}
            assert confirm(session) == "applied"
        case "silence":
            notice_sent(session, hours=73)
            assert confirm(session) == "applied"
    expected = {"agreement first": "agreement", "suppressed": "hard_bounce", "bounced": "hard_bounce"}.get(
        ground, ground
    )
    assert corrections(session) == [("applied", expected, NEW)]
    assert account(session) == (NEW, True, 2)
    owed = [(kind, to) for kind, to, state in mails(session) if state == "owed"]
    assert owed == [("correction_applied", NEW), ("correction_applied", OLD)]
    assert query(session, LIVE) == []
    assert query(session, "SELECT count(*) FROM sign_in") == [(0,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE email SET state = 'failed', error = '{\"reason\": \"policy\"}' WHERE kind = 'correction_notice'",
        (
            "UPDATE email SET state = 'owed', error = '{\"reason\": \"address_rejected\"}'"
            " WHERE kind = 'correction_notice'"
        ),
        (
            "UPDATE email SET state = 'uncertain', finished_at = now() - interval '9 days'"
            " WHERE kind = 'correction_notice'"
        ),
        (
            "UPDATE email SET state = 'suppressed', finished_at = now() - interval '9 days'"
            " WHERE kind = 'correction_notice'"
        ),
        "INSERT INTO suppression (email_norm, reason) VALUES ('anne@example.com', 'ops')",
        (
            "INSERT INTO suppression (email_norm, reason, until)"
            " VALUES ('anne@example.com', 'hard_bounce', now() - interval '1 hour')"
        ),
        "UPDATE email_correction SET asked_at = asked_at - interval '10 days'",  # a relay that is down is no consent
    ],
)
def test_these_events_are_no_ground(session: Session, change: str) -> None:
    correct(session, participant(session))
    session.execute(text(change))
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    assert account(session)[0] == OLD


LISTED = text("""
    INSERT INTO suppression (email_norm, reason, created_at, until)
    VALUES ('anne@example.com', 'hard_bounce', now() - CAST(:first AS interval),
      now() - CAST(:last AS interval) + CAST(:lasts AS interval))""")


@pytest.mark.parametrize(("last", "verdict"), [("6 days", "pending"), ("1 second", "pending"), ("0", "applied")])
def test_a_bounce_from_before_it_was_asked_for_proves_nothing(session: Session, last: str, verdict: str) -> None:
    """Each bounce prolongs the suppression, so its end gives the time of the last bounce."""
    enrollment_id = participant(session)
    session.execute(LISTED, {"first": "6 days", "last": last, "lasts": HARD_BOUNCE_LIFETIME})
    correct(session, enrollment_id)
    assert confirm(session) == verdict
    assert sweep(session) == {}
    assert account(session)[0] == (NEW if verdict == "applied" else OLD)


def test_a_mailbox_that_said_no_before_says_nothing_by_being_no_more(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    refuse(session)
    later(session, days=1)
    correct(session, enrollment_id, OTHER)
    session.execute(LISTED, {"first": "0", "last": "0", "lasts": HARD_BOUNCE_LIFETIME})
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    assert agree(session) == "applied"


@pytest.mark.moment
def test_silence_is_heard_by_the_sweep_and_not_a_moment_early(session: Session) -> None:
    correct(session, participant(session))
    notice_sent(session, hours=71)
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    later(session, days=1 / 24)
    assert sweep(session) == {"applied": 1}
    assert corrections(session) == [("applied", "silence", NEW)]
    assert sweep(session) == {}
    assert account(session) == (NEW, True, 2)
    assert [kind for kind, _, _ in mails(session)].count("correction_applied") == 2


def test_silence_of_who_said_no_before_counts_for_nothing(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    assert refuse(session) == "cancelled"
    later(session, days=40)
    correct(session, enrollment_id)
    notice_sent(session, hours=100)
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    assert agree(session) == "applied"
    assert [ground for _, ground, _ in corrections(session)] == ["refusal", "agreement"]


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_old_address_says_no_and_nothing_changes(session: Session, confirmed: bool) -> None:
    correct(session, participant(session))
    if confirmed:
        confirm(session)
    notice_sent(session, hours=100)
    assert refuse(session) == "cancelled"
    assert corrections(session) == [("cancelled", "refusal", NEW)]
    assert sweep(session) == {}
    assert account(session) == (OLD, True, 1)
    assert query(session, LIVE) == []
    assert [state for kind, _, state in mails(session) if kind == "correction_confirmation"] == ["cancelled"]
    assert confirm(session) in {"invalid_link", "used_link"}
    assert (refuse(session), agree(session)) == ("used_link", "used_link")


@pytest.mark.moment
@pytest.mark.parametrize(("confirmed", "days", "states"), [(False, 14, {"expired": 1}), (True, 14, {"expired": 1}),
                                                           (False, 13.9, {}), (True, 13.9, {})])  # fmt: skip
def test_a_correction_not_ready_in_time_expires(session: Session, confirmed: bool, days: float, states: Any) -> None:
    correct(session, participant(session))
    if confirmed:
        confirm(session)
    later(session, days)
    assert sweep(session) == states
    assert account(session)[0] == OLD
    if states:
        assert (corrections(session), query(session, LIVE)) == ([("expired", None, NEW)], [])
