"""The users of Redis with which portals reach their streams: one for each key that may sign messages.

Such a user adds to the stream of its portal and reads the answers to it, and nothing else: it cannot read what waits,
delete it, or reach any other key. With ``MAXLEN`` or an identifier of its own choice it can spoil its own stream, which
no rule of Redis prevents; it harms no other portal.
"""

import hashlib
import re
from collections.abc import Iterable
from contextlib import closing
from typing import Final, NamedTuple

import redis

from workers.portals.secrets import redis_password
from workers.redis_client import connect
from workers.requests.streams import answer_stream, request_stream
from workers.settings import get_settings

COMMANDS: Final = (
    "+xadd",
    "+xread",
    *("+multi", "+exec", "+discard"),  # several requests at once, all or none: each command in it is checked as well
    *("+ping", "+select", "+client|setinfo", "+client|setname"),  # what clients send when they connect
)
"""The commands that such a user may send; AUTH, HELLO, RESET and QUIT are open to every user of Redis.

With them redis-py, node-redis and ioredis connect and send. ioredis asks for INFO first, is refused, warns and goes on;
``enableReadyCheck: false`` keeps it quiet. INFO tells of the whole server, so it stays refused.
"""

REDIS_SECONDS: Final = 5.0
_PATTERN: Final = re.compile(r"([\\*?\[\]])")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")


class RedisUser(NamedTuple):
    """A user of Redis.

    Parameters:
      rules: the words that follow the name in ``ACL SETUSER``; they hold the hash of the password, not the password.
    """

    name: str
    password: str
    rules: str


def redis_user(portal: str, key_id: str, master_id: str) -> RedisUser:
    """Returns the user that belongs to a key of a portal; it is derived from the key and always the same.

    Raises: NotConfigured when this master secret is no longer in ``PORTAL_KEYS``.
    """
    namespace, password = get_settings().redis_namespace, redis_password(master_id, key_id)
    keys = (f"%W~{_literal(request_stream(namespace, portal))}", f"%R~{_literal(answer_stream(namespace, portal))}")
    hashed = hashlib.sha256(password.encode()).hexdigest()
    rules = " ".join(("reset", "on", f"#{hashed}", "resetkeys", *keys, *COMMANDS))
    return RedisUser(f"{user_prefix()}{portal}-{key_id}", password, rules)


def user_prefix() -> str:
    """Returns how the names of our users of Redis begin."""
    return f"{_NOT_IN_A_NAME.sub('-', get_settings().redis_namespace)}-"


def _literal(key: str) -> str:
    """Escapes the signs that a pattern of Redis gives a meaning."""
    return _PATTERN.sub(r"\\\1", key)


def set_users(users: Iterable[RedisUser]) -> None:
    """Makes users in the Redis of ``REDIS_URL``, or gives them their rights anew.

    Raises: redis.RedisError.
    """
    with closing(_client()) as client:
        for user in users:
            client.execute_command("ACL", "SETUSER", user.name, *user.rules.split())  # type: ignore[no-untyped-call]


def drop_users(names: Iterable[str]) -> None:
    """Deletes users from the Redis of ``REDIS_URL``, which ends their connections; a name without a user is skipped.

    Raises: redis.RedisError.
    """
    with closing(_client()) as client:
        for name in names:
            client.execute_command("ACL", "DELUSER", name)  # type: ignore[no-untyped-call]


def list_users() -> set[str]:
    """Returns the names of our users in the Redis of ``REDIS_URL``.

    Raises: redis.RedisError.
    """
    with closing(_client()) as client:
        found = client.execute_command("ACL", "USERS")  # type: ignore[no-untyped-call]
    names = {name.decode() if isinstance(name, bytes) else str(name) for name in found}
    return {name for name in names if name.startswith(user_prefix())}


def save_users() -> bool:
    """Writes the users of Redis to its ACL file; returns False when it has none and forgets them at a restart.

    Raises: redis.RedisError.
    """
    with closing(_client()) as client:
        try:
            client.execute_command("ACL", "SAVE")  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            if "ACL file" not in str(error):
                raise
            return False
    return True


def _client() -> redis.Redis:
    return connect(get_settings().redis_url, retries=1, seconds=REDIS_SECONDS)
