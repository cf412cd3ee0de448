"""Sends a batch of rendered mails over the connections of this process, on its event loop.

Before each DATA the outcome of the connection's previous mail is committed and the lease of the next is checked. So a
process that is killed repeats at most one mail per open connection, under the same Message-ID.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models.delivery import AttemptFault, DeliveryVerdict, judge_fault
from workers.engine.claimer import STOPPING
from workers.engine.ledger import ClaimedRow, MailColumns
from workers.mail.claimed import ClaimedMail
from workers.mail.faults import DeliveryFault
from workers.mail.transport import SmtpConnection, SmtpConnections

SAFE_PART: Final = 0.9
"""The part of a lease that this process relies on; the rest covers the time between the last check and DATA."""

GATHER_SECONDS: Final = 0.002
"""Seconds an outcome waits for those of the other connections: a commit costs the same for one as for all of them."""


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """A mail as the relay gets it; `good_until` is the end of its lease on the monotonic clock of this process."""

    mail: ClaimedMail
    message: bytes
    good_until: float

    @property
    def row(self) -> ClaimedRow[MailColumns]:
        return self.mail.row


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt that has ended: with the relay's last words, or with a fault and the verdict on it."""

    mail: ClaimedMail
    answer: str = ""
    fault: AttemptFault | None = None
    verdict: DeliveryVerdict | None = None

    @property
    def row(self) -> ClaimedRow[MailColumns]:
        return self.mail.row


class _NoLongerOursError(Exception):
    """The lease ran out before DATA: another process sends this mail."""


class MailBatch:
    """A batch of mails that is being sent.

    Parameters:
      connections: the pool of this process.
      envelope_from: the address that receives bounces.
      mails: the mails to send; those that were not begun are left in `waiting` at the end.
      record: commits the outcomes of attempts together; called in a thread.
      renew: renews the leases of these rows and returns those still ours, None when it could not; called in a thread.
      may_send: tells whether the circuit to the relay is closed or half-open, for every batch of this process.
      ended: called with each attempt as it ends: once the circuit opens, no connection of any batch tries the relay.
      lease: the seconds that a lease lasts.
    """

    def __init__(
        self,
        connections: SmtpConnections,
        *,
        envelope_from: str,
        mails: Sequence[PreparedMail],
        record: Callable[[Sequence[DeliveryAttempt]], None],
        renew: Callable[[Sequence[ClaimedRow[MailColumns]]], set[UUID] | None],
        may_send: Callable[[], bool],
        ended: Callable[[DeliveryAttempt], None],
        lease: float,
    ) -> None:
        self.connections = connections
        self.envelope_from = envelope_from
        self.waiting = deque(mails)
        self.record = record
        self.renew = renew
        self.may_send = may_send
        self.ended = ended
        self.lease = lease
        self._held = {mail.row.id: mail.row for mail in mails}
        self._good_until = {mail.row.id: mail.good_until for mail in mails}
        self._unrecorded: list[DeliveryAttempt] = []
        self._recording = asyncio.Lock()
        self._senders = 0  # connections at work

    async def run(self, places: int) -> None:
        """Sends over up to `places` connections until nothing waits, the process stops or the relay fails.

        A bug met on one connection is raised when the others are done: they keep their leases until then.
        """
        keeper = asyncio.create_task(self._keep_leases())
        senders = [self._send_over_one() for _ in range(min(places, len(self.waiting)))]
        try:
            ends = await asyncio.gather(*senders, return_exceptions=True)
        finally:
            keeper.cancel()
        for bug in filter(None, ends):
            raise bug

    async def _send_over_one(self) -> None:
        async with self.connections.lease() as connection:
            self._senders += 1
            previous: DeliveryAttempt | None = None
            try:
                while self.waiting and not STOPPING.is_set() and self.may_send():
                    previous = await self._deliver(connection, self.waiting.popleft(), previous)
                await self._record(previous)
            finally:
                self._senders -= 1

    async def _deliver(
        self, connection: SmtpConnection, mail: PreparedMail, previous: DeliveryAttempt | None
    ) -> DeliveryAttempt | None:
        unrecorded = [previous]

        async def before_data() -> None:
            await self._record(unrecorded.pop())
            if time.monotonic() >= self._good_until[mail.row.id]:
                raise _NoLongerOursError

        try:
            answer = await connection.deliver(
                envelope_from=self.envelope_from,
                to_address=mail.mail.to_address,
                message=mail.message,
                before_data=before_data,
            )
            attempt: DeliveryAttempt | None = self._end(DeliveryAttempt(mail.mail, answer))
        except DeliveryFault as failed:
            attempt = self._end(DeliveryAttempt(mail.mail, fault=failed.fault, verdict=judge_fault(failed.fault)))
        except _NoLongerOursError:
            attempt = None
            self._held.pop(mail.row.id, None)
        finally:
            for earlier in unrecorded:
                await self._record(earlier)
        return attempt

    def _end(self, attempt: DeliveryAttempt) -> DeliveryAttempt:
        self.ended(attempt)
        return attempt

    async def _record(self, attempt: DeliveryAttempt | None) -> None:
        """Returns once the outcome is committed; those that wait for one commit share the next."""
        if attempt is None:
            return
        self._unrecorded.append(attempt)
        async with self._recording:
            if 0 < len(self._unrecorded) < self._senders:
                await asyncio.sleep(GATHER_SECONDS)
            together, self._unrecorded = self._unrecorded, []
            if together:
                await asyncio.to_thread(self.record, together)
        for one in together:
            self._held.pop(one.row.id, None)

    async def _keep_leases(self) -> None:
        """Moves the leases while a relay takes minutes to answer the body.

        While they cannot be renewed they last as long as they did: a lost connection to the database takes none away.
        """
        while True:
            await asyncio.sleep(self.lease / 3)
            asked = time.monotonic()
            ours = await asyncio.to_thread(self.renew, list(self._held.values()))
            if ours is None:
                continue
            for row_id in self._held:
                self._good_until[row_id] = asked + self.lease * SAFE_PART if row_id in ours else 0.0
