"""The watchdog: a process that lives and works no more says so in its heartbeat, and ends so that it is restarted.

What it holds is neither lost nor done twice by that: its leases run out, another process takes the rows, and the
fencing token of the claim keeps a thread that wakes up late from finishing them.
"""

import asyncio
import faulthandler
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sqlalchemy import text

from workers.database import fresh_connection, pool_is_full
from workers.engine.heartbeat import HEARTBEAT_SECONDS, RECORD_HEARTBEAT, Heartbeat
from workers.engine.stopping import STOPPING
from workers.logs import get_logger
from workers.settings import get_settings
from workers.signs import SIGNS

log = get_logger()

LONGEST_TURN: Final = 7.0
"""Seconds after which a thread that did not begin its next turn is named as stuck."""

LONGEST_BLOCK: Final = 5.0
"""Seconds after which an event loop that did not call back is named as blocked."""

TROUBLE_SECONDS: Final = 7.0
"""Seconds of errors of Redis after which a process says that it fetches nothing; a restart of Redis takes less."""

ENDS_AFTER: Final = 45.0
"""Seconds after which a process with a blocked event loop ends."""

HANGS_AFTER: Final = 150.0
"""Seconds after which a process ends because a reader is stuck, or work in it hangs.

A statement would have met its own limit before. So would a connection to Redis or a sentinel, but not the look for the
addresses of their names: a resolver that is away keeps each look for a minute.
"""

SHORTEST_LEASE: Final = 10.0
"""Seconds without a sign after which work is never named before, however short leases are."""

STOP_SECONDS: Final = 30.0
"""Seconds that a process that ends itself has to finish its other work, before it ends at once."""

LATE_HEARTBEAT: Final = 2.0
"""Seconds for which a heartbeat is not recorded, after which the database is asked over a connection of its own."""

DEAD_POOL_SECONDS: Final = 20.0
"""Seconds for which that connection works and no heartbeat is recorded, after which the process ends."""

SILENCE_SECONDS: Final = 60.0
"""Seconds after which a process ends in which no Python code runs, such as one that holds the interpreter's lock."""

ENDED_ITSELF: Final = 70
"""The exit code of a process that ends because it works no more (EX_SOFTWARE of sysexits.h)."""

THREAD_LOST, STUCK, LOOP_BLOCKED, WORK_HANGS, DEAD_CONNECTIONS = (
    *("thread_lost", "stuck", "loop_blocked", "work_hangs", "dead_connections"),
)
"""The words for what keeps a process from working; any other word is the code of an error of Redis."""

OWN_TROUBLES: Final = (THREAD_LOST, STUCK, LOOP_BLOCKED, WORK_HANGS, DEAD_CONNECTIONS)


class Ailment(NamedTuple):
    """A state of a part of the process that may keep the process from working.

    Parameters:
      code: one of ``OWN_TROUBLES``, or the code of an error of Redis.
      seconds: for how long it has lasted.
      named: seconds after which the heartbeat tells of it.
      ends: seconds after which the process ends itself.
      who: the thread it is about, for the log.
    """

    code: str
    seconds: float
    named: float
    ends: float = math.inf
    who: str = ""


# Tells that the database works.
ASK_DATABASE = text("SELECT 1")

Check = Callable[[], Iterable[Ailment]]
"""A look at a part of the process; it returns what may ail it."""


def end_at_once() -> None:
    """Ends this process without waiting for anything; its leases run out, and other processes go on with its work."""
    os._exit(ENDED_ITSELF)


def ask_to_stop() -> None:
    """Asks this process to stop: it finishes what it holds, and its supervisor starts another."""
    os.kill(os.getpid(), signal.SIGTERM)


class ProcessWatch:
    """Looks at the parts of this process with each heartbeat, and ends the process when one of them works no more.

    A process that was frozen, or could not reach the database, finds all its threads late when it goes on: what lasts
    is counted from then. Its mailers wait with what a relay has accepted until the database records it, however long
    that takes: a process that ended meanwhile would send it again.

    Parameters:
      checks: the looks at its parts.
    """

    def __init__(self, *checks: Check) -> None:
        self.checks = [*checks, find_hanging]
        self._looked_at = self._awake_since = time.monotonic()
        self._ended_at: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether this process ends because it works no more, with ``ENDED_ITSELF``."""
        return self._ended_at is not None

    def look(self) -> str | None:
        """Returns why this process does not work, or None; ends it when that has lasted for too long."""
        now = time.monotonic()
        if now - self._looked_at > 2 * HEARTBEAT_SECONDS + 1:
            self._awake_since = now
        self._looked_at = now
        found = [self._since_awake(one, now) for check in self.checks for one in check()]
        if self._ended_at is not None:
            if now - self._ended_at > STOP_SECONDS:
                end_at_once()
        elif STOPPING.is_set():  # read after the looks: the threads of a stopping process end
            return None
        else:
            self._end_for(next((one for one in found if one.seconds >= one.ends), None), now)
        return next((one.code for one in found if one.seconds >= one.named), None)

    def wait_for_database(self) -> None:
        """Counts what lasts from now on: the database does not record this heartbeat, so work waits for it too."""
        self._awake_since = time.monotonic()

    def _since_awake(self, one: Ailment, now: float) -> Ailment:
        return one._replace(seconds=min(one.seconds, now - self._awake_since))

    def _end_for(self, one: Ailment | None, now: float) -> None:
        if one is None:
            return
        log.critical("process.ends_itself", reason=one.code, thread=one.who, seconds=round(one.seconds))
        self._ended_at = now
        ask_to_stop()


def find_hanging() -> Iterable[Ailment]:
    """Yields the thread at work that has given no sign for longest."""
    sign = SIGNS.oldest()
    if sign is not None:
        named = max(get_settings().lease_seconds, SHORTEST_LEASE)
        yield Ailment(WORK_HANGS, time.monotonic() - sign.at, named, max(HANGS_AFTER, 2 * named), sign.work)


def lost(threads: dict[str, threading.Thread | None]) -> Iterable[Ailment]:
    """Yields the threads that are dead; those that were not started are not."""
    dead = [name for name, thread in threads.items() if thread is not None and not thread.is_alive()]
    return [Ailment(THREAD_LOST, 0.0, 0.0, 0.0, name) for name in dead]


class LoopWatch:
    """Asks an event loop to call back, and tells for how long it has not.

    Parameters:
      loop: the loop; a thread of it blocks when a function of it does not return.
      name: its name, for the log.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str = "event loop") -> None:
        self._loop = loop
        self._name = name
        self._asked_at: float | None = None

    def __call__(self) -> Iterable[Ailment]:
        """Yields the loop if it has not called back yet; else asks it again."""
        asked_at, now = self._asked_at, time.monotonic()
        if asked_at is not None:
            yield Ailment(LOOP_BLOCKED, now - asked_at, LONGEST_BLOCK, ENDS_AFTER, self._name)
        elif not self._loop.is_closed():
            self._asked_at = now
            self._loop.call_soon_threadsafe(self._called)

    def _called(self) -> None:
        self._asked_at = None


