"""The tests of one SMTP connection use these: a relay that answers, drops or hangs at any step, and a mail for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from models.delivery import AttemptFault
from tests.kit.relay.relay import DROP, HANG
from workers.mail.faults import DeliveryFault
from workers.mail.relay import Relay, RelaySecurity
from workers.mail.transport import SmtpConnection, SmtpTimeouts

MESSAGE = b"Subject: test\r\n\r\n.one\r\n..two\r\nend\r\n"
PERSON = "anne@client.example"


@dataclass
class ScriptedRelay:
    """An SMTP server that gives each scripted answer once, then the usual answers."""

    script: dict[str, list[str]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("8BITMIME",)
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    sessions: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # set when a hang begins
    released: asyncio.Event = field(default_factory=asyncio.Event)  # ends a hang; then the usual answer follows
    port: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["ScriptedRelay"]:
        server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
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
            verb = command.split(" ", 1)[0].upper()
            usual = {"DATA": "354 go on", "QUIT": "221 bye", "EHLO": self._hello()}.get(verb, "250 2.0.0 ok")
            if not await self._answer(verb, usual, writer):
                return
            if verb == "DATA" and self._last.startswith("354"):
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                if not await self._answer("BODY", "250 2.0.0 queued as X1", writer):
                    return

    async def _answer(self, step: str, usual: str, writer: asyncio.StreamWriter) -> bool:
        planned = self.script.get(step)
        self._last = planned.pop(0) if planned else usual
        if self._last == DROP:
            return False
        if self._last == HANG:
            self.reached.set()
            await self.released.wait()
            self._last = usual
        writer.write(self._last.encode() + b"\r\n")
        await writer.drain()
        return not self._last.startswith(("421", "221", "554 greeting"))

    def _hello(self) -> str:
        lines = ["relay.test", *self.extensions]
        return "\r\n".join(f"250{'-' if line != lines[-1] else ' '}{line}" for line in lines)


def connection_to(
    relay: ScriptedRelay, *, security: RelaySecurity = RelaySecurity.OFF, **timeouts: float
) -> SmtpConnection:
    """Returns a closed connection of a worker to this relay, with a login if the relay offers it. Timeouts are in
    seconds.
    """
    return SmtpConnection(
        Relay("127.0.0.1", relay.port, security, *(("user", "secret") if "AUTH PLAIN" in relay.extensions else ())),
        local_hostname="worker.test",
        timeouts=SmtpTimeouts(**timeouts),
        tls_context=None,
    )


async def send(connection: SmtpConnection, before_data: Callable[[], Awaitable[None]] | None = None) -> str:
    """Delivers the mail; returns the relay's answer to its body."""
    return await connection.deliver(
        envelope_from="bounce@app.example", to_address=PERSON, message=MESSAGE, before_data=before_data
    )


async def faulty(connection: SmtpConnection) -> AttemptFault:
    """Returns the fault in which a delivery ends."""
    with pytest.raises(DeliveryFault) as caught:
        await send(connection)
    return caught.value.fault
