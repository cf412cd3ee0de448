"""Enrollment jobs from claimed rows to results: many in one transaction, each effect once."""

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Policy
from tests.kit.actors.committed_jobs import (
    accept_all,
    claimed,
    contract,
    job,
    people_codes,
    seats_used,
)
from tests.kit.builders.contracts import asking, everything, someone
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.database import transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.queues import Queue

FULL = Policy.UNTIL_FULL


def test_the_result_of_one_person_sits_in_the_job(fresh_database: str) -> None:
    contract()
    [one, two] = accept_all(asking("a"), asking("b", "c"))
    BatchRun(JOBS, do_jobs).run(claimed())
    single, double = job(one), job(two)
    assert (single["state"], single["finished"], double["state"]) == ("succeeded", True, "succeeded")
    [person] = single["result"]["people"]
    assert (person["position"], person["code"], person["field"]) == (0, "enrolled", None)
    assert rows("SELECT CAST(account_id AS text), CAST(id AS text) FROM enrollment WHERE job_id = :id", id=one) == [
        (person["account_id"], person["enrollment_id"])
    ]
    assert rows("SELECT DISTINCT job_id FROM job_person") == [(two,)]
    assert [p["code"] for p in double["result"]["people"]] == ["enrolled", "enrolled"]
    assert double["result"]["counts"] == {"enrolled": 2}


def test_each_result_shows_the_contract_as_its_own_job_left_it(fresh_database: str) -> None:
    contract(seats=5)
    jobs = accept_all(asking("a", "b"), asking("c", dry_run=True), asking("d", someone("@")), asking("e"))
    BatchRun(JOBS, do_jobs).run(claimed())
    results = [job(job_id)["result"] for job_id in jobs]
    assert [(r["seats"], r["enrolled_count"], r["remaining"], r["carried_out"]) for r in results] == [
        (2, 2, 3, True),
        (1, 2, 3, True),
        (0, 2, 3, False),
        (1, 3, 2, True),
    ]
    assert [job(job_id)["state"] for job_id in jobs] == ["succeeded", "succeeded", "refused", "succeeded"]
    assert [r["dry_run"] for r in results] == [False, True, False, False]
    assert seats_used() == 3


def test_the_same_work_done_twice_has_one_effect(fresh_database: str) -> None:
    contract()
    accept_all(asking("a"), asking("b", "c", report_to="chef@example.com"))
    taken = claimed()
    assert BatchRun(JOBS, do_jobs).run(taken)
    with transaction() as session:
        before = everything(session)
    assert BatchRun(JOBS, do_jobs).run(taken)
    with transaction() as session:
        assert everything(session) == before
    assert claimed() == []


def test_one_job_that_cannot_be_read_harms_no_other(fresh_database: str) -> None:
    contract()
    good, bad, after = accept_all(asking("a"), asking("b"), asking("c", "d"))
    rows("UPDATE job SET request = '{}' WHERE id = :id RETURNING id", id=bad)
    BatchRun(JOBS, do_jobs).run(claimed())
    assert [job(job_id)["state"] for job_id in (good, bad, after)] == ["succeeded", "queued", "succeeded"]
    assert (job(bad)["failures"], job(bad)["error"]["class"], seats_used()) == (0, "InvalidRequest", 3)


def test_a_locked_contract_postpones_and_counts_no_failure(fresh_database: str) -> None:
    contract()
    [job_id] = accept_all(asking("a"))
    taken = claimed()
    with transaction() as other:
        other.execute(text("SELECT 1 FROM contract FOR NO KEY UPDATE"))
        assert not BatchRun(JOBS, do_jobs).run(taken)
    shown = job(job_id)
    assert (shown["state"], shown["failures"], [a["outcome"] for a in shown["attempts"]]) == (
        "queued",
        0,
        ["postponed"],
    )
    assert BatchRun(JOBS, do_jobs).run(claimed())
    assert (job(job_id)["state"], seats_used()) == ("succeeded", 1)


def test_a_postponed_batch_comes_back_in_order(fresh_database: str) -> None:
    contract(seats=1)
    jobs = accept_all(*(asking(name) for name in "abcdef"))
    taken = claimed()
    with transaction() as other:
        other.execute(text("SELECT 1 FROM contract FOR NO KEY UPDATE"))
        assert not BatchRun(JOBS, do_jobs).run(taken)
    with transaction() as session:  # the first is not due, and the others wait behind it
        assert ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=9, lease=30, worker=new_id()) == []
    assert [row.id for row in claimed()] == jobs


def test_one_confirmation_per_request_that_asks_for_one(fresh_database: str) -> None:
    contract(seats=2)
    asked = accept_all(
        asking("a", report_to="chef@example.com", report_locale="en"),
        asking("b", report_to="Chef@Example.com", notify=False),
        asking("c", report_to="chef@example.com"),
        asking("d"),
        asking("e", report_to="chef@example.com", contract="C-404"),
    )
    BatchRun(JOBS, do_jobs).run(claimed())
    reports = rows(
        "SELECT job_id, to_address, locale, queue, contract_id IS NULL, lane = :portal FROM email"
        " WHERE kind = 'enrollment_report' ORDER BY job_id",
        portal=LOCAL_PORTAL_ID,
    )
    assert reports == [
        (asked[0], "chef@example.com", "en", "emails", False, False),
        (asked[1], "chef@example.com", "fr", "emails", False, False),
        (asked[2], "chef@example.com", "fr", "emails", False, False),
        (asked[4], "chef@example.com", "fr", "emails", True, True),
    ]


def test_a_dry_run_owes_nothing_and_keeps_only_its_answer(fresh_database: str) -> None:
    contract(seats=1)
    with transaction() as session:
        before = everything(session)
    [job_id] = accept_all(asking("a", "b", policy=FULL, dry_run=True, report_to="chef@example.com"))
    BatchRun(JOBS, do_jobs).run(claimed())
    with transaction() as session:
        after = everything(session)
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"job", "job_address", "idempotency", "job_person", "throttle"}
    assert people_codes(job_id) == ["enrolled", "no_seat_left"]
