"""The only access to the database: one session for each transaction, which only this module commits."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, QueuePool
from sqlmodel import Session

from workers.settings import get_settings
from workers.signs import SIGNS

SESSION_OPTIONS: Final = (
    "-c statement_timeout=120s",
    "-c lock_timeout=10s",
    # An old snapshot makes every claim slower, so no code may do slow work inside a transaction.
    "-c idle_in_transaction_session_timeout=30s",
    "-c idle_session_timeout=0",  # the pool keeps sessions
    # A plan is kept for as long as statistics do not change. One made while a table was empty would read the table
    # whole for each row that refers to it, and most tables are empty on the first day. Compiling a plan takes longer
    # than any statement of the hot paths. docs/decisions/0029 has the figures.
    "-c enable_seqscan=off",
    "-c jit=off",
)

PINNED: Final = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
}
"""Settings on which answers depend. Others would stop all work, or damage what is read, and a database, a role or the
environment (``PGTZ``, ``PGDATESTYLE``) may have others; the last one even wins over the options of a connection."""

SINCE_17: Final = {"transaction_timeout": "0"}
"""Settings that PostgreSQL has since version 17."""

APPLICATION: Final = "matricule "
"""The beginning of the name under which PostgreSQL shows our sessions; number and host of the process follow."""

IN_THE_WORK: Final = frozenset({"57014", "54000", "54001", "54011", "54023"})
"""SQL states of operational errors that the statement itself causes: cancelled by its time limit, too complex."""


READ_ONLY: Final = "25006"
"""The SQL state of a write on a server that takes none: after a failover the old primary may live on as a standby."""

KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""These detect a host that vanished. The statement timeout cannot, because it runs on that host."""

POOL_SIZE: Final = 10
POOL_OVERFLOW: Final = 10
"""The connections that a process keeps, and those it may open beside them."""

_LAST_STEPS: Final = "last_steps"

# Bounds how long a statement of this transaction waits for a lock.
LOCK_TIMEOUT: Final = text("SET LOCAL lock_timeout = '250ms'")


