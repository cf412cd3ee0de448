"""Asks for the snapshot from a thread, and answers in time although PostgreSQL or Redis may take long."""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any, Final

from workers.ops.redis_condition import RedisCondition
from workers.ops.snapshot import read_snapshot
from workers.ops.status import status_without_database

ANSWER_SECONDS: Final = 8.0
"""Seconds after which the answer is that the database does not answer; scrapers give up after ten."""


class SnapshotAsker:
    """Asks for the snapshot, once at a time: requests that come meanwhile share the answer.

    A server that hangs keeps the thread, and only that one; until it ends, the next answers come at once.
    """

    def __init__(self) -> None:
        self._asked: Future[dict[str, Any]] | None = None
        self._late = False

    async def ask(self) -> dict[str, Any]:
        """Returns the status (``read_snapshot``), or what is known without a database when it takes too long."""
        if self._asked is None or self._asked.done():
            self._asked, self._late = _in_thread(), False
        asked = self._asked
        done, _ = await asyncio.wait({asyncio.wrap_future(asked)}, timeout=0.0 if self._late else ANSWER_SECONDS)
        if done:
            return asked.result()
        self._late = True
        return status_without_database(TimeoutError(), RedisCondition(), None)


def _in_thread() -> Future[dict[str, Any]]:
    """Starts to ask; the thread does not keep the process from ending."""
    future: Future[dict[str, Any]] = Future()

    def ask() -> None:
        try:
            future.set_result(read_snapshot())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            future.set_exception(error)

    threading.Thread(target=ask, name="snapshot", daemon=True).start()
    return future
