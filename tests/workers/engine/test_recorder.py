"""Requests recorded together: which thread writes for which others, and which waits."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.processes.support import wait_until
from workers.engine.acceptance import AcceptedJob, SubmittedRequest
from workers.engine.recorder import Recorder
from workers.errors import IdempotencyConflict
from workers.requests.catalog import PutCompany
from workers.requests.queues import Queue


def ask(key: str) -> SubmittedRequest:
    return SubmittedRequest(LOCAL_PORTAL_ID, PutCompany(reference="R-1", name="Lorval"), "{}", key)


class Ledger:
    """A fake database: each commit waits for `go_on`, and may fail."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.faults: dict[str, Exception] = {}
        self.go_on = threading.Semaphore(0)

    def record(self, asks: Sequence[SubmittedRequest]) -> list[AcceptedJob | IdempotencyConflict]:
        self.commits.append([ask.key for ask in asks])
        assert self.go_on.acquire(timeout=10)
        for one in asks:
            if one.key in self.faults:
                raise self.faults[one.key]
        return [AcceptedJob(new_id(), Queue.ENROLLMENTS, repeated=False) for _ in asks]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def recorder(ledger: Ledger) -> Recorder:
    return Recorder(ledger.record)


def alone_then_together(
    ledger: Ledger, recorder: Recorder, threads: ThreadPoolExecutor, keys: str
) -> list[Future[AcceptedJob]]:
    """Sends the other keys while the first is being recorded; returns when the others are being recorded."""
    begun = [threads.submit(recorder.record, ask(keys[0]))]
    wait_until(lambda: ledger.commits)
    for number, key in enumerate(keys[1:], start=1):
        begun.append(threads.submit(recorder.record, ask(key)))
        wait_until(lambda: len(recorder._waiting) == number)  # noqa: B023
    ledger.go_on.release()
    wait_until(lambda: len(ledger.commits) == 2)
    return begun


def test_requests_that_arrive_during_a_commit_share_the_next(ledger: Ledger, recorder: Recorder) -> None:
    with ThreadPoolExecutor(4) as threads:
        begun = alone_then_together(ledger, recorder, threads, "abcd")
        ledger.go_on.release()
        assert len({future.result(timeout=10).job_id for future in begun}) == 4
    assert ledger.commits == [["a"], ["b", "c", "d"]]


def test_an_answered_request_does_not_wait_for_the_next_commit(ledger: Ledger, recorder: Recorder) -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = alone_then_together(ledger, recorder, threads, "ab")
        assert first.result(timeout=10).queue is Queue.ENROLLMENTS
        assert not second.done()
        ledger.go_on.release()
        second.result(timeout=10)


def test_a_request_that_cannot_be_recorded_does_not_spoil_the_others(ledger: Ledger, recorder: Recorder) -> None:
    ledger.faults = {"c": IntegrityError("", {}, Exception())}
    with ThreadPoolExecutor(4) as threads:
        begun = alone_then_together(ledger, recorder, threads, "abcd")
        for _ in range(4):
            ledger.go_on.release()
        for key, future in zip("abcd", begun, strict=True):
            if key == "c":
                with pytest.raises(IntegrityError):
                    future.result(timeout=10)
            else:
                future.result(timeout=10)
    assert ledger.commits == [["a"], ["b", "c", "d"], ["b"], ["c"], ["d"]]


def test_a_fault_of_the_database_is_told_to_all_who_wait(ledger: Ledger, recorder: Recorder) -> None:
    ledger.faults = {"c": OperationalError("", {}, Exception())}
    with ThreadPoolExecutor(3) as threads:
        _, *others = alone_then_together(ledger, recorder, threads, "abc")
        ledger.go_on.release()
        for future in others:
            with pytest.raises(OperationalError):
                future.result(timeout=10)
        assert ledger.commits == [["a"], ["b", "c"]]
        ledger.faults.clear()
        ledger.go_on.release()
        recorder.record(ask("c"))  # it still records
