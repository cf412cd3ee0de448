"""Commits the outcomes of delivery attempts: one recorder for all batches and connections of a process.

A commit costs the same for one outcome as for all of them. So the recorder commits together what has ended, and what
ends within five milliseconds more.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.delivery import AttemptFault, DeliveryVerdict
from models.words import EmailState
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow, MailColumns
from workers.errors import MatriculeError
from workers.mail.claimed import ClaimedMail
from workers.outbox.relays import ACCEPTANCE_IS_OLD
from workers.sql import fetch, fetch_values

GATHER_SECONDS: Final = 0.005
"""Seconds an outcome waits for those of the other connections: about as long as sixteen mails take this process."""

LONGEST_ANSWER: Final = 200
"""Characters of the relay's last answer that are kept."""

# Records mails as sent by exactly the claims given, as ``Ledger.finish_sql`` does, and returns those that were ours. It
# commits by itself: a mail that another process holds by now is left to it, and the others are recorded. The locks are
# taken in the order of the ids, because leases of the same rows are renewed meanwhile.
RECORD_SENT = text(f"""
    WITH m AS MATERIALIZED (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[]),
      CAST(:answers AS text[])) m (id, claim, answer)),
    ours AS MATERIALIZED (
      SELECT t.id, m.answer FROM email t JOIN m ON m.id = t.id AND m.claim = t.claim
      WHERE t.leased_until IS NOT NULL ORDER BY t.id FOR NO KEY UPDATE OF t)
    UPDATE email t SET state = '{EmailState.SENT}', result = json_build_object('answer', ours.answer),
      due_at = NULL, leased_until = NULL, finished_at = now()
    FROM ours WHERE t.id = ours.id
    RETURNING t.id, {ACCEPTANCE_IS_OLD} AS acceptance_is_old""")

# Of these mails, finds those that exactly these claims recorded as sent before.
FIND_RECORDED = text(f"""
    SELECT t.id FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)
    JOIN email t ON t.id = m.id AND t.claim = m.claim WHERE t.state = '{EmailState.SENT}'""")


class OutcomeGivenUpError(MatriculeError):
    """Outcomes are not recorded, because this process has to stop and the database stays away.

    These mails were sent and will be sent once more. So no further mail may leave on their connections.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"the database was away for too long: {' '.join(names)}")


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt that has ended: with the relay's last words, or with a fault and the verdict on it.

    Parameters:
      ended_at: when it ended, on the monotonic clock of this process.
    """

    mail: ClaimedMail
    answer: str = ""
    fault: AttemptFault | None = None
    verdict: DeliveryVerdict | None = None
    ended_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def row(self) -> ClaimedRow[MailColumns]:
        return self.mail.row


class RecordedMail(NamedTuple):
    """A mail that was recorded as sent; `acceptance_is_old` asks for an entry in the register of relays."""

    id: UUID
    acceptance_is_old: bool


def record_sent(session: Session, attempts: Sequence[DeliveryAttempt], relay: str) -> list[RecordedMail]:
    """Records accepted mails, in one statement; mails that are no longer ours are not in the answer."""
    given = {
        "ids": array(attempt.row.id for attempt in attempts),
        "claims": array(attempt.row.claim for attempt in attempts),
        "answers": [attempt.answer[:LONGEST_ANSWER] for attempt in attempts],
        "name": relay,
    }
    return fetch(session, RecordedMail, RECORD_SENT, given)


def find_recorded(session: Session, attempts: Sequence[DeliveryAttempt]) -> set[UUID]:
    """Returns the mails that an earlier try recorded as sent; only the database's answer to it was lost."""
    given = {
        "ids": array(attempt.row.id for attempt in attempts),
        "claims": array(attempt.row.claim for attempt in attempts),
    }
    return set(fetch_values(session, UUID, FIND_RECORDED, given))


Recorded = asyncio.Future[None]
"""Is done once an outcome is committed; raises the error of an outcome that cannot be recorded."""


class OutcomeRecorder:
    """The recorder of a process. It lives on the event loop, and commits in a thread of its own.

    It has no state that a failed commit could leave broken, and its task ends whenever nothing waits: the next outcome
    starts another. So an outcome is never handed to a recorder that is dead.

    Parameters:
      commit: commits the outcomes of attempts together, and waits for the database; called in the thread.
    """

    def __init__(self, commit: Callable[[Sequence[DeliveryAttempt]], None]) -> None:
        self._commit = commit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outcomes")
        self._waiting: list[tuple[DeliveryAttempt, Recorded]] = []
        self._task: asyncio.Task[None] | None = None
        self._connections = 0
        self._all_wait: asyncio.Future[None] | None = None

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Counts a connection that sends mails in the block: the recorder waits for its outcome too."""
        self._connections += 1
        try:
            yield
        finally:
            self._connections -= 1
            self._look()

    def record(self, attempt: DeliveryAttempt) -> Recorded:
        """Takes an outcome to record, at once; the answer is done when it is committed."""
        recorded: Recorded = asyncio.get_running_loop().create_future()
        self._waiting.append((attempt, recorded))
        if self._task is None:
            self._task = asyncio.create_task(self._record_waiting())
        self._look()
        return recorded

    def _look(self) -> None:
        """Ends the wait for others once each connection waits for its outcome."""
        if self._all_wait and not self._all_wait.done() and len(self._waiting) >= self._connections:
            self._all_wait.set_result(None)

    async def _record_waiting(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                together, self._waiting = self._waiting, []
                await self._record(together)
        finally:
            self._task = None
            _fail([recorded for _, recorded in self._waiting], asyncio.CancelledError())  # none when it ends by itself
            self._waiting = []

    async def _gather(self) -> None:
        """Waits for the outcomes of the other connections, but not for long."""
        if len(self._waiting) >= self._connections:
            return
        loop = asyncio.get_running_loop()
        self._all_wait = loop.create_future()
        timer = loop.call_later(GATHER_SECONDS, _end, self._all_wait)
        try:
            await self._all_wait
        finally:
            timer.cancel()

    async def _record(self, together: Sequence[tuple[DeliveryAttempt, Recorded]]) -> None:
        attempts = [attempt for attempt, _ in together]
        try:
            bugs = await asyncio.get_running_loop().run_in_executor(self._thread, self._commit_each, attempts)
        except BaseException as stopped:
            _fail([recorded for _, recorded in together], stopped)
            if not isinstance(stopped, Exception):  # the event loop ends
                raise
            return
        for (_, recorded), bug in zip(together, bugs, strict=True):
            if bug is None:
                _end(recorded)
            else:
                _fail([recorded], bug)

    def _commit_each(self, attempts: Sequence[DeliveryAttempt]) -> list[Exception | None]:
        """Commits outcomes; one that cannot be recorded does not take the others along.

        Returns: for each attempt the error because of which it is not recorded, or None.
        """
        try:
            self._commit(attempts)
        except OutcomeGivenUpError as gone:  # one by one, each would wait for the database again
            return [gone] * len(attempts)
        except Exception as bug:  # noqa: BLE001 - it is raised to those who wait for this outcome
            if len(attempts) == 1:
                return [bug]
            return [error for attempt in attempts for error in self._commit_each([attempt])]
        return [None] * len(attempts)


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(futures: Sequence[Recorded], error: BaseException) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
