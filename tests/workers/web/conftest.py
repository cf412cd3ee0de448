"""The web application on a real socket."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.support import wait_until
from workers.web.app import make_server


@pytest.fixture
def site(fresh_database: str) -> Iterator[httpx.Client]:
    """A client of the application, served from a thread of this process on the test's own database."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = make_server("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: server.started)
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join()
