"""Jobs that enrol people: from claimed rows to results, in one transaction or, for the largest, chunk by chunk."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from models.person import Person
from models.words import DONE_CODES, Code, EmailKind, JobState, Policy
from workers.database import Session
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import (
    count_codes,
    count_hints,
    insert_people,
    one_or_none,
    read_hints,
    read_positions,
    record_people,
)
from workers.enrollment.contracts import LockedContract
from workers.enrollment.enrolling import EnrollmentAnswer, EnrollmentOrder, check_people, enroll
from workers.outbox.mails import OwedMail, owe
from workers.requests.enrollment import Enroll
from workers.requests.queues import URGENT_MAILS, Queue
from workers.requests.registry import parse

CHUNK: Final = 1_000
"""People per transaction when a request may be done in chunks: short locks, steady progress."""


def enroll_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `enroll` jobs, each by its own policy, in ledger order; returns their outcomes."""
    orders = []
    for row in rows:
        request = read_request(row)
        urgent = len(request.people) <= URGENT_MAILS
        orders.append(EnrollmentOrder(row.id, row.columns.portal_id, request, check_people(request), urgent=urgent))
    answers = enroll(session, orders)
    record_people(session, [(answer.order.job_id, answer.people) for answer in answers])
    _owe_reports(session, answers)
    return [_outcome(row, answer) for row, answer in zip(rows, answers, strict=True)]


def read_request(row: ClaimedRow) -> Enroll:
    """Returns the request of a claimed job, as it was accepted."""
    return cast("Enroll", parse(row.columns.kind, row.columns.request))


def in_chunks(request: Enroll) -> bool:
    """Tells whether a large request may be done in chunks: only under the policy `until_full`, and not as a dry run."""
    return len(request.people) > CHUNK and request.policy is Policy.UNTIL_FULL and not request.dry_run


@dataclass(frozen=True, slots=True)
class ChunkedEnrollment:
    """A large request between two of its chunks.

    Parameters:
      position: people done; also kept in the job, moved in each chunk's transaction.
      taken: addresses accepted so far, each with its position.
    """

    row: ClaimedRow
    request: Enroll
    position: int
    taken: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether no person is left to do."""
        return self.position >= len(self.request.people)


def begin(session: Session, row: ClaimedRow) -> ChunkedEnrollment:
    """Takes up a large request where its last committed chunk left it."""
    request, position = read_request(row), row.columns.position
    if not position:
        return ChunkedEnrollment(row, request, position)
    done = read_positions(session, row.id, DONE_CODES)
    people = check_people(request, 0, position)
    taken = {p.email_norm: i for i, p in enumerate(people) if i in done and isinstance(p, Person)}
    return ChunkedEnrollment(row, request, position, taken)


def enroll_chunk(session: Session, done: ChunkedEnrollment) -> Chunk[ChunkedEnrollment]:
    """Enrols the people of the next chunk; the outcome comes with the last."""
    row, request, position = done.row, done.request, done.position
    people = check_people(request, position, position + CHUNK)
    order = EnrollmentOrder(row.id, row.columns.portal_id, request, people, position, done.taken)
    answer = enroll(session, [order])[0]
    insert_people(session, [(row.id, person) for person in answer.people])
    joined = {p.position: people[p.position - position] for p in answer.people if p.code in DONE_CODES}
    taken = {person.email_norm: place for place, person in joined.items() if isinstance(person, Person)}
    further = ChunkedEnrollment(row, request, position + len(people), {**done.taken, **taken})
    if not further.finished:
        return Chunk(further, further.position)
    _owe_reports(session, [answer])
    counts = count_codes(session, row.id)
    refused = not any(counts[code] for code in DONE_CODES)
    code = answer.code if refused else None
    result = summary(counts, answer.contract, dry_run=False, carried_out=code is None, code=code)
    result |= count_hints(one.detail for one in read_hints(session, row.id))
    outcome = WorkOutcome(row.id, row.claim, JobState.REFUSED if refused else JobState.SUCCEEDED, result)
    return Chunk(further, further.position, outcome)


def summary(
    counts: Mapping[Code, int], contract: LockedContract | None, *, dry_run: bool, carried_out: bool, code: Code | None
) -> dict[str, Any]:
    """Returns the result of a job as a whole, as JSON; the results per person stand beside it."""
    result: dict[str, Any] = {
        "counts": {code: number for code, number in counts.items() if number},
        "seats": counts.get(Code.ENROLLED, 0) + counts.get(Code.ATTACHED, 0),
        "carried_out": carried_out,
        "dry_run": dry_run,
    }
    if code is not None:
        result["code"] = code
    if contract is not None:
        result |= contract.counters
    return result


def opens(answer: EnrollmentAnswer) -> dict[str, str]:
    """Returns the part of a job's result that tells when a throttled request may be made again."""
    return {} if answer.opens is None else {"from": answer.opens.isoformat()}


def _outcome(row: ClaimedRow, answer: EnrollmentAnswer) -> WorkOutcome:
    counts = Counter(person.code for person in answer.people)
    result = summary(
        counts,
        answer.contract,
        dry_run=answer.order.request.dry_run,
        carried_out=answer.plan is not None and answer.plan.carried_out,
        code=answer.code,
    )
    result |= count_hints(person.detail for person in answer.people) | one_or_none(answer.people) | opens(answer)
    return WorkOutcome(row.id, row.claim, JobState.REFUSED if answer.refused else JobState.SUCCEEDED, result)


def _owe_reports(session: Session, answers: Sequence[EnrollmentAnswer]) -> None:
    """Owes one confirmation for each request that names an address for it; a dry run changed nothing and has none.

    Mails of one company share a lane; without a contract there is no company, and the portal stands for it.
    """
    reported = [(answer, request) for answer in answers if (request := _reported_request(answer)) is not None]
    owe(session, [_report(answer, request) for answer, request in reported])


def _reported_request(answer: EnrollmentAnswer) -> Enroll | None:
    request = cast("Enroll", answer.order.request)
    return request if request.report_to and not request.dry_run else None


def _report(answer: EnrollmentAnswer, request: Enroll) -> OwedMail:
    job_id, contract = answer.order.job_id, answer.contract
    return OwedMail(
        EmailKind.ENROLLMENT_REPORT,
        str(job_id),
        contract.company_id if contract else answer.order.portal_id,
        request.report_to or "",
        request.report_locale,
        Queue.EMAILS if len(request.people) <= URGENT_MAILS else Queue.EMAILS_BULK,
        job_id=job_id,
        contract_id=contract.id if contract else None,
    )
