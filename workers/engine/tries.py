"""Tries to record what came through a door until PostgreSQL takes it, and finds out when one message is at fault.

There are three kinds of errors:

* PostgreSQL lacks something (it is away, full, takes no writes; a lock is held): the message is tried again, then given
  back to its queue.
* The message is at fault, each time it is tried (a value, a constraint, too complex): the error is raised at once.
* Any other error may be about this message or about all of them: a damaged page of an index, a time limit, a table that
  is missing. The message is tried again, and at last once more between two proofs that another request can be
  recorded. If it fails between them, the fault is its own, and the error is raised. Without the proofs maybe nothing
  works, and the message is given back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from workers.database import Session, is_transient, sql_state, transaction
from workers.engine.acceptance import SubmittedRequest, accept_all
from workers.engine.stopping import STOPPING
from workers.logs import get_logger
from workers.requests.catalog import PutCompany

log = get_logger()

T = TypeVar("T")

PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between two tries while PostgreSQL is away. After the last one another process may try: it may reach it."""

TOO_COMPLEX: Final = frozenset({"54000", "54001", "54011", "54023"})
"""SQL states of errors that the request itself causes, each time it is tried."""

TIME_LIMIT: Final = "57014"
"""The SQL state of a statement that was cancelled, by its time limit or by an operator."""

MOST_TIME_LIMITS: Final = 2
"""Tries after which a message that reaches the time limit each time is tried no more, for each takes that long."""

LONE_SECONDS: Final = 20
"""The time limit of a statement about one message, in seconds. A wait for a lock ends before, and is no fault of it."""

BLAME_SECONDS: Final = 60.0
"""Seconds after a message was at fault in which others are tried twice only: many may meet the same damaged page."""

STOPS: Final = "stops"
NEWER_RELEASE: Final = "newer_release"
REFUSED: Final = "refused"
"""The reason why a bundle ends behind a message that was refused: it is acknowledged before the next is recorded."""

# Limits the time of each further statement of this transaction.
LIMIT_STATEMENTS = text("SELECT set_config('statement_timeout', :limit, true)")


class GivenBackError(Exception):
    """A message goes back to its queue.

    Parameters:
      reason: `stops` (this process does), `newer_release` (one is to judge the message), `refused` (the message before
        it was, and is acknowledged first), or the code of the error for which it could not be recorded.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BlameMemory:
    """Remembers for a minute that a message was at fault, so that those behind it do not wait for six seconds each."""

    def __init__(self) -> None:
        self._until = 0.0

    def note(self) -> None:
        """Remembers a message that was at fault now."""
        self._until = time.monotonic() + BLAME_SECONDS

    def pauses(self) -> Sequence[float]:
        """Returns the pauses after the tries at the next message."""
        return PAUSES[:1] if time.monotonic() < self._until else PAUSES


BLAMED: Final = BlameMemory()


def while_away(record: Callable[[], T]) -> T:
    """Records something, and tries again while PostgreSQL is away.

    Raises:
      GivenBackError: this process stops, or PostgreSQL was away for all tries.
      Exception: any other error.
    """
    return _tried(record, PAUSES, is_transient)


def until_recorded(record: Callable[[], T]) -> T:
    """Records one message, and tries again after each error that may not be its own.

    Raises:
      GivenBackError: this process stops, or PostgreSQL could not record it, and maybe no other either.
      Exception: the error of the message itself; one of PostgreSQL (``concerns_database``) when others can be recorded.
    """
    try:
        return _tried(record, BLAMED.pauses(), concerns_database)
    except GivenBackError as left:
        error = left.__cause__
        if error is None or is_transient(error) or not others_can_be_recorded():
            raise
    return _tried_between_proofs(record)


def _tried(record: Callable[[], T], pauses: Sequence[float], may_pass: Callable[[Exception], bool]) -> T:
    error: Exception | None = None
    for number, pause in enumerate(pauses, start=1):
        try:
            return record()
        except (DBAPIError, PoolTimeoutError) as met:
            if not may_pass(met):
                raise
            error = met
            log.warning("accept.waits", exc_info=met)
        if STOPPING.wait(pause):
            raise GivenBackError(STOPS)
        if sql_state(error) == TIME_LIMIT and number >= MOST_TIME_LIMITS:
            break
    raise GivenBackError(reason_of(error)) from error


def _tried_between_proofs(record: Callable[[], T]) -> T:
    """Tries a last time after others were seen to work; an error is the message's own if they still work after it.

    What was repaired meanwhile, such as a table that a migration made just now, is noticed by this try; what broke
    meanwhile is noticed by the second proof.
    """
    try:
        return record()
    except (DBAPIError, PoolTimeoutError) as error:
        if concerns_database(error) and (is_transient(error) or not others_can_be_recorded()):
            raise GivenBackError(reason_of(error)) from error
        BLAMED.note()
        raise


def others_can_be_recorded() -> bool:
    """Tells whether PostgreSQL records a harmless request now, by the statements of every request; it is undone."""
    request = PutCompany(reference="proof", name="proof")
    ask = SubmittedRequest(LOCAL_PORTAL_ID, request, request.model_dump_json(), f"ops:proof:{new_id()}")
    try:
        with lone_transaction() as session:
            accept_all(session, [ask])
            session.rollback()
    except (DBAPIError, PoolTimeoutError) as error:
        log.warning("accept.no_proof", exc_info=error)
        return False
    return True


@contextmanager
def lone_transaction() -> Iterator[Session]:
    """Yields the session of a transaction about one message, with a short time limit for its statements."""
    with transaction() as session:
        session.execute(LIMIT_STATEMENTS, {"limit": f"{LONE_SECONDS * 1000:.0f}"})
        yield session


def concerns_database(error: Exception) -> bool:
    """Tells whether an error is one of PostgreSQL that the next try may not meet."""
    if isinstance(error, DataError | IntegrityError) or sql_state(error) in TOO_COMPLEX:
        return False
    return isinstance(error, DBAPIError | PoolTimeoutError)


def reason_of(error: Exception | None) -> str:
    """Returns the code of an error as a reason: its SQL state, or its class."""
    return sql_state(error) or type(error).__name__
