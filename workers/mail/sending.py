"""Sending a batch of rendered mails over the connections of this process, on its event loop.

Before each DATA the outcome of the connection's previous mail is committed and the lease of the next is checked: when a
process is killed, at most one mail per open connection is sent a second time, under the same Message-ID.
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
from workers.engine.ledger import ClaimedRow
from workers.mail.claimed import ClaimedMail
from workers.mail.outcomes import DeliveryFault
from workers.mail.transport import SmtpConnection, SmtpConnections

SAFE_PART: Final = 0.9
"""Part of a lease this process counts on: the rest is for what lies between the last look at the clock and DATA."""

GATHER_SECONDS: Final = 0.002
"""How long an outcome waits for those of the other connections: a commit costs the same for one as for all of them."""


@dataclass(slots=True)
class PreparedMail:
    """A mail as the relay gets it; `good_until` is the end of its lease on this process's monotonic clock."""

    mail: ClaimedMail
    message: bytes
    good_until: float

    @property
    def row(self) -> ClaimedRow:
        return self.mail.row


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """How one attempt ended: the relay's last words, or the fault and what it means."""

    mail: ClaimedMail
    answer: str = ""
    fault: AttemptFault | None = None
    verdict: DeliveryVerdict | None = None

    @property
    def row(self) -> ClaimedRow:
        return self.mail.row


class _NoLongerOursError(Exception):
    """The lease ran out before DATA: somebody else sends this mail."""


class MailBatch:
    """One batch on its way.

    Parameters:
      connections: the pool of this process.
      envelope_from: the address bounces go to.
      mails: what to send; what was not begun is left in `waiting` at the end.
      record: commits how attempts ended, together; called in a thread.
      renew: moves the leases of these rows and returns those still ours, None when it could not; called in a thread.
      ready: whether the relay may be asked, as every batch of this process knows it.
      heard: told how each attempt ended, at once: when the relay fails, no connection of any batch tries it next.
      lease: seconds a lease lasts.
    """

    def __init__(
        self,
        connections: SmtpConnections,
        *,
        envelope_from: str,
        mails: Sequence[PreparedMail],
        record: Callable[[Sequence[DeliveryAttempt]], None],
        renew: Callable[[Sequence[ClaimedRow]], set[UUID] | None],
        ready: Callable[[], bool],
        heard: Callable[[DeliveryAttempt], None],
        lease: float,
    ) -> None:
        self.connections = connections
        self.envelope_from = envelope_from
        self.waiting = deque(mails)
        self.record = record
        self.renew = renew
        self.ready = ready
        self.heard = heard
        self.lease = lease
        self._held = {mail.row.id: mail for mail in mails}
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
                while self.waiting and not STOPPING.is_set() and self.ready():
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
            if time.monotonic() >= mail.good_until:
                raise _NoLongerOursError

        try:
            answer = await connection.deliver(
                envelope_from=self.envelope_from,
                to_address=mail.mail.to_address,
                message=mail.message,
                before_data=before_data,
            )
            delivered: DeliveryAttempt | None = self._ended(DeliveryAttempt(mail.mail, answer))
        except DeliveryFault as failed:
            delivered = self._ended(DeliveryAttempt(mail.mail, fault=failed.fault, verdict=judge_fault(failed.fault)))
        except _NoLongerOursError:
            delivered = None
            self._held.pop(mail.row.id, None)
        finally:
            for earlier in unrecorded:
                await self._record(earlier)
        return delivered

    def _ended(self, delivered: DeliveryAttempt) -> DeliveryAttempt:
        self.heard(delivered)
        return delivered

    async def _record(self, delivered: DeliveryAttempt | None) -> None:
        """Returns once the outcome is committed; those that wait for one commit share the next."""
        if delivered is None:
            return
        self._unrecorded.append(delivered)
        async with self._recording:
            if 0 < len(self._unrecorded) < self._senders:
                await asyncio.sleep(GATHER_SECONDS)
            together, self._unrecorded = self._unrecorded, []
            if together:
                await asyncio.to_thread(self.record, together)
        for one in together:
            self._held.pop(one.row.id, None)

    async def _keep_leases(self) -> None:
        """A relay may take minutes to answer the body; the leases must not run out meanwhile.

        While they cannot be renewed they last as long as they did: a lost connection to the database takes none away.
        """
        while True:
            await asyncio.sleep(self.lease / 3)
            asked = time.monotonic()
            ours = await asyncio.to_thread(self.renew, [mail.row for mail in self._held.values()])
            if ours is None:
                continue
            for row_id, mail in self._held.items():
                mail.good_until = asked + self.lease * SAFE_PART if row_id in ours else 0.0
