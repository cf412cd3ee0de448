"""The last use of the keys of portals, written by the minute.

A request only notes its key in memory. A minute after the first note all keys are written with one statement, so that
no request costs an UPDATE. What a process that is killed has noted since is lost: it says when a key was last used, and
nothing depends on it.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import text

from workers.database import autocommit, is_transient
from workers.logs import SeldomLog
from workers.sql import Unnest, change

FLUSH_SECONDS: Final = 60.0

SELDOM: Final = SeldomLog()


class _KeyUse(NamedTuple):
    key_id: str
    age: float


USES: Final = Unnest(_KeyUse, None, alias="u", others={"key_id": "text", "age": "float"})

# Writes when keys were last used. The rows are locked in one order, because other processes write the same ones.
RECORD_USES = text(f"""
    WITH used AS (
      SELECT k.id, now() - make_interval(secs => u.age) AS at
      FROM portal_key k JOIN {USES} ON u.key_id = k.key_id ORDER BY k.id FOR NO KEY UPDATE OF k)
    UPDATE portal_key k SET last_used_at = date_trunc('minute', used.at) FROM used
    WHERE k.id = used.id AND (k.last_used_at IS NULL OR k.last_used_at < date_trunc('minute', used.at))""")


class KeyUse:
    """Notes which keys are used. Any thread may call it.

    Parameters:
      clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: dict[str, float] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def note(self, key_id: str) -> None:
        """Notes that a key is used now; it waits for nothing."""
        now = self._clock()
        with self._lock:
            self._noted[key_id] = now
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self._flush_on_time)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> int:
        """Writes what was noted; returns the number of keys with a later use than before.

        Raises: errors of the database; what was noted is kept for the next time.
        """
        with self._lock:
            noted, self._noted = self._noted, {}
        if not noted:
            return 0
        now = self._clock()
        uses = [_KeyUse(key_id, now - at) for key_id, at in noted.items()]
        try:
            with autocommit() as session:
                return change(session, RECORD_USES, USES.parameters(uses))
        except BaseException:
            with self._lock:
                self._noted = noted | self._noted
            raise

    def close(self) -> None:
        """Writes what was noted, before the process ends; a database that is away does not delay the end."""
        self._cancel()
        self._flush_if_possible()

    def forget(self) -> None:
        """Forgets what was noted."""
        self._cancel()
        with self._lock:
            self._noted.clear()

    def _cancel(self) -> None:
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _flush_on_time(self) -> None:
        with self._lock:
            self._timer = None
        self._flush_if_possible()

    def _flush_if_possible(self) -> None:
        try:
            self.flush()
        except Exception as error:
            if not is_transient(error):
                raise
            SELDOM.warning("key_use.not_written", error=type(error).__name__)


USE: Final = KeyUse()
"""The keys that this process has met."""