# Lets the planner read tables from end to end in this transaction.
READ_WHOLE_TABLES: Final = text("SELECT set_config('enable_seqscan', 'on', true)")


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Returns the connection pool of this process. It is created at the first use, so that no pool is shared across a
    fork.
    """
    engine = create_engine(
        get_settings().database_url,
        connect_args={
            "options": " ".join(SESSION_OPTIONS),
            "connect_timeout": 5,
            "application_name": f"{APPLICATION}{os.getpid()}@{socket.gethostname()}",
            **KEEPALIVE,
        },
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=10,
        pool_use_lifo=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _leave_server)
    event.listen(engine, "after_cursor_execute", _hear)
    event.listen(engine, "connect", _pin_settings, insert=True)  # before SQLAlchemy looks at the settings
    return engine


def pool_is_full() -> bool:
    """Tells whether all connections of the pool that there may be are in use."""
    pool = get_engine().pool
    return isinstance(pool, QueuePool) and pool.checkedout() >= POOL_SIZE + POOL_OVERFLOW


def _pin_settings(connection: Any, _: object) -> None:
    """Sets what answers depend on in a session that was just opened."""
    pinned = (SINCE_17 if connection.info.server_version >= 170_000 else {}) | PINNED
    connection.autocommit = True  # what a transaction sets is undone when it is rolled back
    connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in pinned.items()))
    connection.autocommit = False


def leave_server() -> None:
    """Ends the idle sessions of the pool, because their server takes no writes; the next ones look for another."""
    get_engine().dispose()


def _leave_server(context: ExceptionContext) -> None:
    """Ends the sessions of the pool when the server takes no writes, so that new ones find the server that does."""
    if sql_state(context.sqlalchemy_exception) == READ_ONLY:
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = True


def _hear(*_: object) -> None:
    """Notes that the database answered: a thread with many long statements in one transaction does not hang."""
    SIGNS.hear()


@contextmanager
def transaction() -> Iterator[Session]:
    """Yields a session; commits its work at the end of the block, and rolls it back when the block raises."""
    SIGNS.show()
    with Session(get_engine(), expire_on_commit=False) as session, session.begin() as begun:
        yield session
        if begun.is_active:  # not when the block rolled it back
            take_last_steps(session)
    SIGNS.show()


def before_commit(session: Session, step: Callable[[Session], None]) -> None:
    """Asks for a step to be taken at the end of this transaction, once, after everything else and before the commit.

    What it locks is held for no longer than the commit takes, and no lock follows: so it may lock rows in an order of
    its own, also rows that many transactions need.
    """
    session.info.setdefault(_LAST_STEPS, {})[step] = None


def take_last_steps(session: Session) -> None:
    """Takes the steps that were asked for with ``before_commit``."""
    for step in session.info.pop(_LAST_STEPS, ()):
        step(session)


@lru_cache(maxsize=1)
def _autocommit_engine() -> Engine:
    """Returns the same connection pool, with connections that commit each statement by itself while they are used."""
    return get_engine().execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def autocommit() -> Iterator[Session]:
    """Yields a session in which each statement is a transaction of its own, without BEGIN and COMMIT.

    It is for reads that lock nothing, and for a single statement that leaves nothing half-done. Two statements in it do
    not belong together: another transaction may commit between them.
    """
    SIGNS.show()
    with Session(_autocommit_engine(), expire_on_commit=False) as session:
        yield session


@contextmanager
def fresh_connection() -> Iterator[Session]:
    """Yields a session on a connection of its own, outside of the pool, in which each statement is a transaction.

    It tells a database that is away from a pool of which the connections are dead, and waits for neither a statement
    nor a lock for long.
    """
    engine = create_engine(
        get_settings().database_url,
        connect_args={
            "options": " ".join([*SESSION_OPTIONS, "-c statement_timeout=3s", "-c lock_timeout=2s"]),
            "connect_timeout": 3,
            "application_name": f"{APPLICATION}{os.getpid()}@{socket.gethostname()}",
            **KEEPALIVE,
        },
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
    )
    event.listen(engine, "connect", _pin_settings, insert=True)
    with Session(engine, expire_on_commit=False) as session:
        yield session


def wait_briefly_for_locks(session: Session) -> None:
    """Limits each wait for a lock in this transaction to 250 ms, because it may hold locks that others wait for."""
    session.execute(LOCK_TIMEOUT)


def read_whole_tables(session: Session) -> None:
    """Allows sequential scans in this transaction, for statements that need most rows of large tables anyway."""
    session.execute(READ_WHOLE_TABLES)


def array(values: Iterable[UUID | float | None]) -> str:
    """Writes identifiers, numbers or truth values as one text that PostgreSQL casts: ``CAST(:ids AS uuid[])``.

    The driver would look at each element and quote it: for ten thousand people that is a third of the time Python
    takes. This and the next two take a third of its time or less.
    """
    written = [
        "NULL" if value is None else f"{value.int:032x}" if isinstance(value, UUID) else str(value) for value in values
    ]
    return f"{{{','.join(written)}}}"


def text_array(values: Iterable[str | None]) -> str:
    r"""Writes texts as one text that PostgreSQL casts to an array: ``CAST(:emails AS text[])``.

    Each stands in quotes, so that none is read as NULL or as a sign of the array. Inside of them only `"` and `\` have
    a meaning; most batches have neither, and are joined at once.
    """
    given = list(values)
    if given and None not in given:
        joined = '","'.join(cast("list[str]", given))
        if joined.count('"') == 2 * (len(given) - 1) and "\\" not in joined:
            return f'{{"{joined}"}}'
    return f"{{{','.join([_quoted(value) for value in given])}}}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def moment_array(values: Iterable[datetime | None]) -> str:
    """Writes moments as one text that PostgreSQL casts to an array: ``CAST(:moments AS timestamptz[])``."""
    return f"{{{','.join(['NULL' if value is None else _written(value) for value in values])}}}"


@lru_cache(maxsize=4_096)
def _written(moment: datetime) -> str:
    """Returns the moment as PostgreSQL reads it. Columns of one row often hold the same, such as that of an event."""
    return moment.isoformat()


def sql_state(error: BaseException | None) -> str | None:
    """Returns PostgreSQL's code of an error (SQLSTATE), or None when it gave none."""
    state: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state


def lost_connection(error: BaseException) -> bool:
    """Tells whether the connection of this error broke; the work may have broken it."""
    return isinstance(error, DBAPIError) and error.connection_invalidated and sql_state(error) != READ_ONLY


def is_transient(error: BaseException) -> bool:
    """Tells whether a database error is outside the work: connection, failover, deadlock, lock timeout, disk.

    A statement that reaches its time limit belongs to the work: if it were retried for ever, it would never end.
    """
    state = sql_state(error)
    if state in IN_THE_WORK:
        return False
    if state == READ_ONLY or lost_connection(error):
        return True
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


def is_lock_timeout(error: BaseException) -> bool:
    """Tells whether a lock was held for longer than this transaction waits (SQL state 55P03)."""
    return sql_state(error) == "55P03"


def dispose_engine() -> None:
    """Closes this process's connections, so that the next use opens new ones (after a fork, between tests)."""
    if get_engine.cache_info().currsize:
        get_engine().dispose()
    get_engine.cache_clear()
    _autocommit_engine.cache_clear()


__all__ = [
    "APPLICATION",
    "READ_ONLY",
    "Session",
    "array",
    "autocommit",
    "before_commit",
    "dispose_engine",
    "fresh_connection",
    "get_engine",
    "is_lock_timeout",
    "is_transient",
    "leave_server",
    "lost_connection",
    "moment_array",
    "pool_is_full",
    "read_whole_tables",
    "sql_state",
    "take_last_steps",
    "text_array",
    "transaction",
    "wait_briefly_for_locks",
]
