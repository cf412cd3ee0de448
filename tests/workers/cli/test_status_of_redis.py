"""`status` writes to Redis: a Redis that only reads, or may lose what it was given, is told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.processes.support import forget
from tests.kit.processes.valkey import OwnValkey
from tests.workers.cli.conftest import Call
from workers.ops.redis_condition import RedisCondition, look_at_redis

WELL = RedisCondition(refusal=None, eviction="noeviction", appendonly=True)
ADMIN = ("--user", "admin", "on", "nopass", "~*", "&*", "+@all")


Look = Callable[[], RedisCondition | None]


@pytest.fixture
def server(fresh_database: str, tmp_path: Path) -> Iterator[OwnValkey]:
    own = OwnValkey(tmp_path / "valkey", "--appendonly", "yes", *ADMIN).start()
    yield own
    own.kill()


@pytest.fixture
def look(server: OwnValkey, monkeypatch: pytest.MonkeyPatch) -> Look:
    monkeypatch.setenv("REDIS_URL", server.url)
    forget()
    return look_at_redis


def test_a_well_redis_is_left_as_it_was(server: OwnValkey, look: Look) -> None:
    assert look() == WELL
    with server.client() as admin:
        assert admin.keys() == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("maxmemory", "1", "OOM"),
        ("min-replicas-to-write", "1", "NOREPLICAS"),
        ("requirepass", "x", "NOAUTH"),
    ],
)
def test_a_redis_that_refuses_to_write_is_told_by_its_code(
    server: OwnValkey, look: Look, name: str, value: str, code: str
) -> None:
    with server.client(username="admin") as admin:
        admin.config_set(name, value)
    assert look() == RedisCondition(refusal=code)


def test_options_that_lose_requests_are_told(server: OwnValkey, look: Look, call: Call) -> None:
    with server.client() as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        admin.config_set("appendonly", "no")
    assert look() == RedisCondition(None, "allkeys-lru", appendonly=False)
    said = " ".join(call("status").out.split())
    assert "maxmemory-policy allkeys-lru" in said
    assert "appendonly no" in said


def test_a_redis_that_does_not_tell_its_options_is_not_suspected(server: OwnValkey, look: Look) -> None:
    with server.client(username="admin") as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-info")
    assert look() == RedisCondition()


def test_a_redis_that_is_away_is_no_refusal(server: OwnValkey, look: Look, call: Call) -> None:
    server.kill()
    assert look() is None
    assert "Redis does not answer" in call("status").out


def test_status_says_that_redis_refuses(server: OwnValkey, look: Look, call: Call) -> None:
    with server.client() as admin:
        admin.config_set("maxmemory", 1)
    called = call("status")
    assert called.code == 1
    assert "Redis refuses to write (OOM)" in " ".join(called.out.split())
