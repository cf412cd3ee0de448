"""A worker of which one part works no more soon after its start, as ``LOSES`` says.

`consumer` and `worker` are threads that end by an exception; `blocked` a consumer that never comes back from a turn;
`loop` an event loop that is blocked; `claimers` threads that hang with what they claimed; `interpreter` its lock, so
that no other Python code runs. ``ENDS`` are the seconds after which the worker ends itself, in place of the usual ones.
"""

import ctypes
import os
import threading
from typing import Any

import dramatiq
from dramatiq.asyncio import get_event_loop_thread

from workers.engine import processes, watchdog
from workers.engine.claimer import BatchRun
from workers.engine.consumer import SteadyConsumer
from workers.main import broker

LOSES = os.environ.get("LOSES", "")
ENDS = float(os.environ.get("ENDS", "0"))


def hang(*_: Any) -> Any:
    """Does not come back."""
    threading.Event().wait()


def hold_interpreter() -> None:
    """Keeps the interpreter's lock for good, once the guard of the heartbeat has set its timer."""
    while not any(thread.name == "heartbeat-guard" for thread in threading.enumerate()):
        threading.Event().wait(0.1)
    threading.Event().wait(1.0)
    ctypes.PyDLL(None).sleep(1_000)


class Wound(dramatiq.Middleware):
    """Wounds the worker when it has started."""

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        threads = {"worker": worker.workers, "consumer": [*worker.consumers.values()]}
        if LOSES in threads:
            ident = threads[LOSES][0].ident
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
        elif LOSES == "blocked":
            setattr(SteadyConsumer, "_next", hang)  # noqa: B010 - mypy refuses the assignment
        elif LOSES == "loop":
            loop_thread = get_event_loop_thread()
            assert loop_thread is not None
            loop_thread.loop.call_soon_threadsafe(hang)
        elif LOSES == "interpreter":
            threading.Thread(target=hold_interpreter, daemon=True).start()


if LOSES == "claimers":
    setattr(BatchRun, "run", hang)  # noqa: B010 - mypy refuses the assignment
if ENDS:
    ends = dict.fromkeys(("ENDS_AFTER", "HANGS_AFTER", "DEAD_POOL_SECONDS", "SILENCE_SECONDS"), ENDS)
    for module in (processes, watchdog):
        vars(module).update(ends, SHORTEST_LEASE=2.0, STOP_SECONDS=2.0)
broker.add_middleware(Wound())
