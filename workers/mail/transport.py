"""The only SMTP: kept-open connections to the relay, and one mail over one of them.

aiosmtplib has no pool, no pipelining, and three traps this module closes: a cancelled transaction leaves its client
"connected" in the middle of it, a 421 after the body too, and a server that answers late would be heard by the next
mail. So whatever is not a clean end drops the connection.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from aiosmtplib import SMTP, SMTPException

from models.delivery import BEFORE_MAIL, AttemptFault, FaultKind, SmtpPhase
from workers.mail.faults import DeliveryFault, fault_from, fault_of_reply, masked
from workers.mail.relay import Relay, RelaySecurity, parse_smtp_url
from workers.mail.values import SENDABLE_ADDRESS
from workers.settings import Settings

IDLE_SECONDS = 20.0  # an older silence is checked with NOOP: relays drop idle clients without a word
MAILS_PER_CONNECTION = 100
CONNECTION_SECONDS = 600.0
_T = TypeVar("_T")
_LEADING_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True)
class SmtpTimeouts:
    """Seconds each step may take. A short one after the body would turn slow relays into doubled mails."""

    command: float = 60.0
    body: float = 300.0
    noop: float = 10.0


def hello_name(otherwise: str) -> str:
    """The name said in EHLO: this host's if it is a full one (without asking DNS, which may hang), else the given."""
    name = socket.gethostname()
    return name if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name) else otherwise


class SmtpConnection:
    """One place in the pool: opens its client when needed, renews it in time, delivers one mail after the other."""

    def __init__(
        self, relay: Relay, *, local_hostname: str, timeouts: SmtpTimeouts, tls_context: ssl.SSLContext | None
    ) -> None:
        self._relay = relay
        self._local_hostname = local_hostname
        self._timeouts = timeouts
        self._tls_context = tls_context
        self._client: SMTP | None = None
        self._opened_at = self._used_at = 0.0
        self._mails = 0
        self.phase: SmtpPhase | None = None
        """The step under way, or None between mails.

        After a cancellation, ``SmtpPhase.BODY`` means "may have arrived".
        """

    @property
    def is_open(self) -> bool:
        """Whether the next mail finds the connection standing, as far as this side knows."""
        return self._client is not None and self._client.is_connected

    async def deliver(
        self,
        *,
        envelope_from: str,
        to_address: str,
        message: bytes,
        before_data: Callable[[], Awaitable[None]] | None = None,
    ) -> str:
        """Hand one message for one recipient to the relay; returns its last words (often a queue id).

        Parameters:
          message: CRLF lines, not dot-stuffed.
          before_data: awaited once the recipient is accepted, just before DATA: the last moment to make sure that the
            mail is still ours to send. What it raises is raised here, and the mail was not sent.

        Raises:
          DeliveryFault: with the fault to judge.
        """
        if not message.endswith(b"\r\n"):
            raise ValueError("a message ends with CRLF: the relay would wait for its end for ever")
        if not SENDABLE_ADDRESS.fullmatch(to_address):
            # The client would not refuse all of them: it cuts "a@b.fr>\r\n…" down to another address.
            raise DeliveryFault(AttemptFault(SmtpPhase.RCPT, trouble=FaultKind.INVALID))
        try:
            await _asked(self, self._envelope(envelope_from, to_address))
            if before_data is not None:
                await before_data()
            answer = await _asked(self, self._content(message))
        except DeliveryFault as failed:
            await self._recover(failed.fault)
            raise
        except BaseException:
            # Cancelled, or not ours any more: the answer to what is under way would be read by the next mail.
            self.close()
            raise
        self.phase = None
        self._mails += 1
        self._used_at = time.monotonic()
        return answer

    def close(self) -> None:
        """Drop the connection at once, without a QUIT; what was not written yet is not written any more."""
        client, self._client = self._client, None
        if client is None:
            return
        if isinstance(client.transport, asyncio.WriteTransport):
            client.transport.abort()
        client.close()

    async def _envelope(self, envelope_from: str, to_address: str) -> None:
        client = await self._ready()
        self.phase = SmtpPhase.MAIL
        await client.mail(envelope_from)
        self.phase = SmtpPhase.RCPT
        await client.rcpt(to_address)

    async def _content(self, message: bytes) -> str:
        """DATA and the body; not ``SMTP.data()``, which does not tell a loss before the body from one after it."""
        self.phase = SmtpPhase.DATA
        if self._client is None:
            raise DeliveryFault(AttemptFault(SmtpPhase.DATA, trouble=FaultKind.LOST))
        answer = await self._client.execute_command(b"DATA")
        protocol = self._client.protocol
        if answer.code != 354 or protocol is None:
            raise DeliveryFault(fault_of_reply(answer.code, answer.message, SmtpPhase.DATA))
        self.phase = SmtpPhase.BODY
        protocol.write(_LEADING_DOT.sub(b"..", message) + b".\r\n")
        answer = await protocol.read_response(timeout=self._timeouts.body)
        if answer.code != 250:
            raise DeliveryFault(fault_of_reply(answer.code, answer.message, SmtpPhase.BODY))
        return masked(answer.message)

    async def _ready(self) -> SMTP:
        """A client the relay answers: the one at hand, or a new one."""
        self.phase = SmtpPhase.CONNECT
        if self._client is not None and self._client.is_connected and await self._stays(self._client):
            return self._client
        self.close()
        return await self._open()

    async def _stays(self, client: SMTP) -> bool:
        now = time.monotonic()
        try:
            if self._mails >= MAILS_PER_CONNECTION or now - self._opened_at >= CONNECTION_SECONDS:
                await client.quit(timeout=self._timeouts.noop)
                return False
            if now - self._used_at >= IDLE_SECONDS:
                await client.noop(timeout=self._timeouts.noop)
        except (SMTPException, OSError):
            return False
        return True

    async def _open(self) -> SMTP:
        relay = self._relay
        client = self._client = SMTP(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.security is RelaySecurity.IMPLICIT,
            start_tls=False,  # not at connect: done below, so that the step is known
            tls_context=self._tls_context,
            local_hostname=self._local_hostname,
            timeout=self._timeouts.command,
        )
        await client.connect()
        self.phase = SmtpPhase.HELLO
        await client.ehlo()
        if relay.security is RelaySecurity.STARTTLS:
            self.phase = SmtpPhase.TLS
            await client.starttls()
            self.phase = SmtpPhase.HELLO
            await client.ehlo()
        if relay.username is not None and relay.password is not None:
            self.phase = SmtpPhase.AUTH
            await client.login(relay.username, relay.password)
        self._opened_at = self._used_at = time.monotonic()
        self._mails = 0
        return client

    async def _recover(self, fault: AttemptFault) -> None:
        """After a plain refusal the connection is reset and stays; after anything else it goes."""
        refused = fault.trouble is FaultKind.REPLY and fault.code is not None and fault.code >= 400
        if not refused or fault.code in {421, 503} or fault.phase in BEFORE_MAIL or self._client is None:
            self.close()
            return
        try:
            await self._client.rset(timeout=self._timeouts.noop)
            self._used_at = time.monotonic()
        except (SMTPException, OSError):
            self.close()
        except BaseException:
            self.close()
            raise


