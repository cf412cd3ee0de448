"""The heartbeat of every dramatiq process, and its orderly stop after the work it is doing."""

import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from queue import PriorityQueue
from types import FrameType
from typing import Any, Final, NamedTuple
from uuid import UUID

import dramatiq
from sqlalchemy import text

from workers.database import autocommit, dispose_engine, is_transient
from workers.engine.broker import WakeBroker, wake
from workers.engine.claimer import STOPPING, this_process
from workers.engine.consumer import SteadyConsumer
from workers.engine.door import Bundle
from workers.engine.ledger import LEDGERS, Claimed, Ledger, resume
from workers.engine.rollout import this_release
from workers.engine.stream_door import StreamDoor
from workers.logs import get_logger
from workers.requests.base import REQUESTS_QUEUE
from workers.requests.queues import wake_actor

log = get_logger()

HEARTBEAT_SECONDS: Final = 2.0

LONGEST_TURN: Final = 60.0
"""Seconds after which a consumer that did not ask for a message is stuck; the longest wait for Redis is a third."""

TROUBLE_SECONDS: Final = 10.0
"""Seconds of errors of Redis after which a process says that it fetches nothing; a restart of Redis takes less."""

STOP_SECONDS: Final = 60.0
"""Seconds that a process that lost a thread has to finish its work, before it ends at once."""

RESUMED_AT_ONCE: Final = 1_000
"""The most postponed rows that a statement makes due."""

LAST_WAIT: Final = 0.05
"""The longest wait of a thread for a message once its process is asked to stop, in seconds."""

LOST_THREAD: Final = 70
"""The exit code of a process that ends because one of its threads is dead (EX_SOFTWARE of sysexits.h)."""

# Records that this process is alive now.
RECORD_HEARTBEAT = text("""
    INSERT INTO process (id, kind, host, pid, release, trouble, circuit_until, circuit_reason)
    VALUES (:id, :kind, :host, :pid, :release, :trouble,
      now() + make_interval(secs => CAST(:circuit_seconds AS float8)), :circuit_reason)
    ON CONFLICT (id) DO UPDATE SET seen_at = now(), trouble = excluded.trouble,
      circuit_until = excluded.circuit_until, circuit_reason = excluded.circuit_reason""")

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
      kind: the role of the process (`clock`, or the names of its queues).
      beat: a function called before each heartbeat; it returns the reason why this process fetches no work, or None.
        Its errors are logged, and this heartbeat is left out.
    """

    def __init__(self, process: UUID, kind: str, beat: Callable[[], str | None] = lambda: None) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.row = {
            "id": process,
            "kind": kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "release": this_release(),
        }
        self.beat = beat
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self._say(RECORD_HEARTBEAT, {"trouble": self.beat()} | CIRCUIT.as_parameters())
            except Exception as error:  # the outermost edge: this thread lives as long as its process
                log.exception("process.not_alive", exc_info=error)
            self._end.wait(HEARTBEAT_SECONDS)

    def leave(self) -> None:
        """Ends the heartbeat and removes this process from the list, because it stops on purpose."""
        self._end.set()
        self.join(timeout=10)
        self._say(DELETE_PROCESS, {})

    def _say(self, statement: Any, more: Mapping[str, float | str | None]) -> None:
        try:
            with autocommit() as session:
                session.execute(statement, {**self.row, **more})
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("process.not_recorded", exc_info=error)


def resume_postponed(queues: Sequence[str]) -> None:
    """Ends the pauses of postponed work when this process starts: it may have the setting or the code it lacked.

    It commits after each thousand, so that it holds no lock for long.
    """
    try:
        for ledger in LEDGERS:
            for queue in queues:
                _resume_queue(ledger, queue)
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("postponed.not_resumed", exc_info=error)


def _resume_queue(ledger: Ledger[Claimed], queue: str) -> None:
    after: datetime | None = None
    while True:
        with autocommit() as session:
            after = resume(session, ledger, queue, after=after, most=RESUMED_AT_ONCE)
        if after is None:
            return


def stop_once() -> None:
    """Makes this process ignore a second SIGTERM.

    Service managers send SIGTERM to every process of a service, and dramatiq's master also forwards its own. Dramatiq
    takes the second as "kill": the process would leave its work half-done and then wait for ever for its event loop.
    """
    stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop):
        return

    def stop_and_ignore_more(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop(number, frame)

    signal.signal(signal.SIGTERM, stop_and_ignore_more)


class WorkQueue(PriorityQueue[Any]):
    """The messages of this process that wait for a thread.

    Dramatiq's threads ask with a time limit of a second, only to see whether they are to end: each of them wakes up for
    that, and an idle process has many. In this queue they wait until a message comes or the process is asked to stop.
    """

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Removes and returns the next message; before the process stops it waits for one however long that takes.

        Raises: queue.Empty when there is none.
        """
        if block:
            with self.not_empty:
                self.not_empty.wait_for(lambda: self._qsize() > 0 or STOPPING.is_set())
        return super().get(block, LAST_WAIT if STOPPING.is_set() else timeout)

    def end_waits(self) -> None:
        """Lets every thread that waits see that the process is stopping."""
        with self.not_empty:
            self.not_empty.notify_all()


