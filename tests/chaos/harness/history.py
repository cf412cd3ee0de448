"""The history of a run: every request, answer, fault and sample with its time, one JSON object per line."""

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class History:
    """Events in the order in which they were recorded; each is in the file before `add` returns.

    Parameters:
      path: the file, which must not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._file = path.open("x", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    @property
    def now(self) -> float:
        """The seconds since the history began."""
        return time.monotonic() - self._began

    def add(self, event: str, **facts: Any) -> None:
        """Records an event with its time."""
        with self._lock:
            entry = {"at": round(self.now, 3), "event": event, **facts}
            self.events.append(entry)
            self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    def of(self, event: str) -> list[dict[str, Any]]:
        """Returns the events of one kind."""
        with self._lock:
            return [entry for entry in self.events if entry["event"] == event]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_history(path: Path) -> list[dict[str, Any]]:
    """Reads the events of an earlier run."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def digest(answer: Mapping[str, Any]) -> str:
    """Returns a short mark of an answer: equal answers have the same one."""
    written = json.dumps(answer, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:16]
