"""A job is a request recorded in the ledger, with its results per person, failed attempts, retries and key."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Identity, Index, LargeBinary, Text, text
from sqlmodel import Field

from models.base import HOT_TABLE, OwedWork, Record, instant, new_id
from models.words import JobState, StoredWord

WAITING = text("due_at IS NOT NULL AND leased_until IS NULL")
RUNNING = text("leased_until IS NOT NULL")
POSTPONED = text("postponements > 0 AND due_at IS NOT NULL AND leased_until IS NULL")

WAITING_IN_TIME: Final = "due_at IS NOT NULL AND leased_until IS NULL AND claim >= 0"
"""The condition of waiting work in the statements that read it by its due time.

``claim >= 0`` is always true. It is there because the statements that claim work do not say it: PostgreSQL cannot use
an index with this condition for them. With few statistics it might prefer that index to the one that is in the order
of lanes, and read a whole queue for each lane.
"""

ENDED_IN_TIME: Final = "finished_at IS NOT NULL AND claim >= 0"
"""The condition of ended work in the statements that read it by the time of its end; no others may use that index."""

DEFERRED: Final = "due_at > created_at AND leased_until IS NULL"
"""The condition of waiting work that is due later than it was recorded: it was set back, or is to begin later."""


def error_part(name: str) -> str:
    """Returns the SQL value of a member of the column ``error``, cut to 80 characters; empty when there is none.

    It is cut out of the text, because the json operators of PostgreSQL fail on a U+0000 anywhere in it.
    """
    return f"""left(coalesce(substring(error::text, '"{name}" ?: ?"([^"]*)"'), ''), 80)"""


ERROR_CLASS: Final = error_part("class")
ERROR_REASON: Final = error_part("reason")

STUCK_JOBS: Final = f"state IN ('{JobState.DEAD}') AND dismissed_at IS NULL"
"""The condition of jobs that ended without success, and that no operator has dismissed."""


def indexes_for_operators(table: str, stuck: str) -> tuple[Index, ...]:
    """Returns the indexes by which operators see what waits and what went wrong, without reading the whole table.

    Most rows are in none of them but the first, and in that only until they are claimed, and the last, once they ended.
    The others begin with what work has in common that met the same error.

    Parameters:
      stuck: the SQL condition of rows that ended without success; it begins with their states.
    """
    error = (text(ERROR_CLASS), text(ERROR_REASON))
    return (
        Index(f"ix_{table}_due", "queue", "due_at", postgresql_where=text(WAITING_IN_TIME)),
        Index(f"ix_{table}_deferred", "queue", *error, "created_at", "id", postgresql_where=text(DEFERRED)),
        Index(f"ix_{table}_gave_up", "state", "queue", *error, "finished_at", "id", postgresql_where=text(stuck)),
        Index(
            *(f"ix_{table}_of_trouble", "trouble", "queue", "kind", "finished_at", "id"),
            postgresql_where=text(f"{stuck} AND trouble IS NOT NULL"),
        ),
        Index(f"ix_{table}_finished_at", "finished_at", postgresql_where=text(ENDED_IN_TIME)),
    )


def states(words: type[StoredWord]) -> str:
    """Returns the states as an SQL list, for a check constraint."""
    return ", ".join(f"'{word}'" for word in words)


class Job(OwedWork, table=True):
    """One request: a promise made to the portal that sent it.

    ``request`` is `json`, not `jsonb`: a hostile name may hold U+0000, which `jsonb` cannot store, and nothing that was
    accepted may be lost or altered. ``message`` keeps the bytes of a queue message that could not be read.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"state IN ({states(JobState)})", name="state"),
        Index("ix_job_waiting", "queue", "lane", "sequence_number", "id", postgresql_where=WAITING),
        Index("ix_job_running", "queue", "lane", postgresql_where=RUNNING),
        Index("ix_job_postponed", "queue", "lane", "due_at", postgresql_where=POSTPONED),
        Index("ix_job_searched", "portal_id", "kind", "state", "created_at", "id"),
        Index("ix_job_portal_id", "portal_id", "id"),  # the jobs of a portal, the latest first
        *indexes_for_operators("job", STUCK_JOBS),
        Index(
            "ix_job_reconciled",
            "finished_at",
            postgresql_where=text("kind = 'reconcile_seats' AND state = 'succeeded'"),
        ),
        HOT_TABLE,
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    kind: str
    version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})  # of the kind, as it was sent
    sequence_number: int | None = Field(  # the order of the jobs of a lane: the order in which they were recorded
        default=None, sa_type=BigInteger, nullable=False, sa_column_args=[Identity()]
    )
    state: str = JobState.QUEUED
    request: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    message: bytes | None = Field(default=None, sa_type=LargeBinary)
    position: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # people done so far, by chunks
    result: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    error: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    trouble: str | None = Field(default=None, sa_type=Text)  # of the last failure (``models.trouble``)
    requested_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    dismissed_at: datetime | None = instant(nullable=True)  # an operator said that it is no problem


