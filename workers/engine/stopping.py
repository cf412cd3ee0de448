"""The sign that this process is asked to stop."""

import threading
from typing import Final

STOPPING: Final = threading.Event()
"""Set when this process is asked to stop; read between batches, chunks and mails, and before a wait."""
