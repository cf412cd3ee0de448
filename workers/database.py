"""The one way to the database: a session per transaction, committed here and nowhere else."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session

from workers.settings import get_settings

SESSION_OPTIONS = (
    "-c timezone=UTC",
    "-c statement_timeout=120s",
    "-c lock_timeout=10s",
    # An old snapshot makes every claim slower, so nothing may sit in a transaction and think.
    "-c idle_in_transaction_session_timeout=30s",
)


IN_THE_WORK: Final = frozenset({"57014", "54000", "54001", "54011", "54023"})
"""SQL states that come as operational errors and yet blame the statement: cancelled by its time limit, too complex."""


KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""How soon a host that vanished is noticed: its statement timeout would run on the host that is no more."""

LOCK_TIMEOUT: Final = text("SET LOCAL lock_timeout = '250ms'")


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """The connection pool of this process, made on first use: after the fork, never shared across it."""
    return create_engine(
        get_settings().database_url,
        connect_args={
            "options": " ".join(SESSION_OPTIONS),
            "connect_timeout": 5,
            "application_name": "matricule",
            **KEEPALIVE,
        },
        pool_size=10,
        max_overflow=10,
        pool_timeout=10,
        pool_use_lifo=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )


@contextmanager
def transaction() -> Iterator[Session]:
    """A session whose work is committed when the block ends, and undone when it raises."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        yield session


def wait_briefly_for_locks(session: Session) -> None:
    """From here on this transaction waits at most 250 ms for a lock: it may hold what others wait for."""
    session.execute(LOCK_TIMEOUT)


def array(values: Iterable[UUID | int | None]) -> str:
    """Identifiers or numbers as PostgreSQL reads an array of them: one text, where the driver would quote each.

    Of ten thousand people that is a third of the time Python takes. The statement casts it: ``CAST(:ids AS uuid[])``.
    """
    return f"{{{','.join([_element(value) for value in values])}}}"


def _element(value: UUID | int | None) -> str:
    if value is None:
        return "NULL"
    return value.hex if isinstance(value, UUID) else str(value)


def lost_connection(error: BaseException) -> bool:
    """Whether the connection this error came over is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_transient(error: BaseException) -> bool:
    """Whether a database error is around the work, not in it: connection, deadlock, lock timeout, disk.

    A statement that ran into its time limit is in the work: done again for ever, it would never end.
    """
    if getattr(getattr(error, "orig", None), "sqlstate", None) in IN_THE_WORK:
        return False
    if lost_connection(error):
        return True
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


def is_lock_timeout(error: BaseException) -> bool:
    """Whether somebody held a lock for longer than this transaction would wait (SQL state 55P03)."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == "55P03"


def dispose_engine() -> None:
    """Closes this process's connections, so that the next use starts afresh (after a fork, between tests)."""
    if get_engine.cache_info().currsize:
        get_engine().dispose()
    get_engine.cache_clear()


__all__ = [
    "Session",
    "array",
    "dispose_engine",
    "get_engine",
    "is_lock_timeout",
    "is_transient",
    "lost_connection",
    "transaction",
    "wait_briefly_for_locks",
]
