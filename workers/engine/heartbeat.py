"""The heartbeat of every process: a row that says that it lives, what ails it, and whether it takes nothing new."""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text

from workers.database import autocommit, is_transient
from workers.engine.draining import Drain, DrainOrder
from workers.engine.rollout import ALIVE_SECONDS, this_release
from workers.logs import get_logger
from workers.sql import fetch_one

log = get_logger()

HEARTBEAT_SECONDS: Final = 2.0

# Records that this process is alive now; returns whether an operator lets it take nothing new. It is not to stop before
# the others that are to stop with it hold nothing any more: the processes of a line stop together.
RECORD_HEARTBEAT = text("""
    INSERT INTO process AS pr (id, kind, host, pid, release, trouble, circuit_until, circuit_reason)
    VALUES (:id, :kind, :host, :pid, :release, :trouble,
      now() + make_interval(secs => CAST(:circuit_seconds AS float8)), :circuit_reason)
    ON CONFLICT (id) DO UPDATE SET seen_at = now(), trouble = excluded.trouble,
      circuit_until = excluded.circuit_until, circuit_reason = excluded.circuit_reason,
      drained_at = CASE WHEN pr.drain_asked_at IS NOT NULL AND CAST(:drained AS boolean)
        THEN coalesce(pr.drained_at, now()) END
    RETURNING drain_asked_at IS NOT NULL AS asked, drained_at IS NOT NULL AS drained,
      drain_stop AND NOT EXISTS (SELECT FROM process o
        WHERE o.host = pr.host AND o.kind = pr.kind AND o.id <> pr.id AND o.drain_stop AND o.drained_at IS NULL
          AND o.seen_at > now() - make_interval(secs => :alive)) AS stop""").bindparams(alive=ALIVE_SECONDS)

# Deletes the row of a process that ends in order.
DELETE_PROCESS = text("DELETE FROM process WHERE id = :id")


class OpenCircuit(NamedTuple):
    """A circuit breaker that is not closed: the seconds until mails may be sent again, and why, in a word."""

    seconds: float
    reason: str


class CircuitView:
    """The circuit breaker that the heartbeat of this process tells of: none until a mailer says how to look at it."""

    def __init__(self) -> None:
        self._look: Callable[[], OpenCircuit | None] = lambda: None

    def look_by(self, look: Callable[[], OpenCircuit | None]) -> None:
        """Lets heartbeats look by this function."""
        self._look = look

    def as_parameters(self) -> dict[str, float | str | None]:
        """Returns what a heartbeat records."""
        found = self._look()
        seconds, reason = (None, None) if found is None else found
        return {"circuit_seconds": seconds, "circuit_reason": reason}


CIRCUIT: Final = CircuitView()


class Heartbeat(threading.Thread):
    """Records every two seconds that this process is alive.

    Parameters:
      kind: the role of the process (`clock`, `web`, or the names of its queues).
      beat: a function called before each heartbeat; it returns the reason why this process does not work, or None. Its
        errors are logged, and this heartbeat is left out.
      drain: what this process does when an operator lets it take nothing new.
      missed: a function called when the database could not record a heartbeat.
    """

    def __init__(
        self,
        process: UUID,
        kind: str,
        beat: Callable[[], str | None] = lambda: None,
        drain: Drain | None = None,
        missed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.row = {
            "id": process,
            "kind": kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "release": this_release(),
        }
        self.beat = beat
        self.beaten_at = time.monotonic()
        """When a heartbeat was last recorded, by the monotonic clock."""
        self.unrecorded_since: float | None = None
        """Since when heartbeats cannot be recorded; None while the last one was, and while the next one is made."""
        self._missed = missed
        self._drain = drain or Drain()
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self._record()
            except Exception as error:  # the outermost edge: this thread lives as long as its process
                log.exception("process.not_alive", exc_info=error)
            self.wait(HEARTBEAT_SECONDS)

    @property
    def has_ended(self) -> bool:
        """Whether this process stops on purpose."""
        return self._end.is_set()

    def wait(self, seconds: float) -> None:
        """Waits for so long, or until this process stops on purpose."""
        self._end.wait(seconds)

    def leave(self) -> None:
        """Ends the heartbeat and removes this process from the list, because it stops on purpose."""
        self._end.set()
        self.join(timeout=10)
        self._say(DELETE_PROCESS, {})

    def parameters(self, trouble: str | None, *, drained: bool = False) -> dict[str, Any]:
        """Returns what ``RECORD_HEARTBEAT`` records."""
        return {**self.row, "trouble": trouble, "drained": drained, **CIRCUIT.as_parameters()}

    def _record(self) -> None:
        over = self._drain.is_over
        given = self.parameters(self.beat(), drained=over)
        self.unrecorded_since = self.unrecorded_since or time.monotonic()
        try:
            with autocommit() as session:
                order = fetch_one(session, DrainOrder, RECORD_HEARTBEAT, given)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("process.not_recorded", exc_info=error)
            self._missed()
            return
        self.beaten_at, self.unrecorded_since = time.monotonic(), None
        if order is not None:
            self._drain.follow(order)

    def _say(self, statement: TextClause, more: Mapping[str, float | str | None]) -> None:
        try:
            with autocommit() as session:
                session.execute(statement, {**self.row, **more})
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("process.not_recorded", exc_info=error)
