"""Addresses of Redis: sentinels that name the server, and addresses that are refused without being shown."""

import pytest
import redis

from workers.portal_client import PortalClient
from workers.redis_client import connect, error_code, read_sentinel_address

TWO = [("h", 26379), ("i", 26380)]


@pytest.mark.parametrize(
    ("url", "sentinels", "login", "sentinel_login", "db"),
    [
        ("redis+sentinel://h:26379,i:26380/m/3", TWO, {}, {}, 3),
        ("redis+sentinel://h:26379,i:26380/m", TWO, {}, {}, 0),
        ("redis+sentinel://h:26379, i:26380/m/0", TWO, {}, {}, 0),
        ("redis+sentinel://:a%40b@[::1]:1/m/0", [("::1", 1)], {"password": "a@b"}, {}, 0),
        (
            "rediss+sentinel://u:p@h:1/m/0?sentinel_username=s&sentinel_password=t%26",
            [("h", 1)],
            {"username": "u", "password": "p"},
            {"username": "s", "password": "t&"},
            0,
        ),
    ],
)
def test_an_address_names_sentinels_and_the_server(
    url: str, sentinels: list[tuple[str, int]], login: dict[str, str], sentinel_login: dict[str, str], db: int
) -> None:
    read = read_sentinel_address(url)
    assert (read.sentinels, read.master, read.db, read.tls) == (sentinels, "m", db, url.startswith("rediss"))
    assert (read.login, read.sentinel_login) == (login, sentinel_login)
    connect(url, retries=0, seconds=1).close()


@pytest.mark.parametrize("url", ["http://:hush@h", "redis://h:hush", "redis+sentinel://u:hush@h/m/0"])
def test_a_portal_is_told_of_a_wrong_address_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="not redis://host:6379/0") as refused:
        PortalClient(url, portal="shop", key_id="Ab3dEf7h", secret="mqs_secret")
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (redis.ResponseError("BUSY Valkey is busy running a script"), "BUSY"),
        (redis.ResponseError("unknown command"), "ResponseError"),
        (redis.OutOfMemoryError("command not allowed", status_code="OOM"), "OOM"),
        (redis.ConnectionError("Connection refused"), "ConnectionError"),
        (redis.AuthenticationError("Invalid Username or Password"), "AuthenticationError"),
    ],
)
def test_an_error_of_redis_is_named_by_its_code(error: redis.RedisError, code: str) -> None:
    assert error_code(error) == code
