"""Dry runs tell for nothing whether an account exists: they are counted, and refused when too much was told."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.words import Code, JobState, Policy
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    codes,
    did,
    enrol,
    enrol_people,
    query,
    seats,
    someone,
)
from workers.database import Session
from workers.outbox.suppression import suppress
from workers.settings import get_settings

COUNTED = (
    "SELECT scope, CAST(sum(times) AS int) FROM throttle WHERE scope LIKE 'dry_run%' GROUP BY scope ORDER BY scope"
)
FULL, ALL = Policy.UNTIL_FULL, Policy.ALL_OR_NOTHING


@pytest.fixture
def few(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets dry runs tell a company of five addresses, and a portal of eight."""
    monkeypatch.setenv("DRY_RUN_COMPANY_LIMIT", "5")
    monkeypatch.setenv("DRY_RUN_PORTAL_LIMIT", "8")
    get_settings.cache_clear()


def counted(session: Session) -> list[int]:
    """Returns the addresses told to the company and to the portal."""
    return [times for _, times in query(session, COUNTED)]


def asked(session: Session, *names: str, contract: str = "C-1", policy: Policy = FULL) -> list[str]:
    """Does a dry run; returns a code for each person."""
    return enrol_people(session, *names, contract=contract, policy=policy, dry_run=True)


@pytest.mark.usefixtures("few")
def test_past_the_limit_of_a_company_a_dry_run_tells_nothing(session: Session) -> None:
    add_contract(session)
    enrol_people(session, "known", contract="C-1")
    assert asked(session, "a", "b", "c") == ["enrolled"] * 3
    [job] = did(session, asking("d", "e", "f", policy=FULL, dry_run=True))
    result = job["result"]
    assert (job["state"], result["code"], result["counts"]) == (JobState.REFUSED, "throttled", {"throttled": 3})
    assert timedelta(hours=23) < datetime.fromisoformat(result["from"]) - datetime.now(UTC) <= timedelta(hours=24)
    assert asked(session, "d", "e") == ["enrolled"] * 2  # two are left
    assert asked(session, "g") == ["throttled"]
    session.execute(text("UPDATE throttle SET at = at - interval '25 hours'"))
    assert asked(session, "g") == ["enrolled"]


@pytest.mark.usefixtures("few")
def test_a_portal_is_counted_over_all_its_companies(session: Session) -> None:
    for number in range(3):
        add_contract(session, f"C-{number}", company=f"company-{number}")
    told = [asked(session, *"abcd", contract=f"C-{number}")[0] for number in range(3)]
    assert told == ["enrolled", "enrolled", "throttled"]


@pytest.mark.usefixtures("few")
def test_requests_that_are_no_dry_run_go_on(session: Session) -> None:
    add_contract(session)
    asked(session, *"abcde")
    assert asked(session, "f") == ["throttled"]
    assert enrol_people(session, *"abcdefg") == ["enrolled"] * 7
    assert seats(session) == 7


@pytest.mark.usefixtures("few")
def test_what_tells_nothing_counts_nothing(session: Session) -> None:
    add_contract(session, seats=2)
    enrol_people(session, "there")
    for _ in range(10):
        assert asked(session, "there") == ["already_enrolled"]
        assert asked(session, "@") == ["invalid_email"]
        assert asked(session, "a", "b", "c", policy=ALL) == ["not_carried_out", "no_seat_left", "no_seat_left"]
    assert counted(session) == []
    assert asked(session, *"abcdef") == ["enrolled"] + ["no_seat_left"] * 5  # one seat is left: one address is told of
    assert counted(session) == [1, 1]


@pytest.mark.usefixtures("few")
def test_the_suppression_list_is_no_free_answer_either(session: Session) -> None:
    add_contract(session)
    for name in "abc":
        suppress(session, f"{name}@example.com", why="complaint", requested_by="ops")
    people = [*"abc", someone("@")]
    assert enrol_people(session, *people, policy=ALL)[:3] == ["suppressed_address"] * 3
    assert counted(session) == [3, 3]
    assert enrol_people(session, *people, policy=ALL) == ["throttled"] * 4  # nobody is enrolled: nothing is lost
    assert enrol_people(session, "a", "d", policy=FULL) == ["suppressed_address", "enrolled"]


@pytest.mark.usefixtures("few")
def test_orders_of_one_batch_count_one_after_the_other(session: Session) -> None:
    add_contract(session)
    orders = [asking(*names, policy=FULL, dry_run=True) for names in ("ab", "cd", "ef", "g")]
    assert [set(codes(answer)) for answer in enrol(session, orders[0], *orders[1:])] == [
        {"enrolled"}, {"enrolled"}, {"throttled"}, {"enrolled"},
    ]  # fmt: skip


@pytest.mark.usefixtures("few")
def test_one_request_above_the_limit_is_answered_if_nothing_counts(session: Session) -> None:
    add_contract(session)
    assert asked(session, *"abcdefghi") == ["enrolled"] * 9
    assert asked(session, "a") == ["throttled"]


def test_a_customer_who_checks_a_file_ten_times_is_not_hindered(session: Session) -> None:
    settings = get_settings()
    assert settings.dry_run_company_limit >= 10 * 10_000
    assert settings.dry_run_portal_limit >= 2 * settings.dry_run_company_limit
    add_contract(session, seats=300)
    people = [f"p{number}" for number in range(300)]
    for _ in range(10):
        assert set(asked(session, *people)) == {"enrolled"}
    assert counted(session) == [3_000, 3_000]


@pytest.mark.usefixtures("few")
def test_a_throttled_dry_run_changes_and_counts_nothing(session: Session) -> None:
    add_contract(session)
    asked(session, *"abcd")
    before = counted(session)
    [answer] = enrol(session, asking(*"xyz", policy=FULL, dry_run=True))
    assert (answer.code, answer.plan, counted(session)) == (Code.THROTTLED, None, before)
