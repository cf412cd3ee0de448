"""Speaks SMTP, here and nowhere else: keeps connections to the relay open and sends one mail at a time over each.

aiosmtplib opens a connection (greeting, TLS, EHLO, login), then `workers.mail.pipeline` takes it over: MAIL and RCPT
leave in one write where the relay offers PIPELINING. After any end that is not clean the connection is dropped, because
the next mail would read an answer that comes late.
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
from workers.mail.pipeline import CLOSING, SmtpPipeline, framed
from workers.mail.relay import Relay, RelaySecurity
from workers.mail.values import SENDABLE_ADDRESS

IDLE_SECONDS = 20.0  # after a longer silence NOOP checks the connection: relays drop idle clients without a word
MAILS_PER_CONNECTION = 100
CONNECTION_SECONDS = 600.0
ACCEPTED, RECIPIENT_ACCEPTED, GO_AHEAD, OUT_OF_SEQUENCE = 250, frozenset({250, 251}), 354, 503
HEADERS_ALONE = b" RET=HDRS\r\n"
"""Asks that a report about a mail brings its headers back and not its text, which has a link (RFC 3461, 4.3)."""
_UP_TO_DATA = frozenset({SmtpPhase.MAIL, SmtpPhase.RCPT, SmtpPhase.DATA})
_T = TypeVar("_T")


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
        self._client: SMTP | None = None  # while it opens the connection
        self._pipeline: SmtpPipeline | None = None
        self._one_by_one = False  # for the next connection
        self._opened_at = self._used_at = 0.0
        self._mails = 0
        self.phase: SmtpPhase | None = None
        """The step in progress, or None between mails.

        After a cancellation, ``SmtpPhase.BODY`` means "may have arrived".
        """

    @property
    def is_open(self) -> bool:
        """Tells whether the connection is open, as far as this side knows."""
        return self._pipeline is not None and self._pipeline.is_open

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
        if not SENDABLE_ADDRESS.fullmatch(envelope_from):
            raise ValueError("the sender's address cannot be written in a command")
        if not SENDABLE_ADDRESS.fullmatch(to_address):
            raise DeliveryFault(AttemptFault(SmtpPhase.RCPT, trouble=FaultKind.INVALID))
        mail, rcpt = f"MAIL FROM:<{envelope_from}>\r\n".encode(), f"RCPT TO:<{to_address}>\r\n".encode()
        try:
            pipeline = await _result_of(self, self._begin(mail, rcpt))
            await _result_of(self, self._accepted(pipeline, rcpt))
            if before_data is not None:
                await before_data()
            answer = await _result_of(self, self._content(pipeline, framed(message)))
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
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()
        if client is not None:
            if isinstance(client.transport, asyncio.WriteTransport):
                client.transport.abort()
            client.close()

    async def _begin(self, mail: bytes, rcpt: bytes) -> SmtpPipeline:
        """Sends MAIL, and RCPT with it where that is offered; does not wait for the replies.

        Once RCPT is on its way, silence and a lost connection may be the recipient's doing: relays send both replies
        together, when they have looked the recipient up. So the step is RCPT then, unless the reply to MAIL refuses it.
        """
        pipeline = await self._ready()
        if pipeline.offers_dsn:
            mail = mail.removesuffix(b"\r\n") + HEADERS_ALONE
        self.phase = SmtpPhase.MAIL
        if pipeline.pipelining:
            pipeline.write(mail + rcpt, replies=2)
            self.phase = SmtpPhase.RCPT
        else:
            pipeline.write(mail)
        return pipeline

    async def _accepted(self, pipeline: SmtpPipeline, rcpt: bytes) -> None:
        """Returns once sender and recipient are accepted."""
        seconds = self._timeouts.command
        # Replies that the relay keeps to send them together may come after the time of two commands.
        answer = await pipeline.reply(seconds * 2 if pipeline.pipelining else seconds)
        if answer.code != ACCEPTED:
            raise DeliveryFault(fault_of_reply(answer.code, answer.message, SmtpPhase.MAIL))
        if not pipeline.pipelining:
            self.phase = SmtpPhase.RCPT
            pipeline.write(rcpt)
        answer = await pipeline.reply(seconds)
        if answer.code not in RECIPIENT_ACCEPTED:
            raise DeliveryFault(fault_of_reply(answer.code, answer.message, SmtpPhase.RCPT))

    async def _content(self, pipeline: SmtpPipeline, body: bytes) -> str:
        """Sends DATA and the body, and returns the words with which the relay takes the mail.

        The step BODY begins once bytes of the body were written: from then on the mail may have arrived.
        """
        self.phase = SmtpPhase.DATA
        answer = await pipeline.ask(b"DATA\r\n", self._timeouts.command)
        if answer.code != GO_AHEAD:
            raise DeliveryFault(fault_of_reply(answer.code, answer.message, SmtpPhase.DATA))
        pipeline.write(body)
        self.phase = SmtpPhase.BODY
        answer = await pipeline.reply(self._timeouts.body)
        if answer.code != ACCEPTED:
            raise DeliveryFault(fault_of_reply(answer.code, answer.message, SmtpPhase.BODY))
        return masked(answer.message)

    async def _ready(self) -> SmtpPipeline:
        """Returns a connection that the relay answers: the open one, or a new one."""
        self.phase = SmtpPhase.CONNECT
        if self._pipeline is not None and self._pipeline.is_open and await self._stays(self._pipeline):
            return self._pipeline
        self.close()
        return await self._open()

    async def _stays(self, pipeline: SmtpPipeline) -> bool:
        now = time.monotonic()
        try:
            if self._mails >= MAILS_PER_CONNECTION or now - self._opened_at >= CONNECTION_SECONDS:
                await pipeline.ask(b"QUIT\r\n", self._timeouts.noop)
                return False
            if now - self._used_at >= IDLE_SECONDS:
                return (await pipeline.ask(b"NOOP\r\n", self._timeouts.noop)).code == ACCEPTED
        except (SMTPException, OSError):
            return False
        return True

    async def _open(self) -> SmtpPipeline:
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
        pipeline = self._pipeline = SmtpPipeline.take_over(client, one_by_one=self._one_by_one)
        self._client, self._one_by_one = None, False
        self._opened_at = self._used_at = time.monotonic()
        self._mails = 0
        return pipeline

    async def _recover(self, fault: AttemptFault) -> None:
        """Resets the connection after a plain refusal, and closes it after any other fault."""
        pipeline = self._pipeline
        if pipeline is None or fault.phase in BEFORE_MAIL or not _is_plain_refusal(fault):
            if pipeline is not None and pipeline.pipelining and fault.phase in _UP_TO_DATA:
                self._one_by_one = True  # a relay that offers PIPELINING and cannot do it gets mails nevertheless
            self.close()
            return
        try:
            if not await self._reset(pipeline):
                self.close()
            self._used_at = time.monotonic()
        except (SMTPException, OSError):
            self.close()
        except BaseException:
            self.close()
            raise

    async def _reset(self, pipeline: SmtpPipeline) -> bool:
        """Ends the transaction; tells whether the connection is fit for the next one."""
        if pipeline.may_have_unsent:  # refused before it was read: the rest of the body would be read as commands
            return False
        answer = await pipeline.ask(b"RSET\r\n", self._timeouts.noop)
        while pipeline.awaits_reply:  # the first was to a RCPT that left with a refused MAIL
            answer = await pipeline.reply(self._timeouts.noop)
        return answer.code == ACCEPTED


def _is_plain_refusal(fault: AttemptFault) -> bool:
    """Tells whether the relay refused this mail in words after which the next one may follow on the connection."""
    if fault.trouble is not FaultKind.REPLY or fault.code is None:
        return False
    return fault.code >= 400 and fault.code not in {CLOSING, OUT_OF_SEQUENCE}


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
