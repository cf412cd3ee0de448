"""One participant of the contract that is shown, read for a page about them."""

from uuid import UUID

from scripts.portal.visitors import Visitor
from workers.portal_client import Job, JobPerson, NotFound, Participant


def read_person(visitor: Visitor, enrollment_id: UUID) -> Participant:
    """Reads a participant of the contract that is shown, also one who left it.

    Raises: NotFound for one of another contract; PortalError.
    """
    person = visitor.portal.participant(enrollment_id)
    if person.contract != visitor.contract:
        raise NotFound("not_found")
    return person


def full_name(person: Participant) -> str:
    """Returns the first and the last name."""
    return f"{person.first_name} {person.last_name}"


def by_name(person: Participant) -> tuple[str, str]:
    """Returns what people are sorted by, so that a manager finds them."""
    return person.last_name.casefold(), person.first_name.casefold()


def result_of(job: Job, enrollment_id: UUID) -> JobPerson:
    """Returns the result of the one person that a job is about.

    Raises: NotFound when it is about another one.
    """
    people = job.result.people
    if not people or people[0].enrollment_id != enrollment_id:
        raise NotFound("not_found")
    return people[0]
