"""Enrollments, and the one rule that decides who is enrolled: a pure fold over the people in input order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.person import Person, Refusal
from models.words import DONE_CODES, Code, Policy, Progress


class Enrollment(Record, table=True):
    """An account on a contract. A withdrawn one keeps its row; only one lives per account and contract."""

    __tablename__ = "enrollment"
    __table_args__ = (
        CheckConstraint("progress IN ({})".format(", ".join(f"'{word}'" for word in Progress)), name="progress"),
        Index(
            "uq_enrollment_live",
            "contract_id",
            "account_id",
            unique=True,
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
        Index("ix_enrollment_reminder", "next_reminder_at", postgresql_where=text("next_reminder_at IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    contract_id: UUID = Field(foreign_key="contract.id")
    account_id: UUID = Field(foreign_key="account.id", index=True)
    progress: str = Field(default=Progress.NOT_STARTED, sa_column_kwargs={"server_default": Progress.NOT_STARTED.value})
    started_at: datetime | None = instant(nullable=True)  # as the LMS tells it
    completed_at: datetime | None = instant(nullable=True)
    progress_at: datetime | None = instant(nullable=True)  # when the latest event that was heard of happened
    score: float | None = None  # percent, of the latest event that gave one
    scored_at: datetime | None = instant(nullable=True)  # when that event happened
    time_spent_seconds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    external_id: str | None = None
    job_id: UUID | None = None
    enrolled_at: datetime = instant(default_now=True)
    withdrawn_at: datetime | None = instant(nullable=True)
    detached_at: datetime | None = instant(nullable=True)  # the person said "this is not me"
    reminders: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # sent so far
    next_reminder_at: datetime | None = instant(nullable=True)  # None: no further one
    release_warned_at: datetime | None = instant(nullable=True)  # told that the seat will be given back


class EnrollmentVerdict(NamedTuple):
    """What happens to one person."""

    code: Code
    field: str | None = None


ENROLLED, ATTACHED, ALREADY_ENROLLED, NO_SEAT_LEFT, NOT_CARRIED_OUT = map(
    EnrollmentVerdict, (Code.ENROLLED, Code.ATTACHED, Code.ALREADY_ENROLLED, Code.NO_SEAT_LEFT, Code.NOT_CARRIED_OUT)
)


@dataclass(slots=True)
class Capacity:
    """What is true of a contract while its lock is held; moves on as requests are planned one after the other."""

    seats_left: int
    known: set[str]  # addresses that have an account
    live: set[str]  # addresses enrolled on this contract
    suppressed: Mapping[str, datetime] = field(default_factory=dict)  # addresses no mail is sent to, and since when


@dataclass(frozen=True, slots=True)
class EnrollmentPlan:
    """What a request does: a verdict per person in input order, and whether the policy lets it be done at all."""

    verdicts: tuple[EnrollmentVerdict, ...]
    carried_out: bool
    counts: Counter[Code] = field(default_factory=Counter)

    @property
    def seats(self) -> int:
        """Seats this plan takes."""
        return self.counts[Code.ENROLLED] + self.counts[Code.ATTACHED]

    @property
    def refused(self) -> bool:
        """Nothing was done for anybody."""
        return not self.carried_out or not any(self.counts[code] for code in DONE_CODES)


def plan_enrollments(
    people: Sequence[Person | Refusal], room: Capacity, policy: Policy, taken: set[str] | None = None
) -> EnrollmentPlan:
    """Decides what happens to each person, in input order, and moves `room` on by what was decided.

    Somebody already enrolled costs no seat and is no refusal. Nobody is enrolled under an address no mail is sent to:
    the invitation would not arrive, and the seat be used. A refused row reserves no address: a later good row with
    the same address is accepted; of two good rows the first wins. Under a policy that leaves the request undone, those
    who would have been enrolled answer `not_carried_out` and `room` stays as it was.

    Parameters:
      people: the rows of the request, checked: somebody to enrol, or the refusal the row's own values earned.
      room: the contract as it stands; changed in place when the plan is carried out.
      policy: what to do when not everybody can be enrolled.
      taken: addresses accepted in earlier chunks of the same request.
    """
    accepted: set[str] = set(taken or ())
    joining: set[str] = set()
    verdicts = []
    for person in people:
        verdict = _verdict(person, room, accepted, seats_left=room.seats_left - len(joining))
        if isinstance(person, Person) and verdict.code in DONE_CODES:
            accepted.add(person.email_norm)
            if verdict.code is not Code.ALREADY_ENROLLED:
                joining.add(person.email_norm)
        verdicts.append(verdict)
    carried_out = _carries_out(policy, verdicts)
    if carried_out:
        room.seats_left -= len(joining)
        room.known |= joining
        room.live |= joining
    else:
        verdicts = [_undone(verdict) for verdict in verdicts]
    return EnrollmentPlan(tuple(verdicts), carried_out, Counter(verdict.code for verdict in verdicts))


def _verdict(person: Person | Refusal, room: Capacity, accepted: set[str], *, seats_left: int) -> EnrollmentVerdict:
    if isinstance(person, Refusal):
        return EnrollmentVerdict(person.code, person.field)
    email = person.email_norm
    if email in accepted:
        return EnrollmentVerdict(Code.DUPLICATE_IN_FILE, "email")
    if email in room.live:
        return ALREADY_ENROLLED
    if email in room.suppressed:
        return EnrollmentVerdict(Code.SUPPRESSED_ADDRESS, "email")
    if seats_left <= 0:
        return NO_SEAT_LEFT
    return ATTACHED if email in room.known else ENROLLED


def _carries_out(policy: Policy, verdicts: Sequence[EnrollmentVerdict]) -> bool:
    if policy is Policy.ALL_OR_NOTHING:
        return all(verdict.code in DONE_CODES for verdict in verdicts)
    if policy is Policy.VALID_ROWS:
        return all(verdict.code is not Code.NO_SEAT_LEFT for verdict in verdicts)
    return True


def _undone(verdict: EnrollmentVerdict) -> EnrollmentVerdict:
    return NOT_CARRIED_OUT if verdict.code in (Code.ENROLLED, Code.ATTACHED) else verdict
