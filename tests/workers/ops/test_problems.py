"""A table of states that are a problem and states that are only busy."""

from collections.abc import Sequence
from typing import Any

import pytest

from workers.engine.door_notes import GivenBackMessage, MessagesAtFault
from workers.ops.problems import find_problems
from workers.ops.redis_condition import RedisCondition
from workers.ops.unrecorded import UnrecordedRequests

QUIET = {"waiting": 0, "oldest_due_seconds": None}


def problems_of(change: dict[str, Any], rows: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Returns the problems of a status that is well but for this change."""
    status = {"clock": {"pid": 1}, "missing": [], "queues": {"rosters": QUIET}, "drift": [], "requests": sent(0)}
    return find_problems(status | change, rows)


def busy(waiting: int, oldest: float) -> dict[str, Any]:
    return {"waiting": waiting, "oldest_due_seconds": oldest}


def sent(waiting: int, oldest: float | None = None) -> dict[str, Any]:
    return UnrecordedRequests(waiting, oldest).as_json()


def held_up(*, times: int, seconds: float) -> dict[str, Any]:
    return UnrecordedRequests(3, 99, None, GivenBackMessage("m", "XX002", times, seconds)).as_json()


def refused(count: int) -> dict[str, Any]:
    return UnrecordedRequests(0, None, None, None, MessagesAtFault(count, "XX002", 9.0)).as_json()


def well(refusal: str | None = None, *, eviction: str | None = "noeviction", appendonly: bool | None = True) -> Any:
    return RedisCondition(refusal, eviction, appendonly)._asdict()


def process(**changes: Any) -> dict[str, Any]:
    return {"kind": "emails", "pid": 7, "seen_seconds_ago": 1.0, "trouble": None, "connected": True} | changes


def paused(**changes: Any) -> dict[str, Any]:
    whole = {"queue": "rosters", "portal": None, "reference": None, "waiting": 0}
    return whole | {"paused_by": "shell:anne", "reason": "a repair", "until": "x", "seconds_left": 9.0} | changes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"clock": None}, [("no_clock", "clock", 1)]),
        ({"missing": ["rosters"]}, []),
        ({"missing": ["rosters"], "queues": {"rosters": busy(4, 99)}}, [("no_process", "rosters", 4)]),
        ({"missing": ["requests"]}, [("no_process", "requests", 0)]),
        ({"missing": ["requests"], "requests": sent(3, 400)}, [("no_process", "requests", 3)]),
        ({"missing": ["requests"], "requests": None}, [("no_redis", "redis", 1), ("no_process", "requests", 0)]),
        ({"requests": sent(3, 60)}, []),
        ({"requests": sent(3, 61)}, [("late", "requests", 3)]),
        ({"requests": None}, [("no_redis", "redis", 1)]),
        ({"requests": held_up(times=2, seconds=61.0)}, [("given_back", "requests", 3)]),
        ({"requests": held_up(times=1, seconds=61.0)}, [("late", "requests", 3)]),
        ({"requests": held_up(times=9, seconds=60.0)}, [("late", "requests", 3)]),
        ({"requests": held_up(times=9, seconds=99.0) | {"waiting": 0, "oldest_seconds": None}}, []),
        ({"requests": refused(2)}, [("not_recordable", "requests", 2)]),
        ({"queues": {"enrollments": busy(4, 60), "rosters": busy(4, 900)}}, []),
        ({"queues": {"enrollments": busy(4, 61)}}, [("late", "enrollments", 4)]),
        ({"queues": {"emails": busy(1, 61)}}, [("late", "emails", 1)]),
        ({"queues": {"rosters": busy(4, 901)}}, [("late", "rosters", 4)]),
        ({"pauses": [paused()], "queues": {"rosters": busy(4, 901)}}, [("queue_paused", "rosters", 4)]),
        ({"pauses": [paused()], "queues": {"rosters": QUIET}}, [("queue_paused", "rosters", 0)]),
        (
            {"pauses": [paused(reference="C-1", portal="lms", waiting=2)], "queues": {"rosters": busy(4, 901)}},
            [("queue_paused", "rosters", 2), ("late", "rosters", 4)],
        ),
        ({"queues": {"emails_bulk": busy(2, 901)}}, [("late", "emails_bulk", 2)]),
        ({"queues": {"maintenance": busy(1, 901)}}, [("late", "maintenance", 1)]),
        ({"redis": well()}, []),
        ({"redis": well(eviction=None, appendonly=None)}, []),
        ({"redis": well(refusal="OOM")}, [("redis_refuses", "redis", 1)]),
        ({"redis": well(refusal="NOPERM"), "requests": None}, [("redis_refuses", "redis", 1)]),
        ({"redis": well(eviction="allkeys-lru")}, [("redis_evicts", "redis", 1)]),
        ({"redis": well(appendonly=False)}, [("redis_forgets", "redis", 1)]),
        ({"processes": [process(trouble="NOPERM")]}, [("deaf_process", "emails", 1)]),
        ({"processes": [process(trouble="OOM")], "redis": well(refusal="OOM")}, [("redis_refuses", "redis", 1)]),
        ({"processes": [process(trouble="ConnectionError")], "requests": None}, [("no_redis", "redis", 1)]),
        ({"processes": [process(trouble="stuck")]}, [("stuck_process", "emails", 1)]),
        ({"processes": [process(trouble="thread_lost")]}, [("stuck_process", "emails", 1)]),
        ({"processes": [process(trouble="stuck")], "requests": None}, [("no_redis", "redis", 1)]),
        (
            {"processes": [process(trouble="loop_blocked")], "requests": None},
            [("no_redis", "redis", 1), ("stuck_process", "emails", 1)],
        ),
        ({"processes": [process(drain_asked_at="x", drained_at="x")]}, []),
        ({"silent": [process(seen_seconds_ago=10.0)]}, []),
        ({"silent": [process(seen_seconds_ago=11.0)]}, [("silent_process", "emails", 1)]),
        ({"silent": [process(seen_seconds_ago=11.0, connected=False)]}, []),
        ({"processes": [process(circuit_reason="timed_out", circuit_seconds=9.0)]}, [("relay_rests", "emails", 0)]),
        ({"processes": [process(circuit_reason="timed_out", circuit_seconds=0.0)]}, []),
        (
            {"processes": [process(circuit_reason="timed_out", circuit_seconds=0.0)], "queues": {"emails": busy(3, 9)}},
            [("relay_rests", "emails", 3)],
        ),
        (
            {
                "processes": [process(circuit_reason="timed_out", circuit_seconds=9.0), process()],
                "queues": {"emails": busy(3, 9) | {"due_later": 4}, "emails_bulk": busy(8, 9)},
            },
            [("relay_rests", "emails", 7)],
        ),
        ({"set_back": {"seconds": 9.0, "at": None}}, [("clock_was_ahead", "database", 1)]),
        ({"void_schedules": ["purge"]}, [("void_schedule", "purge", 1)]),
        ({"drift": [{"reference": "C-9"}]}, [("drift", "C-9", 1)]),
    ],
)
def test_these_states_are_problems(change: dict[str, Any], expected: list[tuple[str, str, int]]) -> None:
    assert [(p["code"], p["subject"], p["count"]) for p in problems_of(change)] == expected


def test_a_queue_without_a_process_names_those_that_are_drained() -> None:
    drained = [process(drain_asked_at="x", host="h", pid=pid, kind="rosters emails") for pid in (7, 8)]
    state = {"processes": drained, "missing": ["rosters"], "queues": {"rosters": busy(4, 99)}, "clock": None}
    clock, queue = problems_of(state)
    assert (clock["code"], "drained" in clock) == ("no_clock", False)
    assert (queue["code"], queue["drained"]) == ("no_process", ["h:7", "h:8"])


def test_a_pause_hides_what_is_only_waiting_and_names_its_command() -> None:
    rows = [{"code": code, "subject": "emails", "count": 1} for code in ("unsent", "postponed", "failed")]
    lane = paused(queue="emails", reference="o'brien", portal="lms")
    for pauses, told in (([paused(queue="emails")], ["failed"]), ([lane], ["unsent", "postponed", "failed"])):
        found = problems_of({"pauses": pauses}, rows)
        assert [problem["code"] for problem in found] == ["queue_paused", *told]
    assert found[0]["what"] == """emails --lane 'o'"'"'brien' --portal lms"""
