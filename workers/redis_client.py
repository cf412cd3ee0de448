"""Makes every Redis client of Matricule from its address: a server, a socket, or sentinels that name the server.

Sentinels watch a server and its replicas, and promote a replica when the server is lost. A client asks them for the
server at each new connection, so it follows a failover without a restart.
"""

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError
from redis.retry import Retry
from redis.sentinel import Sentinel

SENTINEL_SCHEMES: Final = {"redis+sentinel": False, "rediss+sentinel": True}
"""The schemes of an address that names sentinels; the second one uses TLS, for the sentinels and for the server."""

SENTINEL_OPTIONS: Final = {"sentinel_username": "username", "sentinel_password": "password"}

FORMS: Final = (
    "not redis://host:6379/0, rediss://…, unix:///path.sock "
    "or redis+sentinel://user:password@host:26379,host:26379/master/0"
)
"""The text that refuses an address. It never quotes the address, which may hold a password."""

FAULTS: Final[list[type[Exception]]] = [
    redis.ConnectionError,
    redis.TimeoutError,
    ReadOnlyError,
    BusyLoadingError,
    MasterDownError,
]
"""Errors after which a connection is closed and the command may be repeated: another server may answer by now."""


class SentinelAddress(NamedTuple):
    """The sentinels of a Redis server.

    Parameters:
      sentinels: host and port of each.
      master: the name under which they know the server.
      login: user and password for the server, as redis-py names them.
      sentinel_login: user and password for the sentinels.
    """

    sentinels: list[tuple[str, int]]
    master: str
    db: int
    tls: bool
    login: dict[str, str]
    sentinel_login: dict[str, str]


def connect(url: str, *, retries: int, seconds: float, longest_pause: float = 0.5) -> redis.Redis:
    """Makes a client; it connects at its first command.

    Parameters:
      retries: how often a command is repeated after a fault of the connection.
      seconds: the time limit of one try.
      longest_pause: the longest pause between two tries, in seconds.

    Raises: ValueError when the address has none of the forms in ``FORMS``; its text does not quote the address.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=longest_pause), retries)
    options: dict[str, Any] = {"socket_timeout": seconds, "retry": retry, "retry_on_error": FAULTS}
    if not url.startswith("unix:"):
        options |= {"socket_connect_timeout": min(3.0, seconds), "socket_keepalive": True}
    if url.partition("://")[0] in SENTINEL_SCHEMES:
        return _connect_by_sentinels(read_sentinel_address(url), options)
    try:
        client = redis.Redis.from_url(url, **options)
        client.connection_pool.make_connection()  # reads the options of the address, and connects nowhere
    except (TypeError, ValueError):
        raise ValueError(FORMS) from None
    return client


def _connect_by_sentinels(address: SentinelAddress, options: dict[str, Any]) -> redis.Redis:
    asking = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0, "retry": Retry(ExponentialWithJitterBackoff(), 0)}
    watched = Sentinel(  # type: ignore[no-untyped-call]
        address.sentinels, sentinel_kwargs=asking | {"ssl": address.tls} | address.sentinel_login
    )
    client: redis.Redis = watched.master_for(  # type: ignore[no-untyped-call]
        address.master, db=address.db, ssl=address.tls, **address.login, **options
    )
    return client


def read_sentinel_address(url: str) -> SentinelAddress:
    """Reads ``redis+sentinel://[user:password@]host:port[,host:port…]/<master>/<db>``; the db is 0 when left out.

    Sentinels that ask for a password of their own are given it as ``?sentinel_username=…&sentinel_password=…``.

    Raises: ValueError when it has another form.
    """
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    network, _, path = rest.partition("/")
    credentials, _, hosts = network.rpartition("@")
    master, _, db = path.partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not master or not set(options) <= set(SENTINEL_OPTIONS) or not (db or "0").isdecimal():
        raise ValueError(FORMS)
    user, _, password = credentials.partition(":")
    login = {"username": unquote(user), "password": unquote(password)}
    return SentinelAddress(
        sentinels=[_host_and_port(one) for one in hosts.split(",")],
        master=unquote(master),
        db=int(db or "0"),
        tls=SENTINEL_SCHEMES[scheme],
        login={name: value for name, value in login.items() if value},
        sentinel_login={SENTINEL_OPTIONS[name]: value for name, value in options.items()},
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(FORMS)
    return host.removeprefix("[").removesuffix("]"), int(port)


def error_code(error: redis.RedisError) -> str:
    """Returns the code of an answer of Redis (`OOM`, `READONLY`, `BUSY`), or else the class of the error.

    The rest of an answer may name a user or a key, so it is not logged.
    """
    first = str(error).partition(" ")[0]
    given = error.status_code or (first if isinstance(error, redis.ResponseError) and first.isupper() else "")
    return given or type(error).__name__
