"""The results of jobs about several people, with their names: what was done, and for whom not and why."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from scripts.portal.people import by_name
from scripts.portal.selections import SHOWN
from scripts.portal.visitors import Visitor
from workers.portal_client import Job, JobPerson, NotFound, Participant

NAMED: Final = 200
"""The names of so many people are asked for at once."""


class PersonOutcome(NamedTuple):
    """The result of one person.

    Parameters:
      person: the participant; None when the contract has none with this identifier any more.
      detail: what explains the code, such as since when.
    """

    person: Participant | None
    code: str
    detail: Mapping[str, Any]


class Outcome(NamedTuple):
    """The results of a job.

    Parameters:
      done, not_done: how many; people: as many of each as a page shows.
      refusal: the code of a job that was refused as a whole; empty for others.
    """

    done: int
    not_done: int
    done_people: Sequence[PersonOutcome]
    not_done_people: Sequence[PersonOutcome]
    refusal: str

    @property
    def tone(self) -> str:
        """`good` when all was done, `warn` when a part was, `bad` when nothing was."""
        if not self.done:
            return "bad"
        return "warn" if self.not_done else "good"

    @property
    def one(self) -> PersonOutcome | None:
        """The result of the only person, if there is one alone and their name is known."""
        people = [*self.done_people, *self.not_done_people]
        return people[0] if self.done + self.not_done == 1 and people and people[0].person else None


def read_job(visitor: Visitor, job_id: str, *kinds: str) -> Job:
    """Reads a job of one of these kinds.

    Raises: NotFound when the company has no such job; PortalError.
    """
    try:
        UUID(job_id)
    except ValueError:
        raise NotFound("not_found") from None
    job = visitor.portal.job(job_id)
    if job.kind not in kinds:
        raise NotFound("not_found")
    return job


def read_outcome(visitor: Visitor, action: str, job: Job, done_codes: Collection[str]) -> Outcome:
    """Reads the results of a job that has ended, and the names of the people that the page shows.

    Parameters:
      action: the word of `can` that the job is about.
      done_codes: the codes that mean that it was done.

    Raises: PortalError.
    """
    result = job.result
    counts = Counter({code: number for code, number in (result.counts or {}).items() if number})
    if not counts:
        counts = Counter(one.code for one in result.people)
    done = [one for one in result.people if one.code in done_codes][:SHOWN]
    not_done = list(islice(_not_done(visitor, job, counts, done_codes), SHOWN))
    names = _names(visitor, action, [one.enrollment_id for one in (*done, *not_done) if one.enrollment_id])
    number = sum(count for code, count in counts.items() if code in done_codes)
    return Outcome(
        number,
        counts.total() - number,
        _named(done, names),
        _named(not_done, names),
        (result.code or "") if job.state == "refused" and not counts else "",
    )


def _not_done(visitor: Visitor, job: Job, counts: Counter[str], done_codes: Collection[str]) -> Iterator[JobPerson]:
    """Yields the people for whom it was not done, who may be far behind the first results."""
    if job.result.people_next is None:
        yield from (one for one in job.result.people if one.code not in done_codes)
        return
    for code in counts:
        if code not in done_codes:
            yield from visitor.portal.people(job, code=code)


def _names(visitor: Visitor, action: str, ids: Sequence[UUID]) -> dict[UUID, Participant]:
    """Returns the participants of the contract among these enrollments, also those who left."""
    if not ids:
        return {}
    found = visitor.portal.selection(visitor.contract, action, ids[:NAMED], limit=NAMED)
    return {one.enrollment_id: one for part in (found.allowed, found.refused) for one in part.participants}


def _named(people: Sequence[JobPerson], names: Mapping[UUID, Participant]) -> list[PersonOutcome]:
    """Returns the results with the participants, by name; those without a known name come last."""
    found = [
        PersonOutcome(names.get(one.enrollment_id) if one.enrollment_id else None, one.code, one.detail or {})
        for one in people
    ]
    return sorted(found, key=lambda one: (one.person is None, by_name(one.person) if one.person else ("", "")))
