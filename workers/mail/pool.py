"""The SMTP connections of a process: given out one by one, and fewer of them to a relay that takes no more.

It lives on the event loop. A connection that the relay refuses while it serves others is put aside, and its mail goes
over those; one more is tried later (``models.connection_limit``).
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from models.connection_limit import ConnectionLimit, refuses_connection
from models.delivery import AttemptFault
from workers.logs import get_logger
from workers.mail.relay import Relay, RelaySecurity, parse_smtp_url
from workers.mail.transport import SmtpConnection, SmtpTimeouts, hello_name
from workers.settings import Settings

log = get_logger()


class SmtpConnections:
    """The connections of one process, ``size`` of them at most; the one used last is given out first."""

    def __init__(
        self,
        relay: Relay,
        *,
        size: int,
        local_hostname: str,
        timeouts: SmtpTimeouts | None = None,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        if tls_context is None and relay.security is not RelaySecurity.OFF:
            tls_context = ssl.create_default_context()
        self._all = [
            SmtpConnection(
                relay, local_hostname=local_hostname, timeouts=timeouts or SmtpTimeouts(), tls_context=tls_context
            )
            for _ in range(size)
        ]
        self._free = list(self._all)
        self._aside: list[SmtpConnection] = []
        self._in_use: set[SmtpConnection] = set()
        self._waiters: deque[asyncio.Future[SmtpConnection]] = deque()
        self.limit = ConnectionLimit.of(size)

    @classmethod
    def from_settings(cls, settings: Settings, *, hello_domain: str) -> "SmtpConnections":
        """Makes the pool by SMTP_URL and SMTP_CONNECTIONS.

        Parameters:
          hello_domain: the name for EHLO when this host has no full name (``SenderIdentity.domain``).

        Raises: NotConfigured.
        """
        return cls(
            parse_smtp_url(settings.smtp_url),
            size=settings.smtp_connections,
            local_hostname=hello_name(hello_domain),
        )

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[SmtpConnection]:
        """Gives a connection to the caller alone; waits while all that are allowed are in use."""
        self._try_one_more()
        connection = self._free.pop() if self._free else await self._wait()
        self._in_use.add(connection)
        try:
            yield connection
        finally:
            self._in_use.discard(connection)
            self._give(connection)

    async def _wait(self) -> SmtpConnection:
        waiter: asyncio.Future[SmtpConnection] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._give(waiter.result())
            raise

    def _give(self, connection: SmtpConnection) -> None:
        """Hands a connection to the next that waits, or puts it aside when there are too many."""
        if self._usable > self.limit.allowed:
            connection.close()
            self._aside.append(connection)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._free.append(connection)

    @property
    def _usable(self) -> int:
        return len(self._all) - len(self._aside)

    def keeps(self, connection: SmtpConnection) -> bool:
        """Tells whether a connection in use may send another mail; else its user has to end the lease."""
        return connection.is_open or self._usable <= self.limit.allowed

    def is_refused(self, connection: SmtpConnection, fault: AttemptFault) -> bool:
        """Tells whether the relay refused a connection only because it serves others of this process.

        Then fewer are used from now on, and the mail has to be sent over another. When no other connection works, the
        fault is an ordinary one, and says nothing about the number.
        """
        if not refuses_connection(fault):
            return False
        others = sum(one is not connection and (one in self._in_use or one.was_used_lately) for one in self._all)
        if not others:
            self._allow(ConnectionLimit.of(self.limit.most))
            return False
        connection.close()  # left open it would be given the same mail again, and be refused again
        self._allow(self.limit.refused(others, time.monotonic()))
        log.warning("relay.connection_refused", allowed=self.limit.allowed, code=fault.code, words=fault.text)
        return True

    def _allow(self, limit: ConnectionLimit) -> None:
        """Takes another limit: free connections are put aside, the closed ones first, or come back."""
        self.limit = limit
        for connection in sorted(self._free, key=lambda one: one.is_open):
            if self._usable <= limit.allowed:
                break
            self._free.remove(connection)
            connection.close()
            self._aside.append(connection)
        while self._aside and self._usable < limit.allowed:
            self._give(self._aside.pop())

    def _try_one_more(self) -> None:
        limit = self.limit.tried_again(time.monotonic())
        if limit is not self.limit:
            log.info("relay.connections_tried", allowed=limit.allowed)
            self._allow(limit)

    def close(self) -> None:
        """Drops every connection, at the end of the process. Call it on the event loop."""
        for connection in self._all:
            connection.close()
