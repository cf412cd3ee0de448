"""Reading withdrawals and progress: strict and bounded, with every wrong field named."""

import json
from typing import Any
from uuid import UUID

import pytest

from models.words import Code
from tests.kit.actors.messages import problems, read
from workers.actors.registry import SERVICES
from workers.requests.base import MAX_ENROLLMENTS, MAX_MESSAGE_BYTES, BulkEnrollmentRequest, fingerprint
from workers.requests.enrollment import MAX_EVENTS, RecordProgress, RefusedEvent, Withdraw
from workers.requests.queues import Queue
from workers.requests.registry import KINDS, parse

ID = "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11"
EVENT: dict[str, Any] = {"enrollment_id": ID, "progress": "in_progress", "occurred_at": "2026-03-14T09:30:00+01:00"}
DONE = EVENT | {"progress": "completed"}
WITHDRAW: dict[str, Any] = {"contract": "C-1", "enrollment_ids": [ID]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"enrollment_ids": []}, "enrollment_ids"),
        ({"enrollment_ids": [ID] * (MAX_ENROLLMENTS + 1)}, "enrollment_ids"),
        ({"enrollment_ids": ID}, "enrollment_ids"),
        ({"notify": "yes"}, "notify"),
        ({"reason": "left"}, "reason"),
    ],
)
def test_a_withdrawal_that_is_refused(change: dict[str, object], field: str) -> None:
    assert problems("withdraw", WITHDRAW | change) == [(Code.INVALID_REQUEST, field)]


def test_a_withdrawal_shares_the_lane_and_the_queues_of_enrollments() -> None:
    small, large = (
        parse("withdraw", json.dumps(WITHDRAW | {"enrollment_ids": [ID] * number})) for number in (1_000, 1_001)
    )
    assert (small.queue, large.queue) == (Queue.ENROLLMENTS, Queue.ROSTERS)
    contract = {"reference": "C-1", "company": "c", "training": "t", "planned_seats": 1}
    assert small.lane == large.lane == parse("put_contract", json.dumps(contract)).lane


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"enrollment_id": "x"}, "enrollment_id"),
        ({"progress": "finished"}, "progress"),
        ({"progress": None}, "progress"),
        ({"occurred_at": "2026-03-14T09:30:00"}, "occurred_at"),
        ({"occurred_at": "14/03/2026"}, "occurred_at"),
        ({"occurred_at": 1_773_480_600}, "occurred_at"),
        ({"occurred_at": None}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at"),
        ({"score": -0.5}, "score"),
        ({"score": 100.5}, "score"),
        ({"score": "80"}, "score"),
        ({"score": True}, "score"),
        ({"score": float("nan")}, "score"),
        ({"score": float("inf")}, "score"),
        ({"time_spent_seconds": -1}, "time_spent_seconds"),
        ({"time_spent_seconds": 1.5}, "time_spent_seconds"),
        ({"time_spent_seconds": 10**12}, "time_spent_seconds"),
        ({"completed_at": "2026-03-14T09:00:00Z"}, "completed_at"),
        ({"progress": "completed", "completed_at": "2026-03-14"}, "completed_at"),
        ({"lesson": 3}, "lesson"),
    ],
)
def test_an_event_that_cannot_be_read_leaves_the_others_as_they_are(change: dict[str, object], field: str) -> None:
    request = read("record_progress", {"events": [EVENT, EVENT | change, EVENT]})
    assert isinstance(request, RecordProgress)
    assert request.events[0] == request.events[2]
    wrong = request.events[1]
    assert isinstance(wrong, RefusedEvent)
    assert wrong.wrong_fields == (field,)
    assert str(wrong.enrollment_id) == (ID if field != "enrollment_id" else str(UUID(int=0)))


@pytest.mark.parametrize("event", [7, None, "x", [], {}, [EVENT], {"enrollment_id": [ID]}])
def test_what_is_no_event_is_kept_as_it_was_sent(event: object) -> None:
    request = read("record_progress", {"events": [event, EVENT]})
    assert isinstance(request, RecordProgress)
    refused = request.events[0]
    assert isinstance(refused, RefusedEvent)
    assert refused.given == event


@pytest.mark.parametrize("kind", ["withdraw", "reset_passwords", "resend_invitations"])
@pytest.mark.parametrize("wrong", ["x", 7, None, [ID], 1.5])
def test_an_identifier_that_is_none_leaves_the_others_as_they_are(kind: str, wrong: object) -> None:
    request = read(kind, WITHDRAW | {"enrollment_ids": [ID, wrong]})
    assert isinstance(request, BulkEnrollmentRequest)
    assert request.enrollment_ids == [UUID(ID), UUID(int=0)]
    assert [getattr(one, "given", None) for one in request.enrollment_ids] == [None, wrong]


def test_requests_that_differ_in_a_wrong_element_are_different_requests() -> None:
    bodies: list[dict[str, object]] = [{"events": [EVENT, EVENT | {"score": wrong}]} for wrong in ("80", "90", 101)]
    assert len({fingerprint(read("record_progress", body)) for body in bodies}) == 3


@pytest.mark.parametrize("number", [0, MAX_EVENTS + 1])
def test_from_one_to_a_thousand_events(number: int) -> None:
    assert problems("record_progress", {"events": [EVENT] * number}) == [(Code.INVALID_REQUEST, "events")]


def test_a_thousand_events_that_say_all_they_can_fit_in_a_message() -> None:
    moment = "2026-03-14T09:30:00.123456+01:00"
    full = DONE | {"occurred_at": moment, "completed_at": moment, "score": 87.55, "time_spent_seconds": 1_234_567}
    request = parse("record_progress", json.dumps({"events": [full] * MAX_EVENTS}))
    assert isinstance(request, RecordProgress)
    assert len(json.dumps({"body": request.model_dump_json()})) < MAX_MESSAGE_BYTES - 2_000


def test_the_same_moment_in_another_offset_is_not_the_same_request() -> None:
    """The bytes are compared, not their meaning, because a portal repeats the same bytes."""
    one, other = (
        {"events": [EVENT | {"occurred_at": at}]} for at in ("2026-03-14T09:30:00+01:00", "2026-03-14T08:30Z")
    )
    prints = {fingerprint(parse("record_progress", json.dumps(body))) for body in (one, other)}
    assert len(prints) == 2


def test_python_may_give_words_and_identifiers() -> None:
    assert Withdraw(contract="C-1", enrollment_ids=[UUID(ID)]).notify
    assert problems("issue_certificate", {"enrollment_id": ID}) == [(Code.UNKNOWN_KIND, "kind")]


def test_every_kind_has_its_service_or_an_actor_of_its_own() -> None:
    own_actors = {"import_roster", "undo_import", "scan_inboxes"}  # they need several transactions
    own_actors |= {"duplicate_certificates", "duplicate_own_certificate", "purge_documents"}
    cure = "name its function in SERVICES (workers/actors/registry.py), or set beyond_database"
    assert KINDS.keys() - SERVICES.keys() == own_actors, cure
    assert {kind for kind, request in KINDS.items() if request.beyond_database} == own_actors
    assert SERVICES.keys() <= KINDS.keys()