class Turns:
    """The turns of a thread that does the same again and again; it is stuck in a turn that takes too long.

    Parameters:
      name: its name, for the log.
      ends: seconds after which the process ends.
    """

    def __init__(self, name: str, ends: float = ENDS_AFTER) -> None:
        self._name = name
        self._ends = ends
        self._begun_at: float | None = None

    def begin(self) -> None:
        """Begins a turn."""
        self._begun_at = time.monotonic()

    def rest(self) -> None:
        """Ends the turn: the thread waits for as long as it likes."""
        self._begun_at = None

    def __call__(self) -> Iterable[Ailment]:
        """Yields the turn that is under way."""
        if (begun_at := self._begun_at) is not None:
            yield Ailment(STUCK, time.monotonic() - begun_at, LONGEST_TURN, self._ends, self._name)


class SilenceTimer(threading.Thread):
    """Ends this process when no Python code runs in it any more.

    It does nothing else: what asks a server may wait for a minute, such as for a resolver of names that is away.
    """

    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(name="silence-timer", daemon=True)
        self._heartbeat = heartbeat

    def run(self) -> None:
        while not self._heartbeat.has_ended:
            # The interpreter need not run for this one: it writes where each thread is, and ends the process.
            faulthandler.dump_traceback_later(SILENCE_SECONDS, exit=True, file=2)
            self._heartbeat.wait(SILENCE_SECONDS / 6)
        faulthandler.cancel_dump_traceback_later()


class HeartbeatGuard(threading.Thread):
    """Ends this process when its heartbeat is not recorded although the database works.

    The heartbeat uses the pool of connections that all work uses, so connections that are dead and not noticed keep
    both from going on. This thread asks over a connection of its own whether the database works; while it does not, the
    process waits for it. Connections that are all in use are not dead, as long as the database answers some of them.
    """

    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(name="heartbeat-guard", daemon=True)
        self._heartbeat = heartbeat
        self._looked_at = time.monotonic()
        self._dead_since: float | None = None

    def start(self) -> None:
        """Starts this thread, and the one that ends the process when no Python code runs any more."""
        SilenceTimer(self._heartbeat).start()
        super().start()

    def run(self) -> None:
        while not self._heartbeat.has_ended:
            self.look()
            self._heartbeat.wait(HEARTBEAT_SECONDS)

    def look(self) -> None:
        """Looks at the heartbeat once; ends the process when its connections have been dead for too long."""
        now = time.monotonic()
        paused, self._looked_at = now - self._looked_at > 3 * HEARTBEAT_SECONDS, now
        if paused or not self._is_late(now) or not self._reach_database():
            self._dead_since = None
        elif self._dead_since is None:  # a database that has just come back has no heartbeat yet
            self._dead_since = now
        elif now - self._dead_since > DEAD_POOL_SECONDS:
            log.critical("process.ends_itself", reason=DEAD_CONNECTIONS, seconds=round(now - self._dead_since))
            end_at_once()

    def _is_late(self, now: float) -> bool:
        """Tells whether the heartbeat waits for its connection, or has not come to that for very long."""
        since = self._heartbeat.unrecorded_since
        if pool_is_full() and now - SIGNS.heard_at < DEAD_POOL_SECONDS:
            return False
        return (since is not None and now - since > LATE_HEARTBEAT) or now - self._heartbeat.beaten_at > HANGS_AFTER

    def _reach_database(self) -> bool:
        """Asks the database over a connection of its own; returns False when it is away.

        The second time in a row it records what ails this process.
        """
        try:
            with fresh_connection() as session:
                if self._dead_since is None:
                    session.execute(ASK_DATABASE)
                else:
                    session.execute(RECORD_HEARTBEAT, self._heartbeat.parameters(DEAD_CONNECTIONS))
        except Exception as error:  # noqa: BLE001 - whatever it is, the database is no use now
            log.warning("process.not_recorded", error=type(error).__name__)
            return False
        return True


__all__ = [
    "DEAD_CONNECTIONS",
    "ENDED_ITSELF",
    "LOOP_BLOCKED",
    "OWN_TROUBLES",
    "STUCK",
    "THREAD_LOST",
    "WORK_HANGS",
    "Ailment",
    "HeartbeatGuard",
    "LoopWatch",
    "ProcessWatch",
    "Turns",
    "lost",
]
