"""Keeps the people of forms while their jobs are under way: a form that is refused is shown again as it was typed."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from scripts.portal.persons import TypedPerson

MOST_DRAFTS: Final = 1_000
"""Forms that are kept; the oldest go first, and all of them with the process."""

MOST_CHARACTERS: Final = 10_000_000
"""Characters of all of them together: one form may have a million."""


class Draft(NamedTuple):
    """The people of a form, and the contract on which it enrols them."""

    contract: str
    people: tuple[TypedPerson, ...]

    @property
    def characters(self) -> int:
        """The characters that were typed."""
        return sum(len(text) for person in self.people for text in person)


class Drafts:
    """The people of the latest forms, by the jobs that enrol them; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[UUID, Draft] = OrderedDict()
        self._characters = 0

    def keep(self, job_id: UUID, contract: str, people: Sequence[TypedPerson]) -> None:
        """Keeps the people of a form, in the order of its request."""
        with self._lock:
            if job_id in self._kept:
                self._characters -= self._kept.pop(job_id).characters
            draft = self._kept[job_id] = Draft(contract, tuple(people))
            self._characters += draft.characters
            while len(self._kept) > MOST_DRAFTS or self._characters > MOST_CHARACTERS:
                self._characters -= self._kept.popitem(last=False)[1].characters

    def read(self, job_id: UUID, number: int) -> Sequence[TypedPerson]:
        """Returns the people of a form; empty ones when they are kept no longer.

        Parameters:
          number: of the people in the request.
        """
        with self._lock:
            draft = self._kept.get(job_id)
        kept = () if draft is None else draft.people
        return kept if len(kept) == number else (TypedPerson("", "", ""),) * number

    def contract_of(self, job_id: UUID) -> str | None:
        """Returns the contract of a form; None when it is kept no longer."""
        with self._lock:
            draft = self._kept.get(job_id)
        return None if draft is None else draft.contract
