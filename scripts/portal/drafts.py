"""Keeps the people of forms while their jobs are under way: a form that is refused is shown again as it was typed."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from scripts.portal.persons import TypedPerson

MOST_DRAFTS: Final = 1_000
"""Forms that are kept; the oldest go first, and all of them with the process."""


class Drafts:
    """The people of the latest forms, by the jobs that enrol them; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[UUID, tuple[TypedPerson, ...]] = OrderedDict()

    def keep(self, job_id: UUID, people: Sequence[TypedPerson]) -> None:
        """Keeps the people of a form, in the order of its request."""
        with self._lock:
            self._kept[job_id] = tuple(people)
            self._kept.move_to_end(job_id)
            while len(self._kept) > MOST_DRAFTS:
                self._kept.popitem(last=False)

    def read(self, job_id: UUID, number: int) -> Sequence[TypedPerson]:
        """Returns the people of a form; empty ones when they are kept no longer.

        Parameters:
          number: of the people in the request.
        """
        with self._lock:
            kept = self._kept.get(job_id, ())
        return kept if len(kept) == number else (TypedPerson("", "", ""),) * number
