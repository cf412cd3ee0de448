"""Reads what the database holds at the end of a run, in one snapshot, for the checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import psycopg

from tests.chaos.harness.portal import FINAL, Answer, as_answer
from tests.chaos.harness.system import Row
from workers.requests.registry import KINDS

READ_JOBS: Final = """
    SELECT j.id, j.kind, j.state, j.result, j.error ->> 'class' AS error, i.key, j.request, coalesce(
        (SELECT json_agg(json_build_object('position', p.position, 'code', p.code, 'account_id', p.account_id,
           'enrollment_id', p.enrollment_id) ORDER BY p.position) FROM job_person p WHERE p.job_id = j.id),
        j.result -> 'people') AS people
    FROM job j LEFT JOIN idempotency i ON i.job_id = j.id ORDER BY j.id"""

READ_CONTRACTS: Final = """
    SELECT c.reference, c.planned_seats, c.enrolled_count,
      (SELECT count(*) FROM enrollment e WHERE e.contract_id = c.id AND e.withdrawn_at IS NULL) AS live,
      (SELECT coalesce(sum(change), 0) FROM seat_movement m WHERE m.contract_id = c.id) AS moved
    FROM contract c ORDER BY c.reference"""
"""One statement, so one snapshot: the sampler reads it too, while the storm goes on."""

READ_ENROLLMENTS: Final = """
    SELECT e.id::text, c.reference AS contract, e.account_id::text, a.email_norm AS address, e.progress,
      e.time_spent_seconds AS seconds, e.score, e.withdrawn_at IS NOT NULL AS withdrawn
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a ON a.id = e.account_id ORDER BY e.id"""

READ_CERTIFICATES: Final = """
    SELECT k.id::text, k.enrollment_id::text, k.organisation_id::text AS organisation, k.number,
      k.replaced_by IS NULL AS in_force
    FROM certificate k ORDER BY k.number"""

READ_COUNTERS: Final = "SELECT organisation_id::text AS organisation, year, last FROM certificate_counter"

READ_DUPLICATES: Final = """
    SELECT certificate_id::text AS certificate, ordinal, job_id::text AS job, position FROM certificate_duplicate"""

READ_MAILS: Final = """
    SELECT id::text, kind, state, message_id, enrollment_id::text AS enrollment, job_id::text AS job,
      error ->> 'class' AS error, error ->> 'reason' AS reason FROM email ORDER BY id"""

READ_WEBHOOKS: Final = """
    SELECT id::text, event, resource, sequence, state FROM webhook ORDER BY resource, sequence"""

READ_UNFINISHED: Final = """
    SELECT 'job' AS ledger, id::text, queue, kind, state, failures, rescues, error ->> 'class' AS error,
      extract(epoch FROM due_at - now())::float8 AS due_in FROM job WHERE due_at IS NOT NULL OR leased_until IS NOT NULL
    UNION ALL
    SELECT 'email', id::text, queue, kind, state, failures, rescues, error ->> 'class',
      extract(epoch FROM due_at - now())::float8 FROM email WHERE due_at IS NOT NULL OR leased_until IS NOT NULL
    UNION ALL
    SELECT 'webhook', id::text, queue, event, state, failures, rescues, NULL,
      extract(epoch FROM due_at - now())::float8 FROM webhook WHERE due_at IS NOT NULL OR leased_until IS NOT NULL"""


@dataclass(frozen=True)
class LedgerJob:
    """A job of the ledger; `key` is None for one that no key leads to."""

    id: str
    key: str | None
    kind: str
    error: str | None
    request: Any
    answer: Answer

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        return self.answer.state in FINAL

    @property
    def external(self) -> bool:
        """Whether a portal may ask for this kind."""
        return self.kind in KINDS and not KINDS[self.kind].internal


@dataclass(frozen=True)
class Seats:
    """The seats of a contract: as sold, as counted, as enrolled, and as its history says."""

    reference: str
    planned_seats: int
    enrolled_count: int
    live: int
    moved: int

    @property
    def fault(self) -> str | None:
        """The sentence that says how the numbers differ, or None."""
        if not 0 <= self.live <= self.planned_seats:
            return f"{self.live} people on {self.planned_seats} seats"
        if not self.enrolled_count == self.live == self.moved:
            return f"{self.live} people, the counter says {self.enrolled_count}, the history {self.moved}"
        return None


@dataclass(frozen=True)
class HeldEnrollment:
    """An enrollment as the database has it."""

    id: str
    contract: str
    account_id: str
    address: str
    progress: str
    seconds: int
    score: float | None
    withdrawn: bool


@dataclass(frozen=True)
class HeldCertificate:
    """One version of a certificate."""

    id: str
    enrollment_id: str
    organisation: str
    number: str
    in_force: bool


@dataclass(frozen=True)
class Counter:
    """The last number that an organisation gave in a year."""

    organisation: str
    year: int
    last: int


@dataclass(frozen=True)
class HeldDuplicate:
    """A row of the register of duplicates."""

    certificate: str
    ordinal: int
    job: str
    position: int


@dataclass(frozen=True)
class OwedMailRow:
    """A mail of the outbox."""

    id: str
    kind: str
    state: str
    message_id: str
    enrollment: str | None
    job: str | None
    error: str | None
    reason: str | None


@dataclass(frozen=True)
class OwedWebhookRow:
    """An event that the portal is owed."""

    id: str
    event: str
    resource: str
    sequence: int
    state: str


@dataclass(frozen=True)
class UnfinishedRow:
    """A job, a mail or a webhook that still waits or runs."""

    ledger: str
    id: str
    queue: str
    kind: str
    state: str
    failures: int
    rescues: int
    error: str | None
    due_in: float | None


@dataclass(frozen=True)
class Evidence:
    """Everything that the checks compare with the history."""

    jobs: list[LedgerJob]
    seats: list[Seats]
    enrollments: list[HeldEnrollment]
    certificates: list[HeldCertificate]
    counters: list[Counter]
    duplicates: list[HeldDuplicate]
    mails: list[OwedMailRow]
    webhooks: list[OwedWebhookRow]
    unfinished: list[UnfinishedRow]

    @property
    def by_key(self) -> Mapping[str, LedgerJob]:
        """The job of each key."""
        return {job.key: job for job in self.jobs if job.key is not None}


RowType = TypeVar("RowType")


def read_evidence(connection: psycopg.Connection[Row]) -> Evidence:
    """Reads everything in the caller's transaction, which should be one snapshot."""

    def read(kind: type[RowType], statement: str) -> list[RowType]:
        return [kind(**row) for row in connection.execute(statement.encode())]

    jobs = [_job(row) for row in connection.execute(READ_JOBS.encode())]
    return Evidence(
        jobs=jobs,
        seats=read(Seats, READ_CONTRACTS),
        enrollments=read(HeldEnrollment, READ_ENROLLMENTS),
        certificates=read(HeldCertificate, READ_CERTIFICATES),
        counters=read(Counter, READ_COUNTERS),
        duplicates=read(HeldDuplicate, READ_DUPLICATES),
        mails=read(OwedMailRow, READ_MAILS),
        webhooks=read(OwedWebhookRow, READ_WEBHOOKS),
        unfinished=read(UnfinishedRow, READ_UNFINISHED),
    )


def _job(row: Row) -> LedgerJob:
    return LedgerJob(str(row["id"]), row["key"], row["kind"], row["error"], row["request"], as_answer(row))
