"""The signs that this process is asked to stop, or to take nothing new."""

import threading
from typing import Final

STOPPING: Final = threading.Event()
"""Set when this process is asked to stop; read between batches, chunks and mails, and before a wait."""

DRAINING: Final = threading.Event()
"""Set while an operator lets this process take nothing new: it finishes what it holds, and goes on to live."""

DRAINED_WAIT: Final = 0.5
"""Seconds between two looks of a thread that takes nothing new whether it may again."""
