"""Starts and ends the parts of a dramatiq process beside its threads: its heartbeat, its watchdog, its orderly stop."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from queue import PriorityQueue
from types import FrameType
from typing import Any, Final

import dramatiq
from dramatiq.asyncio import get_event_loop_thread

from workers.database import autocommit, dispose_engine, is_transient
from workers.engine.broker import WakeBroker, wake
from workers.engine.claimer import IN_THIS_PROCESS, STOPPING, this_process
from workers.engine.consumer import SteadyConsumer
from workers.engine.door import Bundle
from workers.engine.draining import Drain
from workers.engine.heartbeat import Heartbeat
from workers.engine.ledger import LEDGERS, Claimed, Ledger, resume
from workers.engine.stream_door import StreamDoor
from workers.engine.watchdog import (
    ENDED_ITSELF,
    HANGS_AFTER,
    LONGEST_TURN,
    STUCK,
    TROUBLE_SECONDS,
    Ailment,
    HeartbeatGuard,
    LoopWatch,
    ProcessWatch,
    lost,
)
from workers.logs import get_logger
from workers.requests.base import REQUESTS_QUEUE
from workers.requests.queues import wake_actor

log = get_logger()

RESUMED_AT_ONCE: Final = 1_000
"""The most postponed rows that a statement makes due."""

LAST_WAIT: Final = 0.05
"""The longest wait of a thread for a message once its process is asked to stop, in seconds."""


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


class WorkerParts:
    """The parts of a dramatiq worker that may die, hang or hold work.

    Parameters:
      worker: the worker of this process.
      streams: the thread that reads the streams of portals, if this process does.
    """

    def __init__(self, worker: Any, streams: StreamDoor | None = None) -> None:
        self._worker = worker
        self._streams = streams

    @property
    def in_trouble(self) -> bool:
        """Whether a consumer got an error the last time it asked Redis."""
        return any(getattr(thread.consumer, "trouble", None) for thread in self._worker.consumers.values())

    def __call__(self) -> Iterable[Ailment]:
        """Yields the threads that are dead, and the readers that do not read."""
        threads = {f"consumer of {queue}": thread for queue, thread in self._worker.consumers.items()}
        threads |= {f"worker {number}": thread for number, thread in enumerate(self._worker.workers)}
        yield from lost(threads | {"reader of streams": self._streams, "event loop": get_event_loop_thread()})
        for name, reader in self._readers().items():
            yield from _ailments_of(reader, name)

    def hold_work(self, since: float) -> bool:
        """Tells whether work is held or may still be taken: each reader must have begun a turn since this moment."""
        readers = self._readers().values()
        claiming = any(claimer.is_claiming for claimer in IN_THIS_PROCESS.values())
        return (
            claiming
            or self._worker.work_queue.unfinished_tasks > 0
            or any(reader.turned_at <= since or reader.holds for reader in readers)
        )

    def _readers(self) -> dict[str, SteadyConsumer | StreamDoor]:
        found = {f"consumer of {queue}": thread.consumer for queue, thread in self._worker.consumers.items()}
        found["reader of streams"] = self._streams
        return {name: one for name, one in found.items() if isinstance(one, SteadyConsumer | StreamDoor)}


def _ailments_of(reader: SteadyConsumer | StreamDoor, name: str) -> Iterable[Ailment]:
    now, trouble = time.monotonic(), reader.trouble
    yield Ailment(STUCK, now - reader.turned_at, LONGEST_TURN, HANGS_AFTER, name)
    if trouble is not None:
        yield Ailment(trouble.code, now - trouble.since, TROUBLE_SECONDS, who=name)


class ProcessMiddleware(dramatiq.Middleware):
    """Starts and ends the resources of a dramatiq process, after the fork, so that processes share none.

    Parameters:
      record: records a bundle of requests, in a process that serves the queue of portals.
    """

    def __init__(self, record: Callable[[Bundle], None]) -> None:
        self._record = record
        self._alive: Heartbeat | None = None
        self._streams: StreamDoor | None = None
        self._watch: ProcessWatch | None = None

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
        self._begin_to_beat(broker, WorkerParts(worker, self._streams), " ".join(queues))
        log.info("process.started", queues=queues, process=str(this_process()), python=sys.version.split()[0])
        resume_postponed(queues)
        for queue in queues:
            if wake_actor(queue) in broker.actors:
                wake(queue)

    def _begin_to_beat(self, broker: dramatiq.Broker, parts: WorkerParts, kind: str) -> None:
        watch = self._watch = ProcessWatch(parts)
        if (loop_thread := get_event_loop_thread()) is not None:
            watch.checks.append(LoopWatch(loop_thread.loop))

        def beat() -> str | None:
            trouble = watch.look()
            # A Redis that does not answer would delay the heartbeat in PostgreSQL.
            if isinstance(broker, WakeBroker) and not parts.in_trouble:
                broker.beat()
            return trouble

        self._alive = Heartbeat(this_process(), kind, beat, Drain(parts.hold_work), watch.wait_for_database)
        self._alive.start()
        HeartbeatGuard(self._alive).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Tells claimers to stop after their present batch, chunk or mail, and threads that have none to end."""
        STOPPING.set()
        worker.work_queue.end_waits()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Ends the heartbeat and closes the connections to the database.

        Raises: SystemExit when the process ends because it works no more.
        """
        if self._streams is not None:
            self._streams.stop()
        if self._alive is not None:
            self._alive.leave()
        dispose_engine()
        log.info("process.stopped", process=str(this_process()))
        if self._watch is not None and self._watch.has_ended:
            sys.exit(ENDED_ITSELF)
