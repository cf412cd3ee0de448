"""A way to a server on which connections fail as a test says: refused, lost after the answer was made, or held."""

import os
import socket
import socketserver
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Fate = Literal["refuse", "lose", "hold"]


class LossyWay(socketserver.ThreadingTCPServer):
    """A server that passes bytes on to another one.

    Parameters:
      upstream: the port of the other server on this machine, or the path of its socket.
      needle: bytes of the requests that meet the next fate with their connection; others pass.
      fates: of such connections, in their order: `refuse` closes it before anything reaches the server; `lose` waits
        for the answer and closes without it; `hold` waits for the answer and keeps it for ever.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, upstream: int | str, needle: bytes, *fates: Fate) -> None:
        super().__init__(("127.0.0.1", 0), _Passes)
        self.upstream = upstream
        self.needle = needle
        self.fates = deque(fates)
        self.answered = threading.Event()
        """Set once the server has answered a request that is lost or held."""

    @property
    def port(self) -> int:
        """The port of this way."""
        return int(self.server_address[1])


class _Passes(socketserver.BaseRequestHandler):
    server: LossyWay

    def handle(self) -> None:
        self.fate: Fate | None = None
        with suppress(OSError), _connected(self.server.upstream) as upstream:
            back = threading.Thread(target=self._pass_back, args=(upstream,), daemon=True)
            back.start()
            self._pass_on(upstream)
            upstream.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pass_on(self, upstream: socket.socket) -> None:
        """Passes on what the client sends, until it is gone."""
        while sent := self.request.recv(65_536):
            if self.server.needle in sent and self.server.fates:
                self.fate = self.server.fates.popleft()
            if self.fate == "refuse":
                return
            upstream.sendall(sent)

    def _pass_back(self, upstream: socket.socket) -> None:
        """Passes back what the server answers, unless the connection has another fate."""
        with suppress(OSError):
            while answer := upstream.recv(65_536):
                if self.fate is None:
                    self.request.sendall(answer)
                    continue
                self.server.answered.set()
                if self.fate == "lose":
                    self.request.shutdown(socket.SHUT_RDWR)
                return


def _connected(upstream: int | str) -> socket.socket:
    if isinstance(upstream, int):
        return socket.create_connection(("127.0.0.1", upstream))
    opened = socket.socket(socket.AF_UNIX)
    opened.connect(upstream)
    return opened


@contextmanager
def lossy_way(upstream: int | str, needle: bytes, *fates: Fate) -> Iterator[LossyWay]:
    """Opens such a way."""
    with LossyWay(upstream, needle, *fates) as way:
        thread = threading.Thread(target=way.serve_forever)
        thread.start()
        try:
            yield way
        finally:
            way.shutdown()
            thread.join()


@contextmanager
def way_to_postgres(needle: bytes, *fates: Fate) -> Iterator[tuple[LossyWay, str]]:
    """Opens a way to the database of ``DATABASE_URL``; yields it with the address that leads over it."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    asked = parse_qs(parts.query)
    with lossy_way(f"{asked['host'][0]}/.s.PGSQL.{asked['port'][0]}", needle, *fates) as way:
        yield way, f"{parts.scheme}://{parts.username}@127.0.0.1:{way.port}{parts.path}"
