"""The tests of one SMTP connection use these: a relay that answers, drops or hangs at any step, and a mail for it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from models.delivery import AttemptFault
from tests.kit.relay.relay import DROP, HANG
from workers.mail.faults import DeliveryFault
from workers.mail.relay import Relay, RelaySecurity
from workers.mail.transport import SmtpConnection, SmtpTimeouts

CUT = "\0"
"""This place in a scripted answer ends a packet."""

LONGEST_BODY = 64_000_000

MESSAGE = b"Subject: test\r\n\r\n.one\r\n..two\r\nend\r\n"
PERSON = "anne@client.example"


@dataclass
class ScriptedRelay:
    """An SMTP server that gives each scripted answer once, then the usual answers.

    Parameters:
      keeps: the answers to these steps leave together with the next one, as with relays that write when they have
        nothing more to read.
      tls: the server's side of TLS, used from the first byte or after STARTTLS as `security` says.
      in_tls: the extensions offered once TLS stands; `extensions` if None.
      with_more: the commands that came with others behind them.
    """

    script: dict[str, list[str]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("8BITMIME",)
    keeps: frozenset[str] = frozenset()
    tls: ssl.SSLContext | None = None
    security: RelaySecurity = RelaySecurity.OFF
    in_tls: tuple[str, ...] | None = None
    commands: list[str] = field(default_factory=list)
    with_more: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    sessions: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # set when a hang begins
    released: asyncio.Event = field(default_factory=asyncio.Event)  # ends a hang; then the usual answer follows
    port: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["ScriptedRelay"]:
        implicit = self.tls if self.security is RelaySecurity.IMPLICIT else None
        server = await asyncio.start_server(self._session, "127.0.0.1", 0, ssl=implicit, limit=LONGEST_BODY)
        self.port = server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: dict[asyncio.StreamWriter, str] = {}
        try:
            yield self
        finally:
            self.released.set()
            server.close()
            await server.wait_closed()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._answer("GREETING", "220 relay.test", writer):
            return
        while line := await reader.readline():
            command = line.decode().rstrip()
            self.commands.append(command)
            if reader._buffer:  # type: ignore[attr-defined]
                self.with_more.append(command)
            verb = command.split(" ", 1)[0].upper()
            usual = {"DATA": "354 go on", "QUIT": "221 bye", "AUTH": "235 welcome", "STARTTLS": "220 go on"}
            usual["EHLO"] = self._hello(within=writer.get_extra_info("sslcontext") is not None)
            answer = await self._answer(verb, usual.get(verb, "250 2.0.0 ok"), writer)
            if not answer:
                return
            if verb == "STARTTLS" and self.tls:
                await writer.start_tls(self.tls)
            if verb == "DATA" and answer.startswith("354"):
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                judged = answer.split(CUT)[-1].startswith("5")  # before it was read
                if not judged and not await self._answer("BODY", "250 2.0.0 queued as X1", writer):
                    return

    async def _answer(self, step: str, usual: str, writer: asyncio.StreamWriter) -> str:
        """Gives the answer and returns it; an empty one when the connection ends."""
        planned = self.script.get(step)
        answer = planned.pop(0) if planned else usual
        if answer == HANG:
            self.reached.set()
            await self.released.wait()
            answer = usual
        if answer == DROP:
            return ""
        text = self._kept.pop(writer, "") + answer + "\r\n"
        if step in self.keeps:
            self._kept[writer] = text
            return answer
        for packet in text.split(CUT):
            writer.write(packet.encode())
            await writer.drain()
            for _ in range(5):  # the client, on the same loop, reads meanwhile
                await asyncio.sleep(0)
        return "" if answer.startswith(("421", "221", "554 greeting")) else answer

    def _hello(self, *, within: bool) -> str:
        offered = self.in_tls if within and self.in_tls is not None else self.extensions
        starttls = ["STARTTLS"] if self.security is RelaySecurity.STARTTLS and not within else []
        lines = ["relay.test", *starttls, *offered]
        return "\r\n".join(f"250{'-' if line != lines[-1] else ' '}{line}" for line in lines)


def connection_to(
    relay: ScriptedRelay,
    *,
    security: RelaySecurity | None = None,
    trusted: ssl.SSLContext | None = None,
    **timeouts: float,
) -> SmtpConnection:
    """Returns a closed connection of a worker to this relay, with a login if the relay offers it.

    Parameters:
      security: that of the relay, if None.
      trusted: the client's side of TLS.
      timeouts: seconds by step.
    """
    login = ("user", "secret") if "AUTH PLAIN" in relay.extensions else ()
    return SmtpConnection(
        Relay("localhost" if trusted else "127.0.0.1", relay.port, security or relay.security, *login),
        local_hostname="worker.test",
        timeouts=SmtpTimeouts(**timeouts),
        tls_context=trusted,
    )


async def send(
    connection: SmtpConnection,
    before_data: Callable[[], Awaitable[None]] | None = None,
    *,
    message: bytes = MESSAGE,
) -> str:
    """Delivers the mail; returns the relay's answer to its body."""
    return await connection.deliver(
        envelope_from="bounce@app.example",
        to_address=PERSON,
        message=message,
        before_data=before_data,
    )


async def faulty(connection: SmtpConnection, message: bytes = MESSAGE) -> AttemptFault:
    """Returns the fault in which a delivery ends."""
    with pytest.raises(DeliveryFault) as caught:
        await send(connection, message=message)
    return caught.value.fault