class JobPerson(Record, table=True):
    """The result of one person of a job; the result of a one-person job is in the job itself."""

    __tablename__ = "job_person"

    job_id: UUID = Field(primary_key=True)
    position: int = Field(primary_key=True)  # 0-based, as in the request
    code: str
    field: str | None = None
    account_id: UUID | None = None
    enrollment_id: UUID | None = None
    detail: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # facts that explain the code


class JobAddress(Record, table=True):
    """An address that was typed in a request, as a keyed hash: its jobs are found by it, also those that were refused.

    It is deleted with the request. Requests about more than a thousand people, and files, have none.
    """

    __tablename__ = "job_address"

    token: UUID = Field(primary_key=True)
    job_id: UUID = Field(primary_key=True)


class JobAttempt(Record, table=True):
    """A failed attempt at a job or a mail, with its error, or a run of equal postponements; a success needs no row."""

    __tablename__ = "job_attempt"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    ledger: str  # `job` or `email`: the table `row_id` is in
    row_id: UUID = Field(index=True)
    claim: int
    outcome: str  # retry, postponed, uncertain, dead, rescued; overdue: rescued, and its worker came back
    error: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    worker: UUID | None = None
    created_at: datetime = instant(default_now=True)
    times: int = Field(default=1, sa_column_kwargs={"server_default": "1"})  # postponements that this row stands for
    last_at: datetime | None = instant(nullable=True)  # the last of several postponements


class Idempotency(Record, table=True):
    """An idempotency key of a portal, and the job that has it; kept for 90 days."""

    __tablename__ = "idempotency"

    portal_id: UUID = Field(foreign_key="portal.id", primary_key=True)
    key: str = Field(primary_key=True)
    request_hash: bytes = Field(sa_type=LargeBinary)  # SHA-256 of kind, version and canonical JSON
    job_id: UUID = Field(index=True)  # what a webhook tells of a job names its key
    created_at: datetime = instant(default_now=True)
    # True: the hash also tells a field that was sent with its default from one that was left out.
    exact: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


_MOST_DOUBLINGS: Final = 64  # every pause is at its longest by then; a thousand doublings would overflow a float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The number of attempts at failing work, and the pauses between them.

    Parameters:
      max_attempts: failures after which the work is dead.
      first_seconds: the pause after the first failure; each further one doubles it.
      longest_seconds: the longest pause.
    """

    max_attempts: int = 8
    first_seconds: float = 2.0
    longest_seconds: float = 3_600.0

    def seconds_after(self, failures: int, jitter: float) -> float | None:
        """Returns the seconds before the next attempt, or None when the work is dead.

        Parameters:
          failures: failures so far, this one included (1 or more).
          jitter: in [0, 1): spreads the pause over half to one and a half times its length, so that work that failed
            together does not come back together.
        """
        if failures >= self.max_attempts:
            return None
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        return min(self.first_seconds * 2.0**doublings, self.longest_seconds) * (0.5 + jitter)


DEFAULT_RETRIES: Final = RetryPolicy()
MAINTENANCE_RETRIES: Final = RetryPolicy(max_attempts=3, first_seconds=60.0)

RETRY_POLICIES: Final = {
    "reconcile_seats": MAINTENANCE_RETRIES,
    "purge": MAINTENANCE_RETRIES,
    "apply_corrections": MAINTENANCE_RETRIES,
}


def retry_policy(kind: str) -> RetryPolicy:
    return RETRY_POLICIES.get(kind, DEFAULT_RETRIES)


LONGEST_POSTPONEMENT: Final = 10.0
"""Seconds to which a short pause grows. A lock that is released wakes no queue, so this is how late it is noticed."""

MOST_GROWTH: Final = 4.0
"""A pause that begins with several seconds grows to this many times its length."""

UNREAD_SECONDS: Final = 86_400.0
"""Seconds for which work waits for a release that can read it; a day is longer than a release takes."""


def postpone_seconds(seconds: float, postponements: int, jitter: float) -> float:
    """Returns the jittered pause of work that met a fault around it (database, lock, relay) and burns no attempt.

    Parameters:
      seconds: the first pause; each further one doubles it, up to ``LONGEST_POSTPONEMENT`` or ``MOST_GROWTH``.
      postponements: how often in a row the work was postponed before.
      jitter: in [0, 1): spreads the pause over half to one and a half times its length.
    """
    longest = max(LONGEST_POSTPONEMENT, seconds * MOST_GROWTH)
    return min(seconds * 2.0 ** min(postponements, _MOST_DOUBLINGS), longest) * (0.5 + jitter)