class WorkerWatch:
    """Watches the threads of a dramatiq worker, because a process that lost them would look alive.

    Parameters:
      worker: the worker of this process.
      streams: the thread that reads the streams of portals, if this process does.
    """

    def __init__(self, worker: Any, streams: StreamDoor | None = None) -> None:
        self._worker = worker
        self._streams = streams
        self._lost_at: float | None = None

    @property
    def lost(self) -> bool:
        """Whether a thread of this process died, so that it ends with ``LOST_THREAD``."""
        return self._lost_at is not None

    @property
    def in_trouble(self) -> bool:
        """Whether a consumer got an error the last time it asked Redis."""
        return any(getattr(thread.consumer, "trouble", None) for thread in self._worker.consumers.values())

    def look(self) -> str | None:
        """Ends this process when a thread is dead; else returns the reason why a queue is not read, or None."""
        dead = self._dead()
        if self._lost_at is not None:
            if time.monotonic() - self._lost_at > STOP_SECONDS:
                os._exit(LOST_THREAD)  # its leases run out, and other processes go on with its work
        elif dead and not STOPPING.is_set():  # read after the threads: those of a stopping process end
            log.critical("process.lost_threads", threads=dead)
            self._lost_at = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)  # it finishes what it holds, and its supervisor starts another
        readers = [*(thread.consumer for thread in self._worker.consumers.values()), self._streams]
        troubles = (_trouble(reader) for reader in readers)
        return next((trouble for trouble in troubles if trouble), None)

    def _dead(self) -> list[str]:
        threads = {f"consumer of {queue}": thread for queue, thread in self._worker.consumers.items()}
        threads |= {f"worker {number}": thread for number, thread in enumerate(self._worker.workers)}
        threads |= {"reader of streams": self._streams} if self._streams else {}
        return [name for name, thread in threads.items() if not thread.is_alive()]


def _trouble(reader: Any) -> str | None:
    """Returns the reason why a reader does not read its queue: the code of an error of Redis, or `stuck`."""
    if not isinstance(reader, SteadyConsumer | StreamDoor):
        return None
    now, trouble = time.monotonic(), reader.trouble
    if now - reader.turned_at > LONGEST_TURN:
        return "stuck"
    return trouble.code if trouble is not None and now - trouble.since > TROUBLE_SECONDS else None


class ProcessMiddleware(dramatiq.Middleware):
    """Starts and ends the resources of a dramatiq process, after the fork, so that processes share none.

    Parameters:
      record: records a bundle of requests, in a process that serves the queue of portals.
    """

    def __init__(self, record: Callable[[Bundle], None]) -> None:
        self._record = record
        self._alive: Heartbeat | None = None
        self._streams: StreamDoor | None = None
        self._watch: WorkerWatch | None = None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Gives the threads of this process, which start next, a queue in which they wait without waking up."""
        worker.work_queue = WorkQueue()

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        """Starts the heartbeat and wakes the queues, because work may have waited while no process listened."""
        stop_once()
        # Imported modules are never freed, and each collection over them costs small jobs a tenth of their time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        queues = sorted(worker.consumers)
        if REQUESTS_QUEUE in queues:
            self._streams = StreamDoor(self._record, str(this_process()))
            self._streams.start()
        watch = self._watch = WorkerWatch(worker, self._streams)

        def beat() -> str | None:
            trouble = watch.look()
            # A Redis that does not answer would delay the heartbeat in PostgreSQL by seconds.
            if isinstance(broker, WakeBroker) and not watch.in_trouble:
                broker.beat()
            return trouble

        self._alive = Heartbeat(this_process(), " ".join(queues), beat)
        self._alive.start()
        log.info("process.started", queues=queues, process=str(this_process()), python=sys.version.split()[0])
        resume_postponed(queues)
        for queue in queues:
            if wake_actor(queue) in broker.actors:
                wake(queue)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Tells claimers to stop after their present batch, chunk or mail, and threads that have none to end."""
        STOPPING.set()
        worker.work_queue.end_waits()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Ends the heartbeat and closes the connections to the database.

        Raises: SystemExit when the process ends because it lost a thread.
        """
        if self._streams is not None:
            self._streams.stop()
        if self._alive is not None:
            self._alive.leave()
        dispose_engine()
        log.info("process.stopped", process=str(this_process()))
        if self._watch is not None and self._watch.lost:
            sys.exit(LOST_THREAD)
