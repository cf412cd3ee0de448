"""A worker that loses a thread soon after its start: a consumer, or one that works, as ``LOSES`` says."""

import ctypes
import os
from typing import Any

import dramatiq

from workers.main import broker


class Wound(dramatiq.Middleware):
    """Ends a thread of the worker by an exception that nothing catches."""

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        threads = worker.workers if os.environ["LOSES"] == "worker" else [*worker.consumers.values()]
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threads[0].ident), ctypes.py_object(SystemExit))


broker.add_middleware(Wound())
