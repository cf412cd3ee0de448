from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from scripts.embedded.places import places
from scripts.embedded.valkey import Valkey

pytestmark = pytest.mark.heavy


@pytest.fixture
def valkey(var: Path) -> Iterator[Valkey]:
    server = Valkey(places(var))
    server.start()
    yield server
    server.stop()


def client(server: Valkey) -> Any:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_writes_survive_kills_and_restarts(valkey: Valkey) -> None:
    with client(valkey) as connection:
        assert connection.config_get("appendonly")["appendonly"] == "yes"
        assert connection.config_get("port")["port"] == "0"
        connection.rpush("queue", *map(str, range(1000)))
    valkey.kill()
    assert not valkey.running()
    valkey.start()
    with client(valkey) as connection:
        assert connection.llen("queue") == 1000
    valkey.restart()
    with client(valkey) as connection:
        assert connection.lrange("queue", -1, -1) == ["999"]


def test_a_torn_last_write_does_not_stop_it(valkey: Valkey, var: Path) -> None:
    with client(valkey) as connection:
        connection.set("before", "kept")
    valkey.kill()
    (written,) = (var / "valkey").glob("appendonlydir/*.incr.aof")
    with written.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nhal")
    valkey.start()
    with client(valkey) as connection:
        assert connection.get("before") == "kept"


def test_two_servers_run_side_by_side(valkey: Valkey, private_var: Path) -> None:
    second = Valkey(places(private_var))
    second.start()
    try:
        with client(valkey) as one, client(second) as other:
            one.set("mine", 1)
            assert other.get("mine") is None
    finally:
        second.stop()


def test_a_server_left_running_is_replaced(valkey: Valkey, var: Path) -> None:
    """The parent and its guard were both killed, so the next start only has the pid file."""
    successor = Valkey(places(var))
    successor.start()
    try:
        assert successor.pid != valkey.pid
        assert not valkey.running()
        with client(successor) as connection:
            assert connection.ping()
    finally:
        successor.stop()
