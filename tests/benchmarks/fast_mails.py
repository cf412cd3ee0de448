"""The best sender we know to write: MAIL, RCPT and DATA in one write, no regular expression, a commit for many mails.

python -m tests.benchmarks.fast_mails PORT MAILS_FILE SHARE SHARES CONNECTIONS GO_FILE connects, waits for GO_FILE and
sends its share. It keeps Matricule's promise to recipients, at most one mail repeated for each open connection: a mail
is recorded as sent before its connection writes the DATA of the next one. RFC 2920 allows the three commands together.
"""

import asyncio
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.benchmarks.plain_mails import Mail, read_mails, wait_for

GATHER_SECONDS: Final = 0.002
"""The longest time that a sent mail waits for others to share its commit."""

READ_IDS: Final = "SELECT id FROM email ORDER BY id"
RECORD: Final = """
    UPDATE email SET state = 'sent', due_at = NULL, leased_until = NULL, finished_at = now() WHERE id = ANY(%s)"""

Database = psycopg.AsyncConnection[tuple[Any, ...]]


class Relay(asyncio.Protocol):
    """One connection to the relay."""

    def __init__(self) -> None:
        self.received = b""
        self.missing = 1
        self.answered = self.greeted = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        lines = self.received.split(b"\r\n")[:-1]
        if len(lines) < self.missing or sum(line[3:4] == b" " for line in lines) < self.missing:
            return
        self.received = b""
        if all(line[:1] in b"23" for line in lines):
            self.answered.set_result(None)
        else:
            self.answered.set_exception(ConnectionError(repr(lines)))

    def ask(self, content: bytes, answers: int = 1) -> asyncio.Future[None]:
        """Writes commands or a mail; what it returns is done once this many good answers have come."""
        self.missing = answers
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(content)
        return self.answered


class Recorder:
    """Records mails as sent: those that wait at the same time share one statement and its commit.

    Parameters:
      senders: the number of connections; no more mails than these can wait.
    """

    def __init__(self, database: Database, senders: int) -> None:
        self.database = database
        self.senders = senders
        self.waiting: list[tuple[UUID, asyncio.Future[None]]] = []
        self.ready = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None

    def record(self, one: UUID) -> asyncio.Future[None]:
        """Takes a mail; what it returns is done once the mail is committed as sent."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((one, committed))
        if len(self.waiting) >= self.senders:
            self.ready.set()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.ready.set)
        return committed

    async def run(self) -> None:
        """Commits the mails that wait, until it is cancelled."""
        while True:
            await self.ready.wait()
            some, self.waiting = self.waiting, []
            self.ready.clear()
            if self.timer:
                self.timer.cancel()
                self.timer = None
            await self.database.execute(RECORD, [[one for one, _ in some]])
            for _, committed in some:
                committed.set_result(None)


async def send(relays: list[Relay], mails: deque[tuple[UUID, Mail]], database: Database) -> None:
    """Sends the mails over these connections and records each of them."""
    recorder = Recorder(database, len(relays))
    recording = asyncio.create_task(recorder.run())
    await asyncio.gather(*(_send_over(relay, mails, recorder) for relay in relays))
    recording.cancel()


async def _connect(port: int) -> Relay:
    _, relay = await asyncio.get_running_loop().create_connection(Relay, "127.0.0.1", port)
    await relay.greeted
    await relay.ask(b"EHLO bench.example\r\n")
    return relay


async def _send_over(relay: Relay, left: deque[tuple[UUID, Mail]], recorder: Recorder) -> None:
    committed: asyncio.Future[None] | None = None
    while left:
        one, (sender, recipient, content) = left.popleft()
        if committed:
            await committed
        envelope = b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (sender.encode(), recipient.encode())
        await relay.ask(envelope, answers=3)
        await relay.ask(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        committed = recorder.record(one)
    if committed:
        await committed


async def main() -> None:
    port, file, share, shares, connections, go = sys.argv[1:]
    url = os.environ["DATABASE_URL"].replace("postgresql+psycopg", "postgresql")
    async with await Database.connect(url, autocommit=True, prepare_threshold=0) as database:
        ids = [one for (one,) in await (await database.execute(READ_IDS)).fetchall()]
        mails = list(zip(ids, read_mails(Path(file)), strict=True))[int(share) :: int(shares)]
        relays = [await _connect(int(port)) for _ in range(int(connections))]
        await asyncio.to_thread(wait_for, Path(go), Path(f"{go}.{share}"))
        await send(relays, deque(mails), database)


if __name__ == "__main__":
    asyncio.run(main())
