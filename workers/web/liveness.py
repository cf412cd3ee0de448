"""The heartbeat of the processes that answer HTTP: one with a loop that is blocked looks alive to its supervisor."""

import asyncio
from collections.abc import Callable

from workers.engine.claimer import this_process
from workers.engine.draining import Drain
from workers.engine.heartbeat import Heartbeat
from workers.engine.watchdog import HeartbeatGuard, LoopWatch, ProcessWatch
from workers.logs import get_logger

log = get_logger()


def begin_to_beat(kind: str, holds: Callable[[], bool]) -> Heartbeat:
    """Starts the heartbeat of this process, with a watch of the loop that runs.

    Parameters:
      kind: the role of the process, `web` or `ops`.
      holds: tells whether calls are being answered.
    """
    watch = ProcessWatch(LoopWatch(asyncio.get_running_loop()))
    alive = Heartbeat(this_process(), kind, watch.look, Drain(lambda _: holds()), watch.wait_for_database)
    alive.start()
    HeartbeatGuard(alive).start()
    log.info("process.started", queues=[kind], process=str(this_process()))
    return alive
