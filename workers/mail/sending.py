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

from models.delivery import AttemptFault, judge_fault
from workers.engine.claimer import STOPPING
from workers.engine.ledger import ClaimedRow, MailColumns
from workers.mail.claimed import ClaimedMail
from workers.mail.faults import DeliveryFault
from workers.mail.pool import SmtpConnections
from workers.mail.recording import DeliveryAttempt, OutcomeRecorder, Recorded
from workers.mail.return_address import ReturnAddresses
from workers.mail.transport import SmtpConnection

SAFE_PART: Final = 0.9
"""The part of a lease that this process relies on; the rest covers the time between the last check and DATA."""


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """A mail as the relay gets it; `good_until` is the end of its lease on the monotonic clock of this process."""

    mail: ClaimedMail
    message: bytes
    good_until: float

    @property
    def row(self) -> ClaimedRow[MailColumns]:
        return self.mail.row


class _NoLongerOursError(Exception):
    """The lease ran out before DATA: another process sends this mail."""


class MailBatch:
    """A batch of mails that is being sent.

    Parameters:
      connections: the pool of this process.
      envelope_from: the address that receives bounces, unless each mail has one of its own.
      mails: the mails to send; those that were not begun are left in `waiting` at the end.
      recorder: commits the outcomes, together with those of the other batches of this process.
      renew: renews the leases of these rows and returns those still ours, None when it could not; called in a thread.
      may_send: tells whether the circuit to the relay is closed or half-open, for every batch of this process.
      ended: called with each attempt as it ends: once the circuit opens, no connection of any batch tries the relay.
      lease: the seconds that a lease lasts.
      returns: the return addresses of mails, if each has one of its own.
    """

    def __init__(
        self,
        connections: SmtpConnections,
        *,
        envelope_from: str,
        mails: Sequence[PreparedMail],
        recorder: OutcomeRecorder,
        renew: Callable[[Sequence[ClaimedRow[MailColumns]]], set[UUID] | None],
        may_send: Callable[[], bool],
        ended: Callable[[DeliveryAttempt], None],
        lease: float,
        returns: ReturnAddresses | None = None,
    ) -> None:
        self.connections = connections
        self.envelope_from = envelope_from
        self.returns = returns
        self.waiting = deque(mails)
        self.recorder = recorder
        self.renew = renew
        self.may_send = may_send
        self.ended = ended
        self.lease = lease
        self._held = {mail.row.id: mail.row for mail in mails}
        self._good_until = {mail.row.id: mail.good_until for mail in mails}

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
        """Sends over one connection; when the relay takes no further one, over the next that is free."""
        while self._may_go_on():
            async with self.connections.lease() as connection:
                with self.recorder.connection():
                    await self._send_over(connection)

    def _may_go_on(self) -> bool:
        return bool(self.waiting) and not STOPPING.is_set() and self.may_send()

    async def _send_over(self, connection: SmtpConnection) -> None:
        earlier: Recorded | None = None
        while self._may_go_on() and self.connections.keeps(connection):
            earlier = await self._deliver(connection, self.waiting.popleft(), earlier)
        await _committed(earlier)

    async def _deliver(
        self, connection: SmtpConnection, mail: PreparedMail, earlier: Recorded | None
    ) -> Recorded | None:
        """Makes one attempt; the outcome of the earlier one is committed before DATA, and in any case before the end.

        Returns: the record of this attempt, which has begun; None when there was none: the mail is no longer ours, or
        has to leave over another connection.

        Raises: the error because of which the earlier outcome cannot be recorded; this mail has then not left.
        """

        async def before_data() -> None:
            await _committed(earlier)
            if time.monotonic() >= self._good_until[mail.row.id]:
                raise _NoLongerOursError

        try:
            answer = await connection.deliver(
                envelope_from=self.returns.of(mail.row.id) if self.returns else self.envelope_from,
                to_address=mail.mail.to_address,
                message=mail.message,
                before_data=before_data,
            )
            recorded: Recorded | None = self._end(DeliveryAttempt(mail.mail, answer))
        except DeliveryFault as failed:
            recorded = self._failed(connection, mail, failed.fault)
        except _NoLongerOursError:
            recorded = None
            self._held.pop(mail.row.id, None)
        finally:
            await _committed(earlier)
        return recorded

    def _failed(self, connection: SmtpConnection, mail: PreparedMail, fault: AttemptFault) -> Recorded | None:
        if self.connections.is_refused(connection, fault):
            self.waiting.appendleft(mail)
            return None
        return self._end(DeliveryAttempt(mail.mail, fault=fault, verdict=judge_fault(fault)))

    def _end(self, attempt: DeliveryAttempt) -> Recorded:
        """Begins to record an attempt that has ended; its lease is kept until that is committed."""
        self.ended(attempt)
        recorded = self.recorder.record(attempt)
        recorded.add_done_callback(lambda _: self._held.pop(attempt.row.id, None))
        return recorded

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


async def _committed(recorded: Recorded | None) -> None:
    """Returns once an outcome is committed.

    Raises: the error because of which it cannot be recorded.
    """
    if recorded is not None:
        await recorded
