"""A network stream of httpcore2 on asyncio alone: request head and body leave in one write, reads wait on one future.

The usual stream costs half of the time of a request in timeouts and looks at the socket that the total deadline of a
try makes needless, and it sends head and body apart.
"""

import asyncio
import ssl
from typing import Any, Final, Self

import httpcore2

MOST_BUFFERED: Final = 65_536
"""Bytes that are buffered before the receiver must wait: of an answer only the beginning is wanted."""


MOST_OF_ANSWER: Final = 32_768
"""Bytes of an answer that are read: head and the beginning of the body. Interim answers (1xx) may go on for ever."""

MOST_AT_ONCE: Final = 4_096
"""Bytes that are parsed before other connections have their turn."""


class _Incoming(asyncio.Protocol):
    """The bytes that came and were not read yet."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.error: Exception | None = None
        self.transport: asyncio.Transport | None = None
        self._arrived: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > MOST_BUFFERED and self.transport is not None:
            self.transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        self.ended = True
        self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended, self.error = True, error
        self._tell()

    def _tell(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def wait(self) -> None:
        """Waits until there is something to read, or nothing more comes."""
        while not self.data and not self.ended:
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None


class AsyncioStream(httpcore2.AsyncNetworkStream):
    """One connection. Its methods keep no time limit: the total deadline of a try cancels them."""

    def __init__(self, incoming: _Incoming, transport: asyncio.Transport) -> None:
        self._incoming = incoming
        self._transport = transport
        self._unsent = b""
        self._left = MOST_OF_ANSWER

    @classmethod
    async def connect(cls, address: str, port: int, seconds: float) -> Self:
        """Connects to an address, which is no name: nothing is resolved.

        Raises: httpcore2.ConnectError, httpcore2.ConnectTimeout.
        """
        try:
            async with asyncio.timeout(seconds):
                transport, incoming = await asyncio.get_running_loop().create_connection(_Incoming, address, port)
        except TimeoutError as late:
            raise httpcore2.ConnectTimeout(f"no connection within {seconds:.0f} seconds") from late
        except OSError as refused:
            raise httpcore2.ConnectError(refused.strerror or type(refused).__name__) from refused
        return cls(incoming, transport)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        """Sends what was written, and returns the next bytes; none when the receiver has closed its side.

        Raises: httpcore2.ReadError when the connection is lost; RemoteProtocolError when the answer is too long.
        """
        self._send()
        if self._left < MOST_OF_ANSWER:
            if self._left <= 0:
                raise httpcore2.RemoteProtocolError(f"longer than {MOST_OF_ANSWER} bytes")
            await asyncio.sleep(0)  # what has come already is read without waiting, and others would have to
        incoming = self._incoming
        await incoming.wait()
        if not incoming.data and incoming.error is not None:
            raise httpcore2.ReadError(type(incoming.error).__name__)
        given = bytes(incoming.data[: min(max_bytes, MOST_AT_ONCE)])
        del incoming.data[: len(given)]
        self._left -= len(given)
        if not incoming.data and not incoming.ended:
            self._transport.resume_reading()
        return given

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Keeps bytes until the answer is asked for, so that they leave together.

        Raises: httpcore2.WriteError when the connection is lost.
        """
        if self._transport.is_closing():
            raise httpcore2.WriteError("the connection is closed")
        self._unsent += buffer

    def _send(self) -> None:
        if self._unsent:
            self._transport.write(self._unsent)
            self._unsent, self._left = b"", MOST_OF_ANSWER

    async def aclose(self) -> None:
        """Closes the connection at once: a receiver that does not take part in that keeps nothing open."""
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        """Starts TLS for the name of the URL, whatever address the connection goes to.

        Raises: httpcore2.ConnectError when the receiver cannot prove that name.
        """
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                self._transport, self._incoming, ssl_context, server_hostname=server_hostname
            )
        except (OSError, ssl.SSLError) as refused:
            self._transport.abort()
            raise httpcore2.ConnectError(str(refused)) from refused
        if secured is None:
            raise httpcore2.ConnectError("the connection was closed")
        self._incoming.transport = secured
        return AsyncioStream(self._incoming, secured)

    def get_extra_info(self, info: str) -> Any:
        """Returns a fact of the connection; `is_readable` tells that an idle one was closed or said something."""
        if info == "is_readable":
            return bool(self._incoming.data) or self._incoming.ended or self._transport.is_closing()
        return self._transport.get_extra_info(info)
