"""A table of the facts of a row and the reason for which it waits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.waiting import WaitingCode, WaitingFacts, WaitingReason, estimated_seconds, why_it_waits

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOON, LATER = NOW + timedelta(minutes=1), NOW + timedelta(minutes=9)
DUE = WaitingFacts(now=NOW, finished_at=None, leased_until=None, due_at=NOW, failures=0, postponed=False)


@pytest.mark.parametrize(
    ("changes", "code", "until"),
    [
        ({}, WaitingCode.IN_TURN, None),
        ({"due_at": None, "finished_at": NOW}, WaitingCode.ENDED, None),
        ({"leased_until": SOON, "served": False, "lane_running": True}, WaitingCode.RUNNING, None),
        ({"is_known": False, "served": False}, WaitingCode.UNKNOWN_KIND, None),
        ({"served": False, "due_at": SOON, "failures": 1}, WaitingCode.NO_PROCESS, None),
        ({"served": False, "drained": True, "paused_until": SOON}, WaitingCode.DRAINED, None),
        ({"served": False, "stuck": True, "drained": True}, WaitingCode.STUCK_PROCESS, None),
        ({"served": True, "drained": True}, WaitingCode.IN_TURN, None),
        ({"paused_until": SOON, "rests_until": LATER, "lane_running": True}, WaitingCode.PAUSED, SOON),
        ({"paused_until": SOON, "served": False}, WaitingCode.NO_PROCESS, None),
        ({"paused_until": SOON, "due_at": LATER, "failures": 1}, WaitingCode.RETRY, LATER),
        ({"paused_until": NOW}, WaitingCode.IN_TURN, None),
        ({"rests_until": SOON}, WaitingCode.RELAY_RESTS, SOON),
        ({"rests_until": NOW}, WaitingCode.IN_TURN, None),
        ({"rests_until": SOON, "due_at": LATER, "postponed": True}, WaitingCode.POSTPONED, LATER),
        ({"rests_until": LATER, "due_at": SOON, "postponed": True}, WaitingCode.RELAY_RESTS, LATER),
        ({"due_at": SOON, "postponed": True, "failures": 3}, WaitingCode.POSTPONED, SOON),
        ({"due_at": SOON, "failures": 3}, WaitingCode.RETRY, SOON),
        ({"due_at": SOON, "lane_running": True}, WaitingCode.DUE_LATER, SOON),
        ({"lane_running": True, "lane_postponed_until": SOON, "before_in_lane": 3}, WaitingCode.LANE_RUNNING, None),
        ({"lane_postponed_until": SOON, "before_in_lane": 3}, WaitingCode.LANE_POSTPONED, SOON),
        ({"lane_postponed_until": NOW, "before_in_lane": 3}, WaitingCode.IN_LANE, None),
        ({"postponed": True, "before_in_lane": 36}, WaitingCode.IN_LANE, None),
    ],
)
def test_the_first_reason_that_holds_is_told(
    changes: dict[str, Any], code: WaitingCode, until: datetime | None
) -> None:
    assert why_it_waits(replace(DUE, **changes)) == WaitingReason(code, until)


@pytest.mark.parametrize(("ahead", "ended", "expected"), [(0, 0, None), (9, 0, None), (0, 900, 1.0), (99, 450, 200.0)])
def test_the_estimate_goes_by_what_ended_lately(ahead: int, ended: int, expected: float | None) -> None:
    assert estimated_seconds(ahead, ended, within=900.0) == expected
