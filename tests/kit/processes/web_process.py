"""Tests can run the web process of the Procfile, and talk to it over sockets, byte for byte."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2

from tests.kit.processes.support import Processes, wait_until
from tests.kit.processes.valkey import free_port


class WebProcess(NamedTuple):
    """A web process, and the address at which it answers."""

    process: "subprocess.Popen[bytes]"
    base_url: str


def start_web(processes: Processes, port: int | None = None, **environment: str) -> WebProcess:
    """Starts a web process, and returns once it answers."""
    port = port or free_port()
    base_url = f"http://127.0.0.1:{port}"
    process = processes.start("workers.cli", "serve", HOST="127.0.0.1", PORT=str(port), **environment)
    wait_until(lambda: answers(base_url), say=processes.logs)
    return WebProcess(process, base_url)


def answers(base_url: str) -> bool:
    """Tells whether a web process answers at this address."""
    try:
        return httpx2.get(f"{base_url}/livez", trust_env=False, timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


@contextmanager
def connected(base_url: str, sent: bytes = b"", count: int = 1) -> Iterator[list[socket.socket]]:
    """Opens connections, and sends these bytes on each."""
    parts = urlsplit(base_url)
    place = (parts.hostname or "", parts.port or 80)
    with ExitStack() as opened:
        found = [opened.enter_context(socket.create_connection(place, timeout=20)) for _ in range(count)]
        for one in found:
            one.sendall(sent)
        yield found


def read_to_end(connection: socket.socket) -> bytes:
    """Reads until the server hangs up; fails when it does not within the time of the socket."""
    answer = b""
    try:
        while piece := connection.recv(1 << 16):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def is_open(connection: socket.socket) -> bool:
    """Tells whether the server has not hung up."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
