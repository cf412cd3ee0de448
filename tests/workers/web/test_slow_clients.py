"""A client that is slow or silent is disconnected, and the others are answered meanwhile."""

import http.client
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.kit.processes.support import Processes, wait_until
from workers.web import forms, server

pytestmark = pytest.mark.serial

HALF_HEADERS = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Half:"
WHOLE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_BODY = b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf"

HALF_FORM = (
    b"POST /links/x HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 9\r\n\r\n" % forms.FORM_TYPE.encode()
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the deadlines to fractions of a second."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(server, "BODY_SECONDS", 1.0)


@contextmanager
def connected(site: httpx.Client, count: int = 1, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Opens connections and sends these bytes on each."""
    place = (str(site.base_url.host), site.base_url.port or 0)
    with ExitStack() as opened:
        found = [opened.enter_context(socket.create_connection(place, timeout=15)) for _ in range(count)]
        for one in found:
            one.sendall(sent)
        yield found


def answered_until_the_end(connection: socket.socket) -> bytes:
    """Reads until the server closes the connection."""
    answer = b""
    try:
        while piece := connection.recv(1 << 16):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def seconds_to_answer(site: httpx.Client) -> float:
    begun = time.monotonic()
    with httpx.Client(base_url=site.base_url, timeout=10) as client:
        assert client.get("/livez").status_code == 200
    return time.monotonic() - begun


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("sent", [b"", b"G", HALF_HEADERS, WHOLE + HALF_HEADERS, HALF_BODY])
def test_a_client_that_falls_silent_is_disconnected(site: httpx.Client, sent: bytes) -> None:
    with connected(site, sent=sent) as [connection]:
        answer = answered_until_the_end(connection)
    assert answer.count(b"HTTP/1.1 ") == (1 if sent.startswith(WHOLE) or sent == HALF_BODY else 0)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("sent", [HALF_HEADERS, HALF_BODY])
def test_a_byte_now_and_then_gains_no_time(site: httpx.Client, sent: bytes) -> None:
    with connected(site, sent=sent) as [connection]:

        def closed() -> bool:
            try:
                connection.send(b"x")
            except OSError:
                return True
            return not is_open(connection)

        wait_until(closed, seconds=8)


def test_a_request_in_two_halves_is_answered(site: httpx.Client) -> None:
    with connected(site, sent=WHOLE[:20]) as [connection]:
        assert seconds_to_answer(site) < 2
        connection.sendall(WHOLE[20:])
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(WHOLE[:20])
        assert seconds_to_answer(site) < 2
        connection.sendall(WHOLE[20:] + WHOLE)
        answers = b""
        while answers.count(b"alive") < 2:
            answers += connection.recv(1 << 16)


def test_hundreds_of_half_sent_requests_hold_up_nobody(site: httpx.Client) -> None:
    with connected(site, 400, HALF_HEADERS):
        assert max(seconds_to_answer(site) for _ in range(5)) < 2


def test_the_oldest_silent_connections_give_up_their_places(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_SILENT", 20)
    with connected(site, 60) as silent:
        wait_until(lambda: sum(map(is_open, silent)) == 20)
        assert [is_open(one) for one in silent] == [False] * 40 + [True] * 20
        assert seconds_to_answer(site) < 2


def test_a_client_that_waits_for_its_answer_is_not_silent(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_SILENT", 5)
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(forms, "READ_SECONDS", 2.0)
    with connected(site, sent=HALF_FORM) as [posting], ExitStack() as opened:
        assert seconds_to_answer(site) < 2  # its headers are read by now
        opened.enter_context(connected(site, 20))
        assert answered_until_the_end(posting).startswith(b"HTTP/1.1 ")


def test_the_oldest_connections_with_half_a_body_give_up_their_places(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_SILENT", 20)
    with connected(site, 30, HALF_FORM) as sending:
        wait_until(lambda: sum(map(is_open, sending)) == 10)
        with connected(site, 20):
            assert sum(map(is_open, sending)) == 10
            assert seconds_to_answer(site) < 2


def test_garbage_from_anybody_writes_a_line_a_second(site: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        with connected(site, sent=b"\x00garbage\r\n\r\n") as [connection]:
            assert answered_until_the_end(connection).startswith(b"HTTP/1.1 400 ")
    assert 1 <= len([one for one in caplog.records if "Invalid HTTP request" in one.message]) <= 25


def test_a_process_out_of_files_says_so_once_a_second_and_recovers(processes: Processes) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = processes.start("workers.cli", "serve", HOST="127.0.0.1", PORT=str(port))
    site = httpx.Client(base_url=f"http://127.0.0.1:{port}")

    def alive() -> bool:
        try:
            return site.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(alive, say=processes.logs)
    in_use = len(os.listdir(f"/proc/{serving.pid}/fd"))
    _, hard = resource.prlimit(serving.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(serving.pid, resource.RLIMIT_NOFILE, (in_use + 3, hard))
    begun = time.monotonic()
    with connected(site, 100, HALF_HEADERS):
        wait_until(lambda: processes.logs().count("accept.failed") >= 3, say=processes.logs)
        assert processes.logs().count("accept.failed") <= time.monotonic() - begun + 2
        assert len(processes.logs()) < 100_000
    resource.prlimit(serving.pid, resource.RLIMIT_NOFILE, (hard, hard))
    wait_until(alive, say=processes.logs)
    serving.send_signal(signal.SIGTERM)
    serving.wait(timeout=15)
    site.close()


def test_a_client_that_does_not_take_its_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.5)
    ended = threading.Event()

    async def large() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"x" * 100_000

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(large())(scope, receive, send)
        ended.set()

    config = uvicorn.Config(answer, http=server.BoundedProtocol, lifespan="off", log_config=None, ws="none")
    serving = server.BoundedServer(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: serving.started)
        with socket.create_connection(listening.getsockname(), timeout=10) as connection:
            connection.sendall(WHOLE)
            wait_until(lambda: not serving.server_state.connections and ended.is_set(), seconds=10)
        serving.should_exit = True
        thread.join()


def test_a_signal_ends_a_server_that_looks_seldom_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 1_000)
    serving = server.BoundedServer(uvicorn.Config(lambda: None, lifespan="off", log_config=None, port=0))
    thread = threading.Thread(target=serving.run)
    thread.start()
    wait_until(lambda: serving.started)
    serving.handle_exit(signal.SIGTERM, None)
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_idle_connections_are_kept_for_the_next_request(site: httpx.Client) -> None:
    connection = http.client.HTTPConnection(str(site.base_url.host), site.base_url.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/livez")
        assert connection.getresponse().read() == b"alive\n"
        opened = connection.sock
    assert connection.sock is opened
    connection.close()
