"""Waits for jobs to finish: one loop per process asks the database for all callers together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from sqlalchemy import text

from workers.database import array, autocommit
from workers.logs import get_logger
from workers.sql import fetch_values

PAUSE_SECONDS: Final = 0.075
"""Seconds between two looks while a call waits. NOTIFY would take a lock on the whole server at each commit."""

MOST_WAITING: Final = 500
"""The most calls that wait at once; a further one is answered without a wait, so that others find room."""

# The jobs of these that have finished.
FIND_FINISHED = text("SELECT id FROM job WHERE id = ANY(CAST(:jobs AS uuid[])) AND finished_at IS NOT NULL")

log = get_logger("api")


class JobWaiter:
    """Tells calls when the jobs they wait for have finished.

    Parameters:
      is_stopping: tells whether this process stops; then no call waits any longer.
    """

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping
        self._waiting: dict[UUID, list[asyncio.Event]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._limiter = CapacityLimiter(1)
        self._calls = 0

    @property
    def is_full(self) -> bool:
        """Tells whether so many calls wait that no further one may."""
        return self._calls >= MOST_WAITING

    async def wait(self, job_id: UUID, seconds: float) -> None:
        """Returns once the job has finished, or after these seconds, or when this process stops."""
        done = asyncio.Event()
        self._calls += 1
        self._waiting.setdefault(job_id, []).append(done)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            pass
        finally:
            self._calls -= 1
            self._forget(job_id, done)

    def _forget(self, job_id: UUID, done: asyncio.Event) -> None:
        waiting = self._waiting.get(job_id, [])
        if done in waiting:
            waiting.remove(done)
        if not waiting:
            self._waiting.pop(job_id, None)

    async def _look(self) -> None:
        """Asks again and again while a call waits."""
        while self._waiting:
            if self._is_stopping():
                self._tell(list(self._waiting))
                return
            try:
                self._tell(await to_thread.run_sync(_finished, list(self._waiting), limiter=self._limiter))
            except Exception as error:
                log.warning("wait.not_asked", exc_info=error)
            await asyncio.sleep(PAUSE_SECONDS)

    def _tell(self, jobs: Sequence[UUID]) -> None:
        for job in jobs:
            for done in self._waiting.get(job, []):
                done.set()


def _finished(jobs: Sequence[UUID]) -> list[UUID]:
    with autocommit() as session:
        return fetch_values(session, UUID, FIND_FINISHED, {"jobs": array(jobs)})
