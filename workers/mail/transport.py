"""Speaks SMTP, here and nowhere else: keeps connections to the relay open and sends one mail at a time over each.

aiosmtplib has no pool, no pipelining, and three traps that this module avoids: after a cancelled transaction its client
is "connected" in the middle of it, after a 421 to the body too, and the next mail would read an answer that comes late.
So the connection is dropped after every end that is not clean.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aiosmtplib import SMTP, SMTPException

from models.delivery import BEFORE_MAIL, AttemptFault, FaultKind, SmtpPhase
from workers.mail.faults import DeliveryFault, fault_from, fault_of_reply, masked
from workers.mail.relay import Relay, RelaySecurity
from workers.mail.values import SENDABLE_ADDRESS

IDLE_SECONDS = 20.0  # after a longer silence NOOP checks the connection: relays drop idle clients without a word
MAILS_PER_CONNECTION = 100
CONNECTION_SECONDS = 600.0
_T = TypeVar("_T")
_LEADING_DOT = re.compile(rb"(?m)^\.")


@dataclass(frozen=True, slots=True)
class SmtpTimeouts:
    """The seconds that each step may take. They are long after the body: else slow relays would get mails twice."""

    command: float = 60.0
    body: float = 300.0
    noop: float = 10.0


def hello_name(otherwise: str) -> str:
    """Returns the name for EHLO: this host's if it is a full one, else the given one. DNS is not asked: it may hang."""
    name = socket.gethostname()
    return name if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name) else otherwise


class SmtpConnection:
    """One connection of the pool: it opens when needed, is renewed in time, and delivers one mail after the other."""

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
        """The step in progress, or None between mails.

        After a cancellation, ``SmtpPhase.BODY`` means "may have arrived".
        """

    @property
    def is_open(self) -> bool:
        """Tells whether the connection is open, as far as this side knows."""
        return self._client is not None and self._client.is_connected

    @property
    def was_used_lately(self) -> bool:
        """Tells whether the connection is open and the relay answered on it a moment ago."""
        return self.is_open and time.monotonic() - self._used_at < IDLE_SECONDS

    async def deliver(
        self,
        *,
        envelope_from: str,
        to_address: str,
        message: bytes,
        before_data: Callable[[], Awaitable[None]] | None = None,
    ) -> str:
        """Hands one message for one recipient to the relay; returns its last answer (often a queue id).

        Parameters:
          message: CRLF lines, not dot-stuffed.
          before_data: awaited once the recipient is accepted, just before DATA: the last moment to make sure that the
            mail is still ours to send. If it raises, the mail is not sent and the error is raised here.

        Raises:
          DeliveryFault: with the fault to judge.
        """
        if not message.endswith(b"\r\n"):
            raise ValueError("a message ends with CRLF: the relay would wait for its end for ever")
        if not SENDABLE_ADDRESS.fullmatch(to_address):
            # The client would not refuse all of these: it cuts "a@b.fr>\r\n…" down to another address.
            raise DeliveryFault(AttemptFault(SmtpPhase.RCPT, trouble=FaultKind.INVALID))
        try:
            await _result_of(self, self._envelope(envelope_from, to_address))
            if before_data is not None:
                await before_data()
            answer = await _result_of(self, self._content(message))
        except DeliveryFault as failed:
            await self._recover(failed.fault)
            raise
        except BaseException:
            # Cancelled, or not ours any more: the next mail would read the answer to the command in progress.
            self.close()
            raise
        self.phase = None
        self._mails += 1
        self._used_at = time.monotonic()
        return answer

    def close(self) -> None:
        """Drops the connection at once, without a QUIT; bytes that were not written yet are discarded."""
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
        """Sends DATA and the body; ``SMTP.data()`` would hide whether a loss came before the body or after it."""
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
        """Returns a client that the relay answers: the open one, or a new one."""
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
            start_tls=False,  # done below, so that the step in progress is known
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
        """Resets the connection after a plain refusal, and closes it after any other fault."""
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


async def _result_of(connection: SmtpConnection, exchange: Awaitable[_T]) -> _T:
    """Returns the result of an exchange with the relay.

    Raises: DeliveryFault. The exception of the client is not chained, because it holds the recipient's address.
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
