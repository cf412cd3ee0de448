"""The reader of the streams of portals: a thread of each process that serves the queue `requests`.

One process holds all streams by one lease, so that an idle system waits in one command, and each stream has one reader:
requests of a portal are recorded in the order in which they were added. A bundle is recorded before the next is
fetched, and deleted with that fetch, which begins with the oldest entries that are left. So a reader that is killed,
freezes, loses its lease or cannot reach PostgreSQL needs no care: its entries are read again, and keys make a
repetition harmless. ``docs/decisions/0035`` argues it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

import redis
from sqlalchemy import text

from workers.database import autocommit, is_transient
from workers.engine.broker import worker_client
from workers.engine.consumer import (
    LONGEST_PAUSE,
    POLLING_SECONDS,
    SELDOM,
    SHORTEST_PAUSE,
    WAIT_SECONDS,
    ConsumerTrouble,
)
from workers.engine.door import REST_SECONDS, Bundle, DoorAnswer
from workers.engine.door_lease import LOOK_SECONDS, RENEW_SECONDS
from workers.engine.stopping import DRAINED_WAIT, DRAINING, STOPPING
from workers.engine.streams import FetchedEntries, PortalStreams, StreamEntry, tell_portals
from workers.engine.tries import REFUSED, STOPS
from workers.logs import get_logger
from workers.redis_client import error_code
from workers.settings import get_settings
from workers.sql import fetch_values

log = get_logger()

REFRESH_SECONDS: Final = 3.0
"""Seconds between two looks for portals that are new."""

POLL_SECONDS: Final = 0.05
"""Seconds between two fetches while waiting inside Redis is not possible."""

BUSY_SECONDS, GATHER_SECONDS = 0.005, 0.002
"""Seconds after a bundle in which portals are busy sending: then the next ones gather for a moment before a fetch."""

STOP_SECONDS: Final = 15.0
"""Seconds that a process that stops waits for this thread."""

# Lists the portals that have or had a key with which messages are signed: what such a portal sent is never left unread.
LIST_SIGNING_PORTALS = text("""
    SELECT p.name FROM portal p
    WHERE EXISTS (SELECT 1 FROM portal_key k WHERE k.portal_id = p.id AND k.master_id IS NOT NULL) ORDER BY p.name""")


class StreamDoor(threading.Thread):
    """Reads the streams of portals while this process holds their lease.

    Parameters:
      record: records a bundle, and counts in it what is recorded.
      reader: the identifier of this process.
    """

    def __init__(self, record: Callable[[Bundle], None], reader: str) -> None:
        super().__init__(name="stream-door", daemon=True)
        settings = get_settings()
        self.streams = PortalStreams(worker_client(settings.redis_url), settings.redis_namespace, reader)
        self.trouble: ConsumerTrouble | None = None
        self.turned_at = time.monotonic()
        """When this thread last began a turn, by the monotonic clock."""
        self._record = record
        self._recorder = ThreadPoolExecutor(1, "stream-recorder")
        self._portals: Sequence[str] = ()
        self._refreshed_at = -REFRESH_SECONDS
        self._done: list[StreamEntry] = []  # recorded, and not deleted yet
        self._holds = False
        self._rests_until = 0.0
        self._polls_until = 0.0
        self._errors = 0  # errors of Redis in a row
        self._answers: list[DoorAnswer] = []  # of the last bundle, for its portals
        self._recorded_at = 0.0  # when the last bundle was recorded

    def run(self) -> None:
        while not STOPPING.is_set():
            self.turned_at = time.monotonic()
            try:
                self.turn()
            except redis.RedisError as error:
                self._wait_out(error)
            except Exception as error:  # the outermost edge: this thread lives as long as its process
                log.exception("streams.failed", exc_info=error)
                STOPPING.wait(LONGEST_PAUSE)
        self.leave()

    def stop(self) -> None:
        """Waits until this thread has left the door, after the process was asked to stop."""
        self.join(STOP_SECONDS)
        self._recorder.shutdown(wait=False)
        self.streams.client.close()

    def turn(self) -> None:
        """Records a bundle, or waits for an entry or for the door.

        Raises: redis.RedisError.
        """
        if DRAINING.is_set():
            self.trouble, self._errors = None, 0  # it asks Redis for nothing; a lease that cannot be left runs out
            self.leave()
            STOPPING.wait(DRAINED_WAIT)
        elif time.monotonic() < self._rests_until:
            self.leave()
            STOPPING.wait(POLL_SECONDS)
        elif not self._holds and not self.streams.lease.renew():
            STOPPING.wait(LOOK_SECONDS)
        else:
            self._holds = True
            self._refresh_in_time()
            self._next_bundle()

    @property
    def holds(self) -> bool:
        """Whether this thread still holds the streams."""
        return self._holds

    def leave(self) -> None:
        """Acknowledges what is done, and lets another process read. It never raises: the lease ends by itself."""
        self._tell()
        if not self._holds or self.trouble is not None:
            return
        try:
            self.streams.leave(self._done)
        except redis.RedisError as error:
            SELDOM.warning("streams.not_left", error=error_code(error))
        self._holds, self._done = False, []

    def _refresh_in_time(self) -> None:
        """Looks which portals have a stream; while PostgreSQL is away, those that are known are read."""
        if time.monotonic() - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = time.monotonic()
        try:
            with autocommit() as session:
                self._portals = fetch_values(session, str, LIST_SIGNING_PORTALS)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("streams.not_listed", exc_info=error)

    def _next_bundle(self) -> None:
        fetched = self.streams.fetch(self._portals, self._done)
        self._done = []  # deleted, or read again by the process that holds the door now
        self.trouble, self._errors = None, 0
        self._holds = fetched is not None
        if fetched is not None and fetched.messages:
            self._record_entries(fetched)
        elif fetched is not None:
            self._wait_for_entry(fetched.readable)

    def _record_entries(self, fetched: FetchedEntries) -> None:
        """Records entries in a thread of its own, and renews the lease meanwhile."""
        bundle = Bundle(fetched.messages)
        recording = self._recorder.submit(self._record, bundle)
        self._tell()
        while not wait([recording], RENEW_SECONDS).done:
            self.turned_at = time.monotonic()
            self._renew()
        recording.result()  # raises what went wrong; the entries are read again
        self._done = list(fetched.places[: bundle.recorded])
        self._note_trouble(bundle, fetched.places)
        if bundle.recorded < len(bundle.messages) and bundle.left_for != REFUSED:
            self._rests_until = time.monotonic() + REST_SECONDS
        self._answers, self._recorded_at = bundle.answers, time.monotonic()

    def _note_trouble(self, bundle: Bundle, places: Sequence[StreamEntry]) -> None:
        """Notes an entry that was given back, or refused for a fault of the database, for the status to tell."""
        try:
            if bundle.fault is not None:
                self.streams.notes.note_at_fault(bundle.fault)
            elif bundle.left_for not in (None, STOPS):
                self.streams.notes.note_given_back(places[bundle.recorded].note, str(bundle.left_for))
        except redis.RedisError as error:
            SELDOM.warning("door.not_noted", queue="streams", error=error_code(error))

    def _tell(self) -> None:
        """Tells portals what became of the last bundle, while the next one is recorded or none waits."""
        answers, self._answers = self._answers, []
        tell_portals(answers)

    def _renew(self) -> None:
        """Renews the lease; a Redis that does not answer keeps no bundle from being recorded."""
        try:
            self.streams.lease.renew()
        except redis.RedisError as error:
            SELDOM.warning("streams.not_renewed", error=error_code(error))

    def _wait_for_entry(self, streams: Sequence[str]) -> None:
        """Waits inside Redis, for a second at most; where that is refused, this thread asks again and again."""
        self._tell()
        if not streams:
            STOPPING.wait(LOOK_SECONDS)
        elif not get_settings().redis_blocking or time.monotonic() < self._polls_until:
            STOPPING.wait(POLL_SECONDS)
        else:
            try:
                self.streams.wait(streams, WAIT_SECONDS)
                if time.monotonic() - self._recorded_at < BUSY_SECONDS:
                    time.sleep(GATHER_SECONDS)
            except redis.RedisError as error:
                self._polls_until = time.monotonic() + POLLING_SECONDS
                SELDOM.warning("redis.no_waiting", queue="streams", error=error_code(error))

    def _wait_out(self, error: redis.RedisError) -> None:
        """Waits before Redis is asked again, longer after each error in a row."""
        code = error_code(error)
        SELDOM.warning("redis.refuses", queue="streams", error=code)
        self.trouble = ConsumerTrouble(code, self.trouble.since if self.trouble else time.monotonic())
        self.streams.client.connection_pool.disconnect(inuse_connections=False)
        STOPPING.wait(min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(self._errors, 10)))
        self._errors += 1
