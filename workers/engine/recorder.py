"""Group commit of requests: when several threads accept at the same moment, one of them writes for all.

A commit waits for the disk, and a statement costs the same for one request as for eight. A lone request is recorded at
once; while several arrive together, the thread that records waits a moment for the others.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from workers.database import is_transient, transaction
from workers.engine.acceptance import AcceptedJob, SubmittedRequest, accept_all
from workers.errors import IdempotencyConflict
from workers.logs import get_logger

log = get_logger()

GATHER_SECONDS: Final = 0.001
"""Seconds for which the recording thread waits while several requests arrive together; a lone one does not wait."""

Answer = AcceptedJob | IdempotencyConflict | Exception


@dataclass(slots=True)
class _WaitingRequest:
    ask: SubmittedRequest
    answer: Answer | None = None


class Recorder:
    """Records the requests of all accepting threads of this process.

    Parameters:
      record: a function that commits requests together and returns an answer for each.
    """

    def __init__(
        self, record: Callable[[Sequence[SubmittedRequest]], Sequence[AcceptedJob | IdempotencyConflict]]
    ) -> None:
        self._record = record
        self._waiting: list[_WaitingRequest] = []
        self._changed = threading.Condition()
        self._recording = False  # one of the threads records
        self._together = 1  # the number of requests in the last commit

    def record(self, ask: SubmittedRequest) -> AcceptedJob:
        """Records a request; returns after its commit.

        Raises:
          IdempotencyConflict: the key belongs to another request.
          Exception: the error of the database; nothing of this request was recorded.
        """
        entry = _WaitingRequest(ask)
        with self._changed:
            self._waiting.append(entry)
            # Not a lock: a thread that has its answer would wait behind the next thread that records.
            self._changed.wait_for(lambda: entry.answer is not None or not self._recording)
            leads = entry.answer is None
            self._recording |= leads
        if leads:
            self._record_all()
        if isinstance(entry.answer, AcceptedJob):
            return entry.answer
        raise entry.answer or AssertionError

    def _record_all(self) -> None:
        try:
            if self._together > 1:
                time.sleep(GATHER_SECONDS)
            with self._changed:
                entries, self._waiting = self._waiting, []
            self._together = len(entries)
            self._answer(entries)
        finally:
            with self._changed:
                self._recording = False
                self._changed.notify_all()

    def _answer(self, entries: Sequence[_WaitingRequest]) -> None:
        try:
            answers: Sequence[Answer] = self._record([entry.ask for entry in entries])
        except Exception as error:  # noqa: BLE001 - handed to each thread that waits
            if len(entries) > 1 and not is_transient(error):
                for entry in entries:  # one of them makes the statement fail for all: each is tried alone
                    self._answer([entry])
                return
            answers = [error for _ in entries]
        for entry, answer in zip(entries, answers, strict=True):
            entry.answer = answer


def record_in_one_transaction(asks: Sequence[SubmittedRequest]) -> list[AcceptedJob | IdempotencyConflict]:
    """Commits these requests together; returns an answer for each."""
    with transaction() as session:
        answers = accept_all(session, asks)
    jobs = [f"{answer.job_id}#0" for answer in answers if isinstance(answer, AcceptedJob)]
    log.info("requests.accepted", rows=jobs, count=len(jobs))
    return answers
