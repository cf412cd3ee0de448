"""The heartbeat of every dramatiq process, and its orderly stop after the work it is doing."""

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final
from uuid import UUID

import dramatiq
from sqlalchemy import text

from workers.database import dispose_engine, is_transient, transaction
from workers.engine.broker import WakeBroker, wake
from workers.engine.claimer import STOPPING, this_process
from workers.logs import get_logger
from workers.requests.queues import wake_actor

log = get_logger()

HEARTBEAT_SECONDS: Final = 2.0

# Records that this process is alive now.
RECORD_HEARTBEAT = text("""
    INSERT INTO process (id, kind, host, pid) VALUES (:id, :kind, :host, :pid)
    ON CONFLICT (id) DO UPDATE SET seen_at = now()""")

# Deletes the row of a process that ends in order.
DELETE_PROCESS = text("DELETE FROM process WHERE id = :id")


class Heartbeat(threading.Thread):
    """Records every two seconds that this process is alive.

    Parameters:
      kind: the role of the process (`clock`, or the names of its queues).
      beat: a function called at each heartbeat; its errors are logged.
    """

    def __init__(self, process: UUID, kind: str, beat: Callable[[], Any] = lambda: None) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.row = {"id": process, "kind": kind, "host": socket.gethostname(), "pid": os.getpid()}
        self.beat = beat
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self._say(RECORD_HEARTBEAT)
                self.beat()
            except Exception as error:  # the outermost edge: this thread lives as long as its process
                log.exception("process.not_alive", exc_info=error)
            self._end.wait(HEARTBEAT_SECONDS)

    def leave(self) -> None:
        """Ends the heartbeat and removes this process from the list, because it stops on purpose."""
        self._end.set()
        self.join(timeout=10)
        self._say(DELETE_PROCESS)

    def _say(self, statement: Any) -> None:
        try:
            with transaction() as session:
                session.execute(statement, self.row)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("process.not_recorded", exc_info=error)


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


class ProcessMiddleware(dramatiq.Middleware):
    """Starts and ends the resources of a dramatiq process, after the fork, so that processes share none."""

    def __init__(self) -> None:
        self._alive: Heartbeat | None = None

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        """Starts the heartbeat and wakes the queues, because work may have waited while no process listened."""
        stop_once()
        # Imported modules are never freed, and each collection over them costs small jobs a tenth of their time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        queues = sorted(worker.consumers)
        beat = broker.beat if isinstance(broker, WakeBroker) else lambda: None
        self._alive = Heartbeat(this_process(), " ".join(queues), beat)
        self._alive.start()
        log.info("process.started", queues=queues, process=str(this_process()), python=sys.version.split()[0])
        for queue in queues:
            if wake_actor(queue) in broker.actors:
                wake(queue)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Tells claimers to stop after their present batch, chunk or mail."""
        STOPPING.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:  # noqa: ARG002
        """Ends the heartbeat and closes the connections to the database."""
        if self._alive is not None:
            self._alive.leave()
        dispose_engine()
        log.info("process.stopped", process=str(this_process()))
