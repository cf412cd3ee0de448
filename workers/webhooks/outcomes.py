"""Commits the outcomes of tries: what ends while one commit is under way is committed together by the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from workers.database import is_transient
from workers.engine.stopping import STOPPING
from workers.logs import get_logger
from workers.webhooks.recording import WebhookTry, record_tries

log = get_logger()

PAUSE_SECONDS = 0.5
"""Seconds between two tries to record, while the database is away."""

TRIES_AT_STOP = 10
"""How often that is tried once the process is asked to stop: it must end, even if the database stays away."""

WaitingTry = tuple[WebhookTry, "asyncio.Future[bool]"]
"""A try, and the future that is done once it is recorded."""

InThread = Callable[[Callable[[], set[UUID]]], Awaitable[set[UUID]]]
"""Runs a function of the database in a thread."""


class TryRecorder:
    """The recorder of a process; it lives on the event loop, and commits in a thread.

    Its task ends whenever nothing waits, and the next outcome starts another: no outcome is handed to a dead recorder.

    Parameters:
      in_thread: runs a function of the database in a thread.
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._waiting: list[WaitingTry] = []
        self._task: asyncio.Task[None] | None = None

    async def record(self, one: WebhookTry) -> bool:
        """Records a try, and returns once it is committed whether its endpoint is to be left alone now."""
        recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, recorded))
        if self._task is None:
            self._task = asyncio.create_task(self._record_waiting())
        return await recorded

    async def _record_waiting(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting, []
                await self._record_all(together)
        finally:
            self._task = None

    async def _record_all(self, together: Sequence[WaitingTry]) -> None:
        """Commits tries together; one that cannot be recorded does not take the others along."""
        try:
            _end(together, await self._commit([one for one, _ in together]))
        except Exception as bug:  # noqa: BLE001 - it is raised to the task that waits for this outcome
            if len(together) == 1:
                _end(together, bug)
                return
            for one in together:
                await self._record_all([one])

    async def _commit(self, tries: Sequence[WebhookTry]) -> set[UUID]:
        """Commits tries, again and again while the database is away: what was sent must not be sent once more."""
        left = TRIES_AT_STOP
        while True:
            try:
                return await self._in_thread(lambda: record_tries(tries))
            except Exception as error:
                left -= STOPPING.is_set()
                if not is_transient(error) or not left:
                    raise
                log.warning("outcome.waits", rows=[str(one.webhook.id) for one in tries], exc_info=error)
                await asyncio.sleep(PAUSE_SECONDS)


def _end(together: Sequence[WaitingTry], ended: set[UUID] | Exception) -> None:
    for one, recorded in together:
        if recorded.done():  # the task that waited for it was cancelled
            continue
        if isinstance(ended, Exception):
            recorded.set_exception(ended)
        else:
            recorded.set_result(one.webhook.endpoint.id in ended)
