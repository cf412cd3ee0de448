"""These rules decide who can be withdrawn, and the effect of "this is not me" on an enrollment."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.withdrawal import (
    DETACHING,
    AttachedEnrollment,
    DetachmentStep,
    WithdrawalCandidate,
    decide_detachment,
    decide_withdrawals,
)
from models.words import Code, Progress

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
THEN = datetime(2026, 2, 1, 8, 0, tzinfo=UTC)
A, B, C, D, GONE = (UUID(int=number) for number in range(1, 6))

FREE = WithdrawalCandidate(Progress.NOT_STARTED, None, None)
STARTED = WithdrawalCandidate(Progress.IN_PROGRESS, THEN, None)
COMPLETED = WithdrawalCandidate(Progress.COMPLETED, THEN, None)
WITHDRAWN = WithdrawalCandidate(Progress.NOT_STARTED, None, THEN)
DETACHED = WithdrawalCandidate(Progress.NOT_STARTED, None, NOW, THEN)  # the seat was returned at once

SINCE_THEN, SINCE_NOW = {"since": "2026-02-01T08:00:00+00:00"}, {"since": "2026-03-14T09:00:00+00:00"}


@pytest.mark.parametrize(
    ("standing", "code", "detail"),
    [
        (FREE, Code.WITHDRAWN, None),
        (WITHDRAWN, Code.ALREADY_WITHDRAWN, SINCE_THEN),
        (STARTED, Code.ALREADY_STARTED, {"progress": "in_progress"} | SINCE_THEN),
        (COMPLETED, Code.ALREADY_STARTED, {"progress": "completed"} | SINCE_THEN),
        (STARTED._replace(since=None), Code.ALREADY_STARTED, {"progress": "in_progress", "since": None}),
        (DETACHED, Code.DETACHED, SINCE_THEN),
        (STARTED._replace(detached_at=THEN, since=NOW), Code.DETACHED, SINCE_THEN),
        (None, Code.NOT_FOUND, None),
    ],
)
def test_the_verdict_on_one_enrollment(standing: WithdrawalCandidate | None, code: Code, detail: object) -> None:
    assert decide_withdrawals([A], {A: standing} if standing else {}, NOW).verdicts == [(code, detail)]


def test_each_is_answered_in_the_order_of_the_request() -> None:
    standings = {A: FREE, B: STARTED, C: WITHDRAWN, D: FREE}
    codes = [decision.code for decision in decide_withdrawals([D, GONE, C, B, A], standings, NOW).verdicts]
    assert codes == ["withdrawn", "not_found", "already_withdrawn", "already_started", "withdrawn"]


def test_an_enrollment_listed_twice_is_answered_twice() -> None:
    decisions = decide_withdrawals([A, A, B, B, GONE, GONE], {A: FREE, B: STARTED}, NOW).verdicts
    assert [decision.code for decision in decisions] == [
        *("withdrawn", "already_withdrawn"),
        *("already_started", "already_started"),
        *("not_found", "not_found"),
    ]
    assert decisions[1].detail == SINCE_NOW


STANDINGS = st.dictionaries(
    st.sampled_from([A, B, C, D]), st.sampled_from([FREE, STARTED, COMPLETED, WITHDRAWN, DETACHED])
)


@given(asked=st.lists(st.sampled_from([A, B, C, D, GONE])), standings=STANDINGS)
def test_a_person_who_has_not_begun_leaves_once(asked: list[UUID], standings: dict[UUID, WithdrawalCandidate]) -> None:
    before = dict(standings)
    first = decide_withdrawals(asked, standings, NOW)
    again = decide_withdrawals(asked, first.standings, NOW)
    left = [one for one, decision in zip(asked, first.verdicts, strict=True) if decision.code is Code.WITHDRAWN]
    assert sorted(left) == sorted({one for one in asked if before.get(one) == FREE})
    assert Code.WITHDRAWN not in {decision.code for decision in again.verdicts}
    assert {one for one in before if first.standings[one] != before[one]} == set(left)
    assert (standings, again.standings) == (before, first.standings)


LATER = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
FRESH, BEGUN, DONE = Progress.NOT_STARTED, Progress.IN_PROGRESS, Progress.COMPLETED


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (AttachedEnrollment(FRESH, None, None), DetachmentStep.GIVE_SEAT_BACK),
        (AttachedEnrollment(BEGUN, None, None), DetachmentStep.KEEP_SEAT),
        (AttachedEnrollment(DONE, None, None), DetachmentStep.KEEP_SEAT),
        (AttachedEnrollment(FRESH, THEN, None), DetachmentStep.NOTHING_LEFT),
        (AttachedEnrollment(FRESH, THEN, THEN), DetachmentStep.DONE_BEFORE),
        (AttachedEnrollment(BEGUN, None, THEN), DetachmentStep.DONE_BEFORE),
        (AttachedEnrollment(BEGUN, LATER, THEN), DetachmentStep.DONE_BEFORE),
        (None, DetachmentStep.NOTHING_LEFT),
    ],
)
def test_the_step_of_a_detachment(standing: AttachedEnrollment | None, step: DetachmentStep) -> None:
    assert decide_detachment(standing) is step


@pytest.mark.parametrize("progress", Progress)
def test_no_enrollment_is_detached_twice(progress: Progress) -> None:
    assert decide_detachment(AttachedEnrollment(progress, None, None)) in DETACHING
    for withdrawn_at in (None, THEN):
        assert decide_detachment(AttachedEnrollment(progress, withdrawn_at, THEN)) not in DETACHING
