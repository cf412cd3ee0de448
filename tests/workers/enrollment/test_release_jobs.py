"""Seat releases as jobs: they check again before they act, work in parts, keep the contract's lane, and act once."""

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import EmailKind, EmailState, JobState
from tests.kit.actors.committed_jobs import (
    all_rows,
    claimed,
    done_twice,
    fail_half_way,
)
from tests.kit.builders.contracts import (
    add_contract,
    enrolled,
    query,
    seats,
)
from tests.kit.builders.invited_people import (
    MANAGER,
    OPTIONS,
    answers,
    change_contract,
    claim,
    deliver,
    did,
    do_all,
    invited,
    later,
    letter_to,
    letters,
    owe,
    owed,
    plan,
    run_all,
    text_of,
    warned,
    withdrawn_addresses,
)
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.enrollment import releases
from workers.reading.jobs import show_job
from workers.requests.internal import PlanReleases
from workers.requests.queues import Queue

# The option


def test_another_option_forgets_the_warnings_of_the_one_before(session: Session) -> None:
    warned(session, "anne")
    change_contract(session, **OPTIONS | {"planned_seats": 99})
    assert query(session, "SELECT count(release_warned_at) FROM enrollment") == [(1,)]
    change_contract(session, **OPTIONS | {"release_after_days": 29})
    assert query(session, "SELECT count(release_warned_at) FROM enrollment") == [(0,)]
    plan(session)
    assert (answers(session), owed(session, "release_warning")) == ([], [("anne@example.com", "C-1")])
    deliver(session)
    later(session, 7)
    plan(session)
    assert answers(session) == [["withdrawn"]]


def test_a_warning_still_owed_under_another_option_is_not_sent(session: Session) -> None:
    invited(session, "anne")
    later(session, 23)
    plan(session)
    change_contract(session, **OPTIONS | {"release_after_days": 60})
    assert {(one.kind, one.unsent) for one in letters(session)} == {
        (EmailKind.RELEASE_WARNING, EmailState.CANCELLED),
        (EmailKind.RELEASE_REPORT, EmailState.CANCELLED),
    }


def planned(session: Session) -> list[ledger.ClaimedRow]:
    """Returns the claimed release before it is done."""
    owe(session, PlanReleases())
    while rows := claim(session):
        if rows[0].columns.kind == "release_seats":
            return rows
        ledger.finish(session, JOBS, do_jobs(session, rows))
    raise AssertionError("nothing is to be released")


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [
        ("UPDATE account SET activated_at = now()", "already_activated"),
        ("UPDATE enrollment SET progress = 'completed', completed_at = now()", "already_started"),
        ("UPDATE enrollment SET detached_at = now()", "detached"),
        ("UPDATE contract SET release_after_days = NULL", "not_due"),
        ("UPDATE contract SET release_after_days = 31", "not_due"),
        ("UPDATE contract SET ends_on = now() - interval '2 days'", "not_due"),
        ("UPDATE enrollment SET release_warned_at = NULL", "not_due"),
    ],
)
def test_changes_since_the_plan_are_taken_into_account(session: Session, meanwhile: str, code: str) -> None:
    warned(session, "anne", "zoe")
    mails = "SELECT count(*) FROM email"
    taken = planned(session)
    before = query(session, mails)
    session.execute(text(meanwhile))
    ledger.finish(session, JOBS, do_jobs(session, taken))
    job = show_job(session, taken[0].id) or {}
    assert (job["state"], answers(session), seats(session)) == (JobState.REFUSED, [[code, code]], 2)
    assert query(session, mails) == before
    if code == "already_activated":
        since = query(session, "SELECT activated_at FROM account LIMIT 1")[0][0].isoformat()
        assert job["result"]["people"][0]["detail"] == {"since": since}


def test_only_who_is_still_idle_loses_a_seat(session: Session) -> None:
    warned(session, "anne", "zoe", "luc")
    taken = planned(session)
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm = 'zoe@example.com'"))
    ledger.finish(session, JOBS, do_jobs(session, taken))
    assert sorted(answers(session)[0]) == ["already_activated", "withdrawn", "withdrawn"]
    assert (withdrawn_addresses(session), seats(session)) == (["anne@example.com", "luc@example.com"], 1)
    do_all(session)
    assert "Nombre de places : 2".replace(" :", "\u00a0:") in text_of(
        letter_to(session, MANAGER, EmailKind.RELEASE_REPORT)
    )


def test_the_audit_names_contract_and_counts_never_a_person(session: Session) -> None:
    warned(session, "anne", "zoe")
    plan(session)
    assert query(session, "SELECT action, detail FROM audit WHERE action IN ('plan_releases', 'release_seats')"
                          " ORDER BY id") == [
        ("plan_releases", {"warned": 2, "to_release": 0}),
        ("plan_releases", {"warned": 0, "to_release": 2}),
        ("release_seats", {"counts": {"withdrawn": 2}}),
    ]  # fmt: skip


