"""Records the requests that come over HTTP: one thread commits all that wait together.

A thread and a transaction per request would cost twice the time of the processor. Nothing is answered before the
commit, so what the answer says is in the ledger.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from workers.database import is_lock_timeout, is_transient, transaction, wait_briefly_for_locks
from workers.engine.acceptance import AcceptedJob, SubmittedRequest, accept_all
from workers.engine.wake import WAKER
from workers.errors import IdempotencyConflict, NotConfigured
from workers.logs import get_logger

BUNDLE: Final = 200
"""The most requests of one commit."""

log = get_logger("api")

Accepted = AcceptedJob | IdempotencyConflict | Exception


class _Waiting(NamedTuple):
    """A request that waits to be recorded, and whom to tell."""

    request: SubmittedRequest
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[AcceptedJob | IdempotencyConflict]"


class AsyncRecorder:
    """Records requests for the coroutines of this process; its thread starts with the first of them."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def accept(self, request: SubmittedRequest) -> AcceptedJob:
        """Records a request; returns once it is committed. The caller has checked the key.

        Raises:
          IdempotencyConflict: the key belongs to another request.
          sqlalchemy.exc.DBAPIError: PostgreSQL did not record it.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[AcceptedJob | IdempotencyConflict] = loop.create_future()
        self._queue.put(_Waiting(request, loop, future))
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        answer = await future
        if isinstance(answer, IdempotencyConflict):
            raise answer
        return answer

    def _run(self) -> None:
        while True:
            waiting = self._gathered()
            answers = _record([one.request for one in waiting])
            by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], Any]]] = {}
            for one, answer in zip(waiting, answers, strict=True):
                by_loop.setdefault(one.loop, []).append(partial(_tell, one.future, answer))
            for loop, tell in by_loop.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_call_all, tell)

    def _gathered(self) -> list[_Waiting]:
        """Waits for a request, and takes what else waits."""
        waiting = [self._queue.get()]
        try:
            while len(waiting) < BUNDLE:
                waiting.append(self._queue.get_nowait())
        except Empty:
            pass
        return waiting


def _call_all(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def _tell(future: "asyncio.Future[Any]", answer: Accepted) -> None:
    if future.done():  # nobody waits any more: its connection was lost
        return
    if isinstance(answer, IdempotencyConflict) or not isinstance(answer, Exception):
        future.set_result(answer)
    else:
        future.set_exception(answer)


def _record(requests: Sequence[SubmittedRequest]) -> Sequence[Accepted]:
    """Commits requests together; returns an answer for each.

    When one of them makes that fail, each is recorded alone. A lane that another transaction holds is waited for
    briefly, so that the portals of other lanes do not wait with it.
    """
    try:
        with transaction() as session:
            wait_briefly_for_locks(session)
            answers = accept_all(session, requests)
    except Exception as error:
        if len(requests) > 1 and (is_lock_timeout(error) or not _concerns_all(error)):
            return [answer for one in requests for answer in _record([one])]
        log.warning("requests.not_recorded", count=len(requests), exc_info=error)
        return [error] * len(requests)
    accepted = [answer for answer in answers if isinstance(answer, AcceptedJob) and not answer.repeated]
    for queue in {answer.queue for answer in accepted}:
        WAKER.wake_soon(queue)
    log.info("requests.accepted", rows=[f"{answer.job_id}#0" for answer in accepted], count=len(answers))
    return answers


def _concerns_all(error: Exception) -> bool:
    """Tells whether an error would meet each of the requests alone as well: the database is away."""
    return isinstance(error, PoolTimeoutError | NotConfigured) or is_transient(error)