async def _asked(connection: SmtpConnection, exchange: Awaitable[_T]) -> _T:
    """The result of an exchange with the relay, or the DeliveryFault it ended in.

    The client's exception is not chained: it holds the recipient's address.
    """
    try:
        return await exchange
    except DeliveryFault:
        raise
    except Exception as error:
        fault = fault_from(error, connection.phase or SmtpPhase.CONNECT)
        if fault is None:
            raise
        raise DeliveryFault(fault) from None


class SmtpConnections:
    """The connections of one process: as many at once as ``size``, the one used last given out first."""

    def __init__(
        self,
        relay: Relay,
        *,
        size: int,
        local_hostname: str,
        timeouts: SmtpTimeouts = SmtpTimeouts(),
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        if tls_context is None and relay.security is not RelaySecurity.OFF:
            tls_context = ssl.create_default_context()
        self._all = [
            SmtpConnection(relay, local_hostname=local_hostname, timeouts=timeouts, tls_context=tls_context)
            for _ in range(size)
        ]
        self._free: asyncio.LifoQueue[SmtpConnection] = asyncio.LifoQueue()
        for connection in self._all:
            self._free.put_nowait(connection)

    @classmethod
    def from_settings(cls, settings: Settings, *, hello_domain: str) -> "SmtpConnections":
        """The pool SMTP_URL and SMTP_CONNECTIONS ask for; raises NotConfigured.

        Parameters:
          hello_domain: said in EHLO when this host has no full name (``Identity.domain``).
        """
        return cls(
            parse_smtp_url(settings.smtp_url),
            size=settings.smtp_connections,
            local_hostname=hello_name(hello_domain),
        )

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[SmtpConnection]:
        """One connection for the caller alone, waited for when all are in use."""
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)

    def close(self) -> None:
        """Drop every connection, at the end of the process. To be called on the event loop."""
        for connection in self._all:
            connection.close()
