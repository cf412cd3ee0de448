"""A receiver of webhooks that answers as its script says: the only double in the tests of the sender."""

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

HANG: Final = b"hang"
"""An answer that never comes."""
DROP: Final = b"drop"
"""The connection is closed without an answer."""


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Returns the bytes of an answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Received:
    """One request: its path, its headers by their names in small letters, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Script = Callable[[Received], bytes | Iterable[bytes]]
"""Returns the answer to a request; parts of it are sent one by one, each after the drip pause."""


@dataclass
class Receiver:
    """A server on 127.0.0.1, with an event loop in a thread; use it as a context manager.

    Parameters:
      script: answers each request.
      tls: the server's side of TLS; without it the URL is one of http.
      gate: when set, no answer is sent before it opens; `waiting` counts the requests that wait.
      drip: seconds before each part of an answer.
    """

    script: Script = lambda _: answer(204)
    port: int = 0
    drip: float = 0.0
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    waiting: int = 0
    most_waiting: int = 0
    gate: threading.Event | None = None
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        if self.tls is not None:
            return f"https://localhost:{self.port}/hook"
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The webhook-id of each request, in the order they came."""
        return [one.id for one in self.received]

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listens, on the same port as before."""
        self._do(self._start())

    def stop(self) -> None:
        """Closes all connections and listens no longer."""
        self._do(self._stop())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(timeout=30)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._talk(reader, writer):
                    pass
        finally:
            self._talks.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(_header(line) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Received(head[0].split(" ")[1], headers, body)
        self.received.append(request)
        await self._pass_gate()
        given = self.script(request)
        if given == DROP:
            return False
        if given == HANG:
            await asyncio.sleep(3_600)
        for part in [given] if isinstance(given, bytes) else given:
            await asyncio.sleep(self.drip)
            writer.write(part)
            await writer.drain()
        return True

    async def _pass_gate(self) -> None:
        if self.gate is None:
            return
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await asyncio.to_thread(self.gate.wait)
        self.waiting -= 1


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def in_turn(*answers: bytes, then: bytes = b"") -> Script:
    """Answers these, each once, and then 204 or another answer."""
    left = deque(answers)
    return lambda _: left.popleft() if left else then or answer(204)
