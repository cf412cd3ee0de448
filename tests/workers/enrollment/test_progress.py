"""Progress from the LMS: a result for each event, one state and one certificate for each enrollment, however often
sent.
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Progress
from tests.kit.actors.committed_jobs import (
    all_rows,
    claimed,
    done_twice,
    fail_half_way,
)
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    did,
    enrolled,
    query,
    results,
)
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine.acceptance import accept
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, due_queues, queues_to_wake
from workers.enrollment import progress as recording
from workers.errors import InvalidRequest
from workers.reading.jobs import show_job
from workers.requests.enrollment import ProgressEvent, RecordProgress, Withdraw
from workers.requests.internal import IssueCertificate
from workers.requests.registry import parse

KNOWN = """
    SELECT progress, started_at, completed_at, progress_at, score, time_spent_seconds FROM enrollment WHERE id = :id"""
CERTIFICATES = "SELECT count(*), count(due_at), count(finished_at) FROM job WHERE kind = 'issue_certificate'"


def day(number: int) -> datetime:
    return datetime(2026, 3, number, 12, 0, tzinfo=UTC)


def event(enrollment: UUID, at: int, progress: str = "in_progress", **more: Any) -> ProgressEvent:
    return ProgressEvent(enrollment_id=enrollment, progress=Progress(progress), occurred_at=day(at), **more)


def told(*events: ProgressEvent, **options: Any) -> RecordProgress:
    return RecordProgress(events=list(events), **options)


def known(session: Session, enrollment: UUID) -> tuple[Any, ...]:
    return query(session, KNOWN, id=enrollment)[0]


def test_each_event_is_answered_in_order_and_folded_into_its_enrollment(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    a, b = enrolled(session, "a", "b")
    [c] = enrolled(session, "c", contract="C-2")
    unknown = new_id()
    [job] = did(
        session,
        told(
            event(a, 5, score=40.0, time_spent_seconds=600),
            event(c, 5, "completed", completed_at=day(4)),
            event(unknown, 5),
            event(a, 3, time_spent_seconds=60),
            event(b, 2, "not_started"),
            event(a, 5, score=40.0),
        ),
    )
    assert results(job) == ["recorded", "recorded", "not_found", "recorded", "recorded", "unchanged"]
    assert [person["enrollment_id"] for person in job["result"]["people"]] == [str(x) for x in (a, c, unknown, a, b, a)]
    assert job["result"]["counts"] == {"recorded": 4, "not_found": 1, "unchanged": 1}
    assert known(session, a) == ("in_progress", day(3), None, day(5), 40.0, 600)
    assert known(session, b) == ("not_started", None, None, day(2), None, 0)
    assert known(session, c) == ("completed", day(4), day(4), day(5), None, 0)


def test_a_late_event_changes_no_newer_fact(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    did(session, told(event(a, 9, "completed", score=90.5, time_spent_seconds=7_200)))
    [late] = did(session, told(event(a, 4, score=10.0, time_spent_seconds=60)))
    assert results(late) == ["recorded"]  # the training was started earlier than was known
    assert known(session, a) == ("completed", day(4), day(9), day(9), 90.5, 7_200)
    [again] = did(session, told(event(a, 4, score=10.0, time_spent_seconds=60)))
    assert (again["state"], results(again)) == ("succeeded", ["unchanged"])


def test_jobs_of_one_batch_are_folded_in_their_order(session: Session) -> None:
    add_contract(session)
    a, b = enrolled(session, "a", "b")
    jobs = did(session, told(event(a, 3), event(b, 3)), told(event(a, 3)), told(event(b, 4, "completed"), event(a, 2)))
    assert [results(job) for job in jobs] == [["recorded"] * 2, ["unchanged"], ["recorded"] * 2]
    assert known(session, a)[:2] == ("in_progress", day(2))
    assert known(session, b)[:3] == ("completed", day(3), day(4))


def test_a_withdrawn_person_is_reported_with_the_date_and_unchanged(session: Session) -> None:
    add_contract(session)
    a, b = enrolled(session, "a", "b")
    did(session, Withdraw(contract="C-1", enrollment_ids=[a]))
    [(since,)] = query(session, "SELECT withdrawn_at FROM enrollment WHERE id = :id", id=a)
    before = known(session, a)
    jobs = did(session, told(event(a, 5, "completed"), event(b, 5), event(a, 6)), told(event(a, 5)))
    assert results(jobs[0]) == ["already_withdrawn", "recorded", "already_withdrawn"]
    assert jobs[0]["result"]["people"][2]["detail"] == {"since": since.isoformat()}
    assert (jobs[1]["state"], results(jobs[1])) == ("refused", ["already_withdrawn"])
    assert known(session, a) == before
    assert query(session, CERTIFICATES) == [(0, 0, 0)]


def test_a_portal_hears_nothing_of_the_enrollments_of_another(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    portal = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": portal})
    session.execute(text("UPDATE contract SET portal_id = :id"), {"id": portal})
    [job] = did(session, told(event(a, 5)))
    [person] = job["result"]["people"]
    assert (job["state"], person["code"], person["account_id"]) == ("refused", "not_found", None)
    assert known(session, a)[0] == "not_started"


def test_an_event_from_the_future_is_refused_alone(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    far = ProgressEvent(enrollment_id=a, progress=Progress.COMPLETED, occurred_at=datetime(2099, 1, 1, tzinfo=UTC))
    [job] = did(session, told(far, event(a, 5)))
    assert results(job) == ["invalid_request", "recorded"]
    assert [person["field"] for person in job["result"]["people"]] == ["occurred_at", None]
    assert known(session, a)[0] == "in_progress"


def sent(session: Session, *events: object, **options: Any) -> dict[str, Any]:
    """Does a request from the bytes that a portal sent."""
    body = json.dumps({"events": list(events)} | options)
    accepted_job = accept(session, LOCAL_PORTAL_ID, parse("record_progress", body), body, key=str(new_id()))
    did(session)
    return show_job(session, accepted_job.job_id) or {}


def as_sent(enrollment: UUID, at: int, **more: Any) -> dict[str, Any]:
    return {"enrollment_id": str(enrollment), "progress": "in_progress", "occurred_at": day(at).isoformat()} | more


def test_one_wrong_event_refuses_none_of_the_others(session: Session) -> None:
    add_contract(session)
    a, b = enrolled(session, "a", "b")
    unknown = new_id()
    wrong: list[tuple[object, str, str | None]] = [
        (as_sent(a, 5, progress="finished"), "invalid_request", "progress"),
        (as_sent(a, 5, occurred_at="2026-03-14T09:30:00"), "invalid_request", "occurred_at"),
        (as_sent(a, 5, score="80"), "invalid_request", "score"),
        (as_sent(a, 5, score=float("nan")), "invalid_request", "score"),
        (as_sent(a, 5, time_spent_seconds=float("inf")), "invalid_request", "time_spent_seconds"),
        (as_sent(a, 5, lesson=3), "invalid_request", "lesson"),
        ({"enrollment_id": str(a), "progress": "completed"}, "invalid_request", "occurred_at"),
        ({"progress": "completed", "occurred_at": day(5).isoformat()}, "invalid_request", "enrollment_id"),
        (7, "invalid_request", "events"),
        (as_sent(unknown, 5), "not_found", None),
        (as_sent(a, 5, occurred_at="2099-01-01T00:00:00Z"), "invalid_request", "occurred_at"),
    ]
    job = sent(session, as_sent(a, 4), *[event for event, _, _ in wrong], as_sent(b, 6))
    assert job["state"] == "succeeded"
    people = job["result"]["people"]
    assert [(one["code"], one["field"]) for one in people[1:-1]] == [(code, field) for _, code, field in wrong]
    assert (people[0]["code"], people[-1]["code"]) == ("recorded", "recorded")
    assert (known(session, a)[3], known(session, b)[3]) == (day(4), day(6))


def test_a_request_of_wrong_events_alone_is_refused_with_a_code_for_each(session: Session) -> None:
    add_contract(session)
    job = sent(session, 7, {"progress": "done"})
    assert (job["state"], results(job)) == ("refused", ["invalid_request"] * 2)


def test_a_total_is_lowered_and_an_impossible_one_refused(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a")
    [job] = did(
        session,
        told(
            event(a, 3),
            event(a, 5, time_spent_seconds=90_000),
            event(a, 6, time_spent_seconds=600),
            event(a, 7, time_spent_seconds=5 * 86_400),
            event(a, 5, time_spent_seconds=90_001),
        ),
    )
    assert results(job) == ["recorded", "recorded", "recorded", "implausible_time", "unchanged"]
    assert job["result"]["people"][3]["field"] == "time_spent_seconds"
    assert known(session, a) == ("in_progress", day(3), None, day(6), None, 600)


# The certificate of a completion


def test_the_first_completion_owes_the_certificate_exactly_once(session: Session) -> None:
    add_contract(session)
    a, b = enrolled(session, "a", "b")
    did(session, told(event(a, 5, "completed"), event(a, 4, "completed"), event(b, 5)))
    did(session, told(event(a, 6, "completed")), told(event(a, 2, "completed")))
    assert query(session, "SELECT kind, state, request, due_at = now() FROM job WHERE queue = 'certificates'") == [
        ("issue_certificate", "queued", {"enrollment_id": str(a), "requested_by": ""}, True)
    ]
    assert query(session, "SELECT key FROM idempotency WHERE key LIKE 'certificate:%'") == [(f"certificate:{a}",)]
    assert known(session, a)[2] == day(2)


def test_certificates_are_woken_for_a_completion_alone(session: Session) -> None:
    add_contract(session)
    [a] = enrolled(session, "a", notify=False)
    did(session, told(event(a, 4)))
    assert (queues_to_wake(session), due_queues(session)) == (set(), set())
    did(session, told(event(a, 5, "completed")))
    assert (queues_to_wake(session), due_queues(session)) == ({"certificates"}, {"certificates"})


def test_no_portal_can_take_the_key_of_a_certificate(session: Session) -> None:
    request = IssueCertificate(enrollment_id=new_id())
    with pytest.raises(InvalidRequest, match="reserved"):
        accepted(session, told(event(new_id(), 5)), request.key)


def test_a_certificate_is_not_owed_again_once_its_key_is_forgotten(session: Session) -> None:
    """Keys are kept for 90 days, but an LMS may repeat an event for years."""
    add_contract(session)
    [a] = enrolled(session, "a")
    did(session, told(event(a, 5, "completed")))
    session.execute(text("DELETE FROM idempotency"))
    did(session, told(event(a, 9, "completed", score=80.0)))
    assert query(session, CERTIFICATES) == [(1, 1, 0)]


# Done once, also after a crash


def two_enrolled() -> list[UUID]:
    with transaction() as session:
        add_contract(session)
        return enrolled(session, "a", "b")


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    a, b = two_enrolled()
    request = told(event(a, 5, "completed"), event(b, 5))
    with transaction() as session:
        assert accepted(session, request, "one") == accepted(session, request, "one")
    taken = claimed()
    before = done_twice(taken)
    with transaction() as session:
        [job] = did(session, request, key="another")
    assert (job["state"], results(job)) == ("succeeded", ["unchanged"] * 2)
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "job_person", "idempotency"}
    assert rows(CERTIFICATES) == [(1, 1, 0)]


@pytest.mark.parametrize("step", ["owe_jobs", "record_people", "record_all", "_outcome"])
def test_progress_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    a, b = two_enrolled()
    with transaction() as session:
        accepted(session, told(event(a, 5, "completed"), event(b, 5)))
    fail_half_way(monkeypatch, recording, step)
    assert rows(CERTIFICATES) == [(0, 0, 0)]
    assert BatchRun(JOBS, do_jobs).run(claimed())
    assert rows("SELECT state FROM job WHERE kind = 'record_progress'") == [("succeeded",)]
    assert rows("SELECT progress FROM enrollment ORDER BY progress") == [("completed",), ("in_progress",)]
    assert rows(CERTIFICATES) == [(1, 1, 0)]


def test_new_progress_is_in_the_audit_and_known_progress_is_not(session: Session) -> None:
    add_contract(session)
    a, b = enrolled(session, "a", "b")
    asked = told(event(a, 5), requested_by="lms")
    jobs = did(session, asked, asked, told(event(a, 6), event(b, 6), event(a, 6)))
    audited = query(session, "SELECT job_id, requested_by, subject_id, detail FROM audit"
                             " WHERE action = 'record_progress' ORDER BY id")  # fmt: skip
    assert audited == [
        (UUID(jobs[0]["id"]), "lms", a, {"counts": {"recorded": 1}}),
        (UUID(jobs[2]["id"]), "", None, {"counts": {"recorded": 2, "unchanged": 1}}),
    ]
