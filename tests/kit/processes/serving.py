"""Tests can serve the web application on a real socket, from a thread of this process."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from tests.kit.processes.support import wait_until
from workers.web.app import make_server


@contextmanager
def serving(make: Callable[[str, int], uvicorn.Server] = make_server) -> Iterator[httpx.Client]:
    """Serves the application of `make`, by default that of the web process; yields a client of it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = make("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
