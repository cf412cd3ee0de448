"""Makes files that may take long, such as the rows to correct of a large roster: few at once, apart from other reads.

Among the reads of all portals, eight of them would keep every portal waiting until they are made.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from anyio import CapacityLimiter, to_thread

from models.words import Code
from workers.api.problems import ApiProblem

MOST_FILES: Final = 2
"""The most files that one process makes at once."""

MOST_OF_PORTAL: Final = 1
"""The most of these of one portal."""

RETRY_SECONDS: Final = 5

T = TypeVar("T")


class FileMaker:
    """Makes the files of one process, in threads of their own."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(MOST_FILES)
        self._making: Counter[UUID] = Counter()

    async def make(self, portal_id: UUID, function: Callable[[], T]) -> T:
        """Calls a function that makes a file for a portal.

        Raises: ApiProblem with `unavailable` while others are being made.
        """
        if self._making.total() >= MOST_FILES or self._making[portal_id] >= MOST_OF_PORTAL:
            detail = "other files are being made: ask again"
            raise ApiProblem(Code.UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_SECONDS)})
        self._making[portal_id] += 1
        try:
            return await to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._making[portal_id] -= 1
