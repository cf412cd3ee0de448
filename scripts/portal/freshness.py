"""The latest webhook about each contract, so that an open page knows when it has become old."""

import threading
from collections import OrderedDict
from typing import Final

MOST_SEEN: Final = 10_000
"""The number of webhooks that are remembered, to skip those that come twice."""


class Freshness:
    """Counts what happened on each contract since the site was started; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: dict[str, int] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._all = 0

    def note(self, webhook_id: str, contract: str | None) -> bool:
        """Notes a webhook; one without a contract may concern any. Returns False for one that was seen before."""
        with self._lock:
            if webhook_id in self._seen:
                return False
            self._seen[webhook_id] = None
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
            if contract is None:
                self._all += 1
            else:
                self._changes[contract] = self._changes.get(contract, 0) + 1
            return True

    def version(self, contract: str) -> str:
        """Returns a text that changes whenever something happened on the contract."""
        with self._lock:
            return f"{self._changes.get(contract, 0)}.{self._all}"
