"""The status for operators: counts, contracts, processes, clock, drift, and the problems among them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from workers.catalog.records import put_company, put_contract, put_training
from workers.database import Session
from workers.ops import status as looking
from workers.ops.reconciliation import compare_now, late_from, reconcile
from workers.ops.status import EXPECTED, missing
from workers.ops.unrecorded import UnrecordedRequests
from workers.requests.catalog import PutCompany, PutContract, PutTraining

JOB = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, due_at, leased_until)
    VALUES (:id, :portal, 'put_company', :queue, :id, :state, now() + CAST(:due AS interval),
      now() + CAST(:lease AS interval))""")

MAIL = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      due_at, error, created_at)
    VALUES (:id, 'invitation', 'emails', :id, :key, 'a@exemple.test', 'fr', '<a@b>', now(), now(), :state,
      now() + CAST(:due AS interval), CAST(:error AS json), now() - CAST(:age AS interval))""")

COMPARED = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, result, finished_at)
    VALUES (:id, :portal, 'reconcile_seats', 'maintenance', :id, 'succeeded', CAST(:result AS json),
      now() - CAST(:ago AS interval))""")

PROCESS = text("""
    INSERT INTO process (id, kind, host, pid, seen_at)
    VALUES (:id, :kind, 'ici', 12, now() - CAST(:ago AS interval))""")

NOTHING_SENT = UnrecordedRequests(0, None)

LEADER = text("INSERT INTO clock (name, holder, until) VALUES ('clock', :id, now() + interval '5 s')")


def read_status(session: Session) -> dict[str, Any]:
    return looking.read_status(session, NOTHING_SENT)


def listed(status: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(problem["code"], problem["subject"], problem["count"]) for problem in status["problems"]]


def job(
    session: Session, state: str, *, due: str | None = None, lease: str | None = None, queue: str = "rosters"
) -> None:
    values = {"id": new_id(), "portal": LOCAL_PORTAL_ID, "queue": queue, "state": state, "due": due, "lease": lease}
    session.execute(JOB, values)


def mail(session: Session, state: str, *, due: str | None = None, error: str | None = None, age: str = "1 min") -> str:
    row_id = new_id()
    values = {"id": row_id, "key": str(row_id), "state": state, "due": due, "error": error, "age": age}
    session.execute(MAIL, values)
    return str(row_id)


def process(session: Session, kind: str, ago: str = "1 s") -> Any:
    row_id = new_id()
    session.execute(PROCESS, {"id": row_id, "kind": kind, "ago": ago})
    return row_id


def contract(session: Session, reference: str, seats: int) -> None:
    put_company(session, LOCAL_PORTAL_ID, None, PutCompany(reference="acme", name="Acmé"))
    put_training(session, LOCAL_PORTAL_ID, None, PutTraining(reference="sst", title="SST"))
    request = PutContract(reference=reference, company="acme", training="sst", planned_seats=seats)
    put_contract(session, LOCAL_PORTAL_ID, None, request)


def compared(session: Session, *, ago: str) -> None:
    """Records a comparison of the seats, as the job of each hour does."""
    values = {"id": new_id(), "portal": LOCAL_PORTAL_ID, "result": json.dumps(reconcile(session)), "ago": ago}
    session.execute(COMPARED, values)


def everything_served(session: Session) -> None:
    leader = process(session, "clock")
    process(session, "enrollments maintenance requests")
    for queue in ("rosters", "certificates", "certificates_bulk", "emails", "emails_bulk"):
        process(session, queue)
    session.execute(LEADER, {"id": leader})


def test_an_idle_system_with_all_its_processes_is_healthy(session: Session) -> None:
    everything_served(session)
    status = read_status(session)
    assert (status["healthy"], status["problems"], status["missing"], status["silent"]) == (True, [], [], [])
    assert status["clock"]["host"] == "ici"
    assert {process["kind"] for process in status["processes"]} >= {"clock", "emails"}


def test_work_is_counted_by_queue_over_both_ledgers(session: Session) -> None:
    job(session, "queued", due="-90 s")
    job(session, "queued", due="-10 s")
    job(session, "queued", due="1 hour")
    job(session, "running", due="-1 s", lease="30 s")
    job(session, "dead")
    job(session, "succeeded")
    mail(session, "owed", due="-5 s")
    status = read_status(session)
    assert status["queues"]["rosters"] == {
        "waiting": 2,
        "due_later": 1,
        "running": 1,
        "dead": 1,
        "oldest_due_seconds": 90.0,
    }
    assert (status["queues"]["emails"]["waiting"], status["queues"]["emails"]["oldest_due_seconds"]) == (1, 5.0)
    assert status["queues"]["enrollments"]["oldest_due_seconds"] is None
    assert status["mails"] == {"owed": 1}


