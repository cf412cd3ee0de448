"""The user of Redis of a portal adds to its own stream, reads the answers to it, and can do nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.kit.processes.support import forget
from tests.kit.processes.valkey import OwnValkey
from tests.workers.cli.conftest import Call, call
from workers.requests.streams import answer_stream, request_stream

__all__ = ["call"]

Command = tuple[Any, ...]


@pytest.fixture
def server(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnValkey]:
    """Starts a Valkey with an ACL file, that only this test uses."""
    users = tmp_path / "users.acl"
    users.touch()
    started = OwnValkey(tmp_path / "valkey", "--aclfile", str(users), "--appendonly", "yes").start()
    monkeypatch.setenv("REDIS_URL", started.url)
    monkeypatch.setenv("REDIS_NAMESPACE", "mat*ri[c]ule")
    forget()
    yield started
    started.kill()


STREAM, ANSWERS = request_stream("mat*ri[c]ule", "acme"), answer_stream("mat*ri[c]ule", "acme")
OTHERS = ("mat*ri[c]ule:stream:acme2", "mat*ri[c]ule:stream:other", "matXricule:stream:acme", "mat*ri[c]ule:requests")


def login(server: OwnValkey, shown: dict[str, str], **options: Any) -> redis.Redis:
    """Opens the client of a portal; RESP 3 and another database make it send what clients send when they connect."""
    client: redis.Redis = redis.Redis(
        port=server.port,
        username=shown["redis_user"],
        password=shown["redis_password"],
        **{"db": 0, "protocol": 3, "client_name": "portal", **options},
    )
    return client


def create(call: Call, name: str = "acme", *more: str) -> dict[str, str]:
    made = call("portal", "create", name, "--queue", *more, "--json")
    assert made.code == 0, made.err
    shown: dict[str, str] = made.json
    return shown


def apply_by_hand(server: OwnValkey, shown: dict[str, str]) -> None:
    with server.client() as ops:
        ops.execute_command("ACL", "SETUSER", shown["redis_user"], *shown["redis_acl"].split())


def refused(client: redis.Redis, command: Command) -> bool:
    try:
        client.execute_command(*command)  # type: ignore[no-untyped-call]
    except redis.exceptions.NoPermissionError:
        return True
    return False


def test_the_rules_shown_let_a_portal_send_and_read_its_answers(server: OwnValkey, call: Call) -> None:
    shown = create(call)
    with login(server, shown) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    apply_by_hand(server, shown)
    with server.client() as ops:
        ops.xadd(ANSWERS, {"key": "k", "job": "1"})
    for options in ({}, {"db": 3}, {"protocol": 2}):
        with login(server, shown, **options) as portal:
            assert portal.ping()
            assert portal.xadd(STREAM, {"key": "k"})
            both = portal.pipeline().xadd(STREAM, {"key": "a"}).xadd(STREAM, {"key": "b"}).execute()
            assert len(both) == 2
            assert bool(portal.xread({ANSWERS: "0"})) == (options != {"db": 3})
    with server.client() as ops:
        assert ops.xlen(STREAM) == 6
        refusals = [entry for entry in ops.acl_log() if entry["reason"] != "auth"]
        assert refusals == [], "nothing that clients send when they connect was refused"


READING: tuple[Command, ...] = (
    ("XREAD", "STREAMS", STREAM, "0"),
    ("XRANGE", STREAM, "-", "+"),
    ("XLEN", STREAM),
    ("XINFO", "STREAM", STREAM),
    ("XGROUP", "CREATE", STREAM, "mine", "0"),
    ("XREADGROUP", "GROUP", "matricule", "me", "STREAMS", STREAM, ">"),
    ("TYPE", STREAM),
    ("DUMP", STREAM),
)
HARMING: tuple[Command, ...] = (
    ("XDEL", STREAM, "1-1"),
    ("XTRIM", STREAM, "MAXLEN", "0"),
    ("XACK", STREAM, "matricule", "1-1"),
    ("XSETID", STREAM, "9-9"),
    ("XAUTOCLAIM", STREAM, "matricule", "me", "0", "0"),
    ("DEL", STREAM),
    ("UNLINK", STREAM),
    ("EXPIRE", STREAM, "1"),
    ("RENAME", STREAM, "gone"),
    ("XADD", ANSWERS, "*", "key", "forged"),
    ("SET", STREAM, "no stream"),
)
SERVER: tuple[Command, ...] = (
    ("GET", "anything"),
    ("SET", "anything", "1"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("INFO",),
    ("EVAL", "return 1", "0"),
    ("FLUSHALL",),
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("MONITOR",),
    ("PUBLISH", "c", "m"),
    ("SUBSCRIBE", "c"),
    ("SHUTDOWN",),
)


@pytest.mark.parametrize("command", [*READING, *HARMING, *SERVER], ids=lambda command: " ".join(command)[:40])
def test_everything_else_is_refused(server: OwnValkey, call: Call, command: Command) -> None:
    shown = create(call)
    apply_by_hand(server, shown)
    with login(server, shown) as portal:
        portal.xadd(STREAM, {"key": "k"}, id="1-1")
        assert refused(portal, command)


@pytest.mark.parametrize("other", OTHERS)
def test_no_key_of_another_is_reached(server: OwnValkey, call: Call, other: str) -> None:
    shown = create(call)
    apply_by_hand(server, shown)
    with server.client() as ops:
        ops.xadd(other, {"key": "k"})
    with login(server, shown) as portal:
        assert refused(portal, ("XADD", other, "*", "key", "k"))
        assert refused(portal, ("XREAD", "STREAMS", other, "0"))
        assert refused(portal, ("XREAD", "STREAMS", ANSWERS, other, "0", "0"))
        with pytest.raises(redis.RedisError):
            portal.pipeline().xadd(STREAM, {"key": "k"}).xadd(other, {"key": "k"}).execute()


def test_users_follow_the_keys_when_told_to_apply(server: OwnValkey, call: Call) -> None:
    first = create(call, "acme", "--apply")
    second = call("portal", "rotate", "acme", "--apply", "--json").json
    other = create(call, "other", "--apply")
    with login(server, first) as one, login(server, second) as two, login(server, other) as three:
        assert [client.xadd(STREAM, {"key": "k"}) is not None for client in (one, two)] == [True, True]
        assert refused(three, ("XADD", STREAM, "*", "key", "k"))
        assert call("portal", "revoke", first["key_id"], "--apply").code == 0
        with pytest.raises(redis.RedisError):
            one.xadd(STREAM, {"key": "k"})
        assert two.xadd(STREAM, {"key": "k"})


def lines(call: Call) -> list[str]:
    printed = call("portal", "acl")
    assert printed.code == 0
    return printed.out.splitlines()


def test_a_redis_that_forgot_its_users_gets_them_again(server: OwnValkey, call: Call) -> None:
    shown = create(call, "acme", "--apply")
    revoked = create(call, "acme", "--apply")
    with server.client() as ops:
        ops.execute_command("ACL", "SETUSER", "somebody-else", "on")
        ops.execute_command("ACL", "DELUSER", shown["redis_user"])
    call("portal", "revoke", revoked["key_id"])
    assert call("portal", "acl", "--apply").code == 0
    with server.client() as ops:
        users = {name.decode() for name in ops.execute_command("ACL", "USERS")}
    assert users == {"default", "somebody-else", shown["redis_user"]}
    with login(server, shown) as portal:
        assert portal.xadd(STREAM, {"key": "k"})


def test_the_printed_lines_are_an_acl_file(server: OwnValkey, call: Call, tmp_path: Path) -> None:
    shown = create(call)
    (tmp_path / "users.acl").write_text("user default on nopass ~* &* +@all\n" + "\n".join(lines(call)) + "\n")
    with server.client() as ops:
        ops.execute_command("ACL", "LOAD")
    with login(server, shown) as portal:
        assert portal.xadd(STREAM, {"key": "k"})


def test_applied_users_live_through_a_restart_with_an_acl_file(server: OwnValkey, call: Call) -> None:
    shown = create(call, "acme", "--apply")
    server.kill()
    server.start()
    with login(server, shown) as portal:
        assert portal.xadd(STREAM, {"key": "k"})


def test_without_an_acl_file_it_says_that_users_will_be_forgotten(
    fresh_database: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = OwnValkey(tmp_path / "plain").start()
    try:
        monkeypatch.setenv("REDIS_URL", plain.url)
        forget()
        made = call("portal", "create", "acme", "--queue", "--apply", "--json")
        assert (made.code, "matricule portal acl --apply" in made.err) == (0, True)
        assert made.json["portal"] == "acme"
    finally:
        plain.kill()


def test_a_key_is_shown_also_when_redis_takes_no_user(server: OwnValkey, call: Call) -> None:
    server.kill()
    made = call("portal", "create", "acme", "--queue", "--apply", "--json")
    assert (made.code, made.json["portal"]) == (69, "acme")
    assert "Redis did not change its users" in made.err
    assert call("portal", "acl", "--apply").code == 69


def test_the_user_of_a_key_goes_with_its_master_secret(
    server: OwnValkey, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = create(call, "acme", "--apply")
    monkeypatch.setenv("PORTAL_KEYS", "next:" + "7e" * 32)
    forget()
    kept = create(call, "acme", "--apply")
    applied = call("portal", "acl", "--apply")
    assert (applied.code, lost["key_id"] in applied.err) == (0, True)
    with server.client() as ops:
        users = {name.decode() for name in ops.execute_command("ACL", "USERS")}
    assert users == {"default", kept["redis_user"]}


def test_without_signing_keys_no_master_secret_is_needed(
    server: OwnValkey, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_KEYS", "")
    forget()
    call("portal", "create", "acme")
    assert lines(call) == []
