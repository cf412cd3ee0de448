"""The HTTP server of the web process: uvicorn with deadlines for slow clients and a bound on silent ones.

uvicorn waits without end for headers and bodies, so a few hundred half-sent requests would hold the pages for as long
as their senders like (decision 23 says why it is not Granian). A silent connection is one on which no request is
complete. It costs nothing but its place, and the oldest gives its place up when there are too many. Connections with
half a body have places of their own.
"""

import asyncio
import logging
import resource
import socket
import time
from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from workers.api.bodies import BODY_UNTIL
from workers.engine.heartbeat import Heartbeat
from workers.logs import get_logger
from workers.web.liveness import begin_to_beat

HEADER_SECONDS: Final = 10.0
"""Seconds in which the headers of a request must arrive, from the connection or the first byte after a pause."""

BODY_SECONDS: Final = 40.0
"""Seconds in which a body must arrive. Pages that read one answer 408 before (``forms.READ_SECONDS``); the API gives a
file more time for each of its megabytes (``workers/api/uploading.py``)."""

WRITE_SECONDS: Final = 60.0
"""Seconds in which a client that is sent much must take the next part of it."""

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks at what uvicorn does by time: the `Date` of answers, and an end asked for by a flag."""

MOST_SILENT: Final = 1_000
"""The most silent connections; less where the process may open fewer files (``most_silent``)."""

log = get_logger("web")


class ConnectionState(ServerState):
    """The state that all connections of one server share.

    Parameters:
      silent: the silent connections, the oldest first.
      sending: the connections with half a body, the oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.silent: dict[BoundedProtocol, None] = {}
        self.sending: dict[BoundedProtocol, None] = {}


class BoundedServer(uvicorn.Server):
    """A server that ends slow connections, and reports errors of `accept` at most once a second.

    Parameters:
      at_end: what is done when all calls have been answered. Behind ``run`` it would be too late: uvicorn then sends
        this process the signal again.
      beats_as: the role under which it sends a heartbeat, in a process of its own; empty for none.
    """

    def __init__(self, config: uvicorn.Config, at_end: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._at_end = at_end
        self.beats_as = ""
        self._alive: Heartbeat | None = None
        self.server_state = ConnectionState()
        self._loop: AbstractEventLoop | None = None
        self._told = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until it is told to stop."""
        asyncio.get_running_loop().set_exception_handler(AcceptErrors())
        await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Waits for the last answers, and ends what the process does beside them."""
        await super().shutdown(sockets)
        self._at_end()
        if self._alive is not None:
            self._alive.leave()

    async def main_loop(self) -> None:
        """Waits until it is told to stop; a signal ends the wait at once. Uvicorn wakes up ten times a second."""
        self._loop = asyncio.get_running_loop()
        if self.beats_as:
            self._alive = begin_to_beat(self.beats_as, lambda: bool(self.server_state.tasks))
        while not await self.on_tick(0):  # at each multiple of ten it dates the answers
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), LOOK_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Notes that a signal asks this process to stop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)


class AcceptErrors:
    """Logs errors of `accept` at most once a second: asyncio reports thousands a second when files run out."""

    def __init__(self) -> None:
        self._logged_at = float("-inf")
        self._left_out = 0

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handles one error of the event loop."""
        if "accept()" not in str(context.get("message")):
            loop.default_exception_handler(context)
        elif time.monotonic() - self._logged_at < 1:
            self._left_out += 1
        else:
            log.error("accept.failed", left_out=self._left_out, errno=getattr(context.get("exception"), "errno", None))
            self._logged_at, self._left_out = time.monotonic(), 0


class OncePerSecond(logging.Filter):
    """Lets each message pass once a second, because any client can cause those of the protocol."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tells whether the record passes; the messages are constants of uvicorn, so they are few."""
        passed_at, now = self._passed_at.get(str(record.msg), float("-inf")), time.monotonic()
        if now - passed_at < 1:
            return False
        self._passed_at[str(record.msg)] = now
        return True


PROTOCOL_LOG: Final = logging.getLogger("web.protocol")
PROTOCOL_LOG.setLevel(logging.INFO)
PROTOCOL_LOG.addFilter(OncePerSecond())


class BoundedProtocol(H11Protocol):
    """One connection, which ends when its client is too slow."""

    server_state: ConnectionState
    _deadline: TimerHandle | None = None
    _write_deadline: TimerHandle | None = None
    _request: object = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Waits for the headers of the first request."""
        self.logger = PROTOCOL_LOG
        super().connection_made(transport)
        self._set_deadline(HEADER_SECONDS)
        self._become_silent()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the deadlines with the connection."""
        self._clear_deadline()
        self.resume_writing()
        self._give_place_up()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of the client; headers, then a body, each have one deadline that further bytes do not move."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Waits for the next request, which may have been received already."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Waits until the client has taken what it was sent."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.end)

    def resume_writing(self) -> None:
        """Goes on: the client has taken enough."""
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
        if self.flow is not None:
            super().resume_writing()

    def _look(self) -> None:
        """Sets the deadline for what is awaited now."""
        theirs = self.conn.their_state
        if theirs is h11.IDLE:
            self._await_headers()
        elif theirs is not h11.SEND_BODY:
            self._clear_deadline()
            self._give_place_up()
        elif self._request is not self.cycle:
            self._request = self.cycle
            self._set_deadline(BODY_SECONDS, self._end_unless_later)
            self._give_place_up()
            self._take_place(self.server_state.sending, most_silent() // 2)

    def _await_headers(self) -> None:
        """Sets the deadline at the first byte of a request; until then uvicorn's time for idle connections runs."""
        if self not in self.server_state.silent:
            self._clear_deadline()
            self._give_place_up()
            self._become_silent()
        if self._deadline is None and self.timeout_keep_alive_task is None:
            self._set_deadline(HEADER_SECONDS)

    def _become_silent(self) -> None:
        self._take_place(self.server_state.silent, most_silent())

    def _take_place(self, places: "dict[BoundedProtocol, None]", most: int) -> None:
        """Takes a place among connections of its kind; the oldest one gives its place up when there are too many."""
        places[self] = None
        if len(places) > most:
            next(iter(places)).end()

    def _give_place_up(self) -> None:
        self.server_state.silent.pop(self, None)
        self.server_state.sending.pop(self, None)

    def _end_unless_later(self) -> None:
        """Closes the connection, unless the API lets its body arrive for longer."""
        until: float = self.scope.get(BODY_UNTIL, 0.0)  # type: ignore[assignment]
        left = until - self.loop.time()
        if left > 0:
            self._set_deadline(left, self._end_unless_later)
        else:
            self.end()

    def _set_deadline(self, seconds: float, late: Callable[[], None] | None = None) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, late or self.end)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def end(self) -> None:
        """Closes the connection without waiting for its client."""
        self._give_place_up()
        self.transport.abort()


def most_silent() -> int:
    """Returns the most silent connections: half of the files this process may open are left for others.

    Half as many may have sent half a body.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_SILENT if files == resource.RLIM_INFINITY else min(MOST_SILENT, files // 2)