def test_an_address_the_relay_refused_is_no_dead_mail(session: Session) -> None:
    mail(session, "failed", error='{"class": "failed", "reason": "address_rejected"}')
    mail(session, "failed", error='{"class": "WorkerLost"}')
    mail(session, "failed")
    status = read_status(session)
    assert (status["mails"], status["queues"]["emails"]["dead"]) == ({"failed": 3}, 2)


def test_a_process_that_went_silent_serves_nothing(session: Session) -> None:
    process(session, "emails", ago="11 s")
    status = read_status(session)
    assert [process["kind"] for process in status["silent"]] == ["emails"]
    assert status["processes"] == []
    assert status["missing"] == list(EXPECTED)


def test_a_clock_that_stopped_leading_leads_no_more(session: Session) -> None:
    session.execute(LEADER, {"id": new_id()})
    session.execute(text("UPDATE clock SET until = now() - interval '1 s'"))
    assert read_status(session)["clock"] is None


def test_contracts_show_their_three_counters_and_how_many_there_are(session: Session) -> None:
    for number in range(52):
        contract(session, f"C-{number}", seats=number)
    status = read_status(session)
    assert (len(status["contracts"]), status["contract_count"]) == (50, 52)
    latest = status["contracts"][0]
    shown = [latest[key] for key in ("reference", "company", "planned_seats", "enrolled_count", "remaining")]
    assert shown == ["C-51", "Acmé", 51, 0, 51]


def test_a_counter_that_does_not_add_up_is_drift(session: Session) -> None:
    contract(session, "C-1", seats=3)
    session.execute(text("UPDATE contract SET enrolled_count = 2"))
    unseen = read_status(session)
    assert (unseen["drift"], unseen["reconciled"]) == ([], None)
    compared(session, ago="40 min")
    status = read_status(session)
    assert status["drift"][0]["reference"] == "C-1"
    assert {"code": "drift", "subject": "C-1", "count": 1} in status["problems"]
    assert (status["reconciled"]["contracts"], round(status["reconciled"]["seconds"])) == (1, 2_400)


def test_the_last_comparison_of_seats_counts(session: Session) -> None:
    contract(session, "C-1", seats=3)
    compared(session, ago="2 hours")
    session.execute(text("UPDATE contract SET enrolled_count = 2"))
    compared(session, ago="1 hour")
    assert [one["reference"] for one in read_status(session)["drift"]] == ["C-1"]
    session.execute(text("UPDATE contract SET enrolled_count = 0"))
    now = compare_now(session)
    assert looking.read_status(session, NOTHING_SENT, compared=now)["drift"] == []
    compared(session, ago="1 min")
    assert (read_status(session)["drift"], read_status(session)["reconciled"]["contracts"]) == ([], 0)


def test_of_many_contracts_with_drift_fifty_are_kept_and_all_counted(session: Session) -> None:
    for number in range(51):
        contract(session, f"C-{number}", seats=3)
    session.execute(text("UPDATE contract SET enrolled_count = 2"))
    compared(session, ago="1 min")
    status = read_status(session)
    assert (len(status["drift"]), status["reconciled"]["contracts"]) == (50, 51)


NOT_COMPARED = ("seats_not_compared", "contracts", 1)


def planned(session: Session, cron: str, *, paused: bool = False) -> None:
    """Gives the comparison of seats another schedule."""
    values = {"cron": cron, "paused": paused}
    session.execute(text("UPDATE schedule SET cron = :cron, paused = :paused WHERE name = 'reconcile'"), values)


@pytest.mark.parametrize(
    ("ago", "cron", "paused", "late"),
    [
        ("55 min", "17 * * * *", False, False),
        ("3 hours 1 min", "17 * * * *", False, True),
        ("2 days 2 hours", "17 3 * * *", False, True),
        ("3 hours 1 min", "17 * * * *", True, False),
        ("3 hours 1 min", "no times at all", False, False),
        ("23 hours", "17 * * * *", True, False),
        ("25 hours", "17 * * * *", True, True),
    ],
)
def test_seats_must_be_compared_when_planned(
    session: Session, ago: str, cron: str, *, paused: bool, late: bool
) -> None:
    everything_served(session)
    compared(session, ago=ago)
    planned(session, cron, paused=paused)
    status = read_status(session)
    assert (listed(status), status["healthy"]) == ([NOT_COMPARED] if late else [], not late)