# Part by part, in the contract's own lane


def test_people_are_warned_part_by_part_and_told_of_in_one_report(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "PART", 4)
    invited(session, *[f"p{number}" for number in range(10)])
    later(session, 23)
    plan(session)
    counts = query(session, "SELECT result ->> 'warned' FROM job WHERE kind = 'plan_releases'"
                            " AND result ->> 'warned' IS NOT NULL ORDER BY created_at, id")  # fmt: skip
    assert counts == [("4",), ("4",), ("2",)]
    assert len(owed(session, "release_warning")) == 10
    assert letter_to(session, MANAGER, EmailKind.RELEASE_REPORT).context["total"] == 10


def test_releases_wait_their_turn_in_the_lane_of_the_contract(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "MAX_ENROLLMENTS", 4)
    warned(session, *[f"p{number}" for number in range(10)])
    [(contract,)] = query(session, "SELECT id FROM contract")
    portal = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": portal})
    for table in ("company", "training", "contract"):
        session.execute(text(f"UPDATE {table} SET portal_id = :id"), {"id": portal})
    plan(session)
    found = query(session, "SELECT i.key, i.portal_id, j.queue, json_array_length(j.request -> 'enrollment_ids') FROM"
                           " idempotency i JOIN job j ON j.id = i.job_id WHERE j.kind = 'release_seats'"
                           " ORDER BY i.key")  # fmt: skip
    [(today,)] = query(session, "SELECT CAST(now() AT TIME ZONE 'Europe/Paris' AS date)")
    assert found == [
        (f"release:{contract}:{today}:{number}", portal, Queue.ENROLLMENTS, size)
        for number, size in ((1, 4), (2, 4), (3, 2))
    ]
    assert (seats(session), len(withdrawn_addresses(session))) == (0, 10)


def test_a_contract_without_anything_to_do_costs_no_job(session: Session) -> None:
    invited(session, "anne")
    add_contract(session, "C-2")
    change_contract(session, "C-2", **OPTIONS)
    enrolled(session, "zoe", contract="C-2")
    later(session, 20)
    deliver(session)
    assert did(session, PlanReleases())["result"]["contracts"] == 0


# Done once, also after a crash


def a_day(number: int) -> None:
    """Owes a plan: on day 23 people are due for a warning, on day 30 for a release."""
    with transaction() as session:
        invited(session, "anne", "zoe") if number == 23 else warned(session, "anne", "zoe")
        later(session, 23 if number == 23 else 0)
        owe(session, PlanReleases())


@pytest.mark.parametrize("day", [23, 30])
def test_run_twice_it_is_done_once(fresh_database: str, day: int) -> None:
    a_day(day)
    run_all()
    before = all_rows()
    with transaction() as session:
        owe(session, PlanReleases())
    run_all()
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "idempotency"}


def test_a_release_done_again_releases_no_more_seats(fresh_database: str) -> None:
    a_day(30)
    with transaction() as session:
        taken = planned(session)
    done_twice(taken)
    with transaction() as session:
        body = rows("SELECT CAST(request AS text) FROM job WHERE kind = 'release_seats'")[0][0]
        again = ledger.ClaimedRow(new_id(), 1, 0, 0, new_id(), taken[0].columns._replace(request=str(body)))
        [outcome] = releases.release_seats(session, [again])
    assert outcome.state == JobState.SUCCEEDED
    assert dict((outcome.result or {})["counts"]) == {"already_withdrawn": 2}
    assert rows("SELECT count(*) FROM email WHERE kind = 'release'") == [(2,)]


@pytest.mark.parametrize("step", ["owe", "report_to", "record"])
def test_a_plan_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with transaction() as session:
        invited(session, "anne", "zoe")
        later(session, 23)
        owe(session, PlanReleases())
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    fail_half_way(monkeypatch, releases, step, Queue.MAINTENANCE)
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL"))
    run_all()
    assert rows("SELECT count(*) FROM email WHERE kind = 'release_warning'") == [(2,)]
    all_rows()


@pytest.mark.parametrize("step", ["_owe_reports", "report_to", "outcome"])
def test_a_release_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    a_day(30)
    for _ in range(2):
        assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    fail_half_way(monkeypatch, releases, step)
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL"))
    run_all()
    assert rows("SELECT kind, count(*) FROM email WHERE kind LIKE 'release%' AND due_at IS NOT NULL"
                " GROUP BY 1 ORDER BY 1") == [("release", 2), ("release_report", 1)]  # fmt: skip
    assert rows("SELECT enrolled_count FROM contract") == [(0,)]
    all_rows()
