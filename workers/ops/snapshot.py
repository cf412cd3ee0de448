"""Keeps the status as one row that all its readers share, so that each of them shows the same numbers.

The row is read by the command `status`, its JSON, the metrics and the console. The first reader who
finds it older than five seconds makes it anew, one at a time; so many readers cost as much as one.
"""

import json
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from workers.database import Session, autocommit, is_transient, sql_state, transaction
from workers.engine.rollout import this_release
from workers.ops.folding import LATEST_MINUTES, fold_ended
from workers.ops.reconciliation import Reconciliation, compare_now
from workers.ops.redis_condition import RedisCondition, look_at_redis
from workers.ops.status import read_status, status_without_database
from workers.ops.unrecorded import UnrecordedRequests, count_unrecorded
from workers.sql import change, fetch_one, fetch_value

FRESH_SECONDS: Final = 5.0
"""Seconds for which a snapshot is shown; then the next reader makes another one."""

FORM: Final = "2"
"""The form of the facts: a snapshot that was written in another one is not read."""

TIME_LIMIT: Final = "57014"
"""The SQL state of a statement that reached its time limit."""

# Reads the snapshot, with its age in seconds.
READ_SNAPSHOT: Final = text("""
    SELECT s.facts, s.form, extract(epoch FROM clock_timestamp() - s.taken_at)::float8 AS age
    FROM status_snapshot s WHERE s.name = 'status'""")

_TURN: Final = "hashtextextended('matricule snapshot', 0)"

# Lets one reader make the snapshot.
TRY_TURN: Final = text(f"SELECT pg_try_advisory_xact_lock({_TURN})")

# Waits until the reader who makes the snapshot is done.
AWAIT_TURN: Final = text(f"SELECT pg_advisory_xact_lock({_TURN})")

# Bounds the statements of the snapshot: a status that takes longer is no help, and is told as such.
LIMIT_STATEMENTS: Final = text("SELECT set_config('statement_timeout', '10s', true)")

# Keeps the snapshot in place of the one before.
KEEP_SNAPSHOT: Final = text("""
    INSERT INTO status_snapshot (name, taken_at, form, facts) VALUES ('status', now(), :form, :facts)
    ON CONFLICT (name) DO UPDATE SET taken_at = excluded.taken_at, form = excluded.form, facts = excluded.facts""")


class _Kept(NamedTuple):
    facts: str
    form: str
    age: float


class _Redis(NamedTuple):
    condition: RedisCondition | None
    unrecorded: UnrecordedRequests | None


def read_snapshot(*, compare_seats: bool = False) -> dict[str, Any]:
    """Returns the status as ``read_status`` describes it, at most five seconds old, with `age_seconds`.

    While PostgreSQL does not answer, the status says so (`no_database`) and tells what is known without it.
    It must be called outside a transaction, because it asks Redis too, which may take seconds.

    Parameters:
      compare_seats: compares all seats now, which reads whole tables, and makes the snapshot anew.
    """
    redis: _Redis | None = None
    try:
        if not compare_seats and (kept := _read_without_turn()) is not None:
            return kept
        redis = _look_at_redis()
        _fold()
        return _take(redis, _compare() if compare_seats else None)
    except (DBAPIError, PoolTimeoutError) as error:
        if not is_transient(error) and sql_state(error) != TIME_LIMIT:
            raise
        return status_without_database(error, *(redis or _look_at_redis()))


def _look_at_redis() -> _Redis:
    condition = look_at_redis()
    return _Redis(condition, count_unrecorded() if condition else None)


def _read_without_turn() -> dict[str, Any] | None:
    with autocommit() as session:
        return _read_fresh(session)


def _read_fresh(session: Session) -> dict[str, Any] | None:
    """Reads the snapshot if it is young enough, and not from a moment at which the clock was ahead."""
    kept = fetch_one(session, _Kept, READ_SNAPSHOT)
    if kept is None or kept.form != _form() or not -1.0 <= kept.age < FRESH_SECONDS:
        return None
    facts: dict[str, Any] = json.loads(kept.facts)
    return facts | {"age_seconds": max(kept.age, 0.0)}


def _form() -> str:
    return f"{FORM} {this_release()}"


def _fold() -> None:
    """Counts what ended in the last minute, so that the totals are as new as the rest."""
    with transaction() as session:
        change(session, LIMIT_STATEMENTS)
        fold_ended(session, minutes=LATEST_MINUTES)


def _compare() -> Reconciliation:
    with transaction() as session:
        return compare_now(session)


def _take(redis: _Redis, compared: Reconciliation | None) -> dict[str, Any]:
    with transaction() as session:
        change(session, LIMIT_STATEMENTS)
        if not fetch_value(session, bool, TRY_TURN):
            session.execute(AWAIT_TURN)
            if compared is None and (made := _read_fresh(session)) is not None:
                return made
        status = read_status(session, redis.unrecorded, redis.condition, compared=compared)
        change(session, KEEP_SNAPSHOT, {"form": _form(), "facts": json.dumps(status)})
    return status | {"age_seconds": 0.0}


__all__ = ["FRESH_SECONDS", "read_snapshot"]