def test_seats_of_the_first_contract_must_be_compared_too(session: Session) -> None:
    everything_served(session)
    assert listed(read_status(session)) == []
    contract(session, "C-1", seats=3)
    assert listed(read_status(session)) == []
    session.execute(text("UPDATE contract SET created_at = now() - interval '3 hours'"))
    [problem] = read_status(session)["problems"]
    assert ((problem["code"], problem["subject"], problem["count"]), problem["seconds"]) == (NOT_COMPARED, 10_800.0)
    assert looking.read_status(session, NOTHING_SENT, compared=compare_now(session))["healthy"]


def test_a_comparison_is_late_an_hour_after_its_slot() -> None:
    """Before it stands 10:18 in Paris, in winter; the second schedule is read first."""
    since = datetime(2026, 1, 14, 9, 18, tzinfo=UTC)
    assert late_from(["17 * * * *"], since) == datetime(2026, 1, 14, 11, 17, tzinfo=UTC)
    assert late_from(["17 * * * *", "30 3 * * *"], since) == datetime(2026, 1, 14, 11, 17, tzinfo=UTC)
    assert late_from(["30 3 * * *", "61 * * * *"], since) == datetime(2026, 1, 15, 3, 30, tzinfo=UTC)
    assert late_from([], since) == datetime(2026, 1, 15, 9, 18, tzinfo=UTC)


def test_ages_of_the_database_are_numbers(session: Session) -> None:
    database = read_status(session)["database"]
    assert database["snapshot_seconds"] >= 0
    assert database["transaction_seconds"] >= 0


CERTIFICATES = ["certificates", "certificates_bulk"]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], list(EXPECTED)),
        (["clock", "requests enrollments maintenance", "rosters", *CERTIFICATES, "emails emails_bulk"], []),
        (
            ["clock", "clock", "emails", "requests"],
            ["enrollments", "rosters", "emails_bulk", *CERTIFICATES, "maintenance"],
        ),
    ],
)
def test_queues_that_no_process_serves(kinds: list[str], expected: list[str]) -> None:
    assert missing(kinds) == expected


FULL = '{"class": "retry", "reason": "mailbox_full"}'
REJECTED = '{"class": "failed", "reason": "address_rejected"}'


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"state": "failed"}, "dead"),
        ({"state": "failed", "error": REJECTED}, None),
        ({"state": "expired"}, "expired"),
        ({"state": "expired", "error": '{"class": "relay_down", "reason": "timed_out"}'}, "expired"),
        ({"state": "expired", "error": FULL}, None),
        ({"state": "uncertain"}, "uncertain"),
        ({"state": "uncertain", "due": "9 min"}, None),
        ({"state": "uncertain", "due": "9 min", "age": "61 min"}, "unsent"),
        ({"state": "owed", "due": "9 min", "age": "59 min"}, None),
        ({"state": "owed", "due": "9 min", "age": "61 min"}, "unsent"),
        ({"state": "owed", "due": "9 min", "age": "61 min", "error": FULL}, None),
        ({"state": "sent", "age": "61 min"}, None),
        ({"state": "cancelled", "age": "61 min"}, None),
    ],
)
def test_which_mails_need_a_person(session: Session, row: dict[str, Any], expected: str | None) -> None:
    everything_served(session)
    mail(session, **row)
    status = read_status(session)
    assert listed(status) == ([(expected, "emails", 1)] if expected else [])
    assert status["healthy"] is (expected is None)


def test_a_queue_that_stands_still_though_its_process_lives_is_late(session: Session) -> None:
    everything_served(session)
    job(session, "queued", due="-59 s", queue="enrollments")
    assert read_status(session)["healthy"]
    job(session, "queued", due="-61 s", queue="enrollments")
    assert listed(read_status(session)) == [("late", "enrollments", 2)]


def test_a_problem_lists_its_oldest_rows_with_their_errors(session: Session) -> None:
    everything_served(session)
    first = mail(
        session, "failed", error='{"class": "failed", "reason": "policy", "message": "a@exemple.test says no"}'
    )
    others = [mail(session, "failed") for _ in range(10)]
    job(session, "dead")
    session.execute(text("""UPDATE job SET error = '{"class": "ValueError", "message": "Zoé"}'"""))
    [of_jobs, of_mails] = read_status(session)["problems"]
    assert [row["id"] for row in of_mails["rows"]] == [first, *others[:9]]
    assert (of_mails["subject"], of_mails["count"]) == ("emails", 11)
    assert of_mails["rows"][0] == {"id": first, "kind": "invitation", "class": "failed", "reason": "policy"}
    assert [(row["kind"], row["class"], row["reason"]) for row in of_jobs["rows"]] == [
        ("put_company", "ValueError", None)
    ]
