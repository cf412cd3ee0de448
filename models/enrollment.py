"""An enrollment is an account on a contract; pure rules decide who is enrolled and how progress moves.

People are planned in input order. Each fact that is known of progress is the least, the greatest or the latest that
events of the LMS gave, so they may come late, twice, together or one by one: the same events give the same progress.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.person import Fault, Person, Refusal
from models.words import DONE_CODES, Code, Policy, Progress


class Enrollment(Record, table=True):
    """An account on a contract. A withdrawn one keeps its row; at most one is live per account and contract."""

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
        Index("ix_enrollment_page", "contract_id", "progress", "id", postgresql_where=text("withdrawn_at IS NULL")),
        Index("ix_enrollment_unsearched", "id", postgresql_where=text("words IS NULL AND withdrawn_at IS NULL")),
        Index("ix_enrollment_withdrawn", "contract_id", postgresql_where=text("withdrawn_at IS NOT NULL")),
        Index("ix_enrollment_held", "certificate_held", postgresql_where=text("certificate_held IS NOT NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    contract_id: UUID = Field(foreign_key="contract.id")
    account_id: UUID = Field(foreign_key="account.id", index=True)
    progress: str = Field(default=Progress.NOT_STARTED, sa_column_kwargs={"server_default": Progress.NOT_STARTED.value})
    started_at: datetime | None = instant(nullable=True)  # as the LMS reports it
    completed_at: datetime | None = instant(nullable=True)
    progress_at: datetime | None = instant(nullable=True)  # when the latest known event happened
    score: float | None = None  # percent, of the latest event that gave one
    scored_at: datetime | None = instant(nullable=True)  # when that event happened
    time_spent_seconds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    timed_at: datetime | None = instant(nullable=True)  # when the latest event that gave a time happened
    external_id: str | None = None
    first_name: str | None = None  # as this company typed it, where another portal had enrolled the person before
    last_name: str | None = None
    words: str | None = None  # by which the participant is found (models/search_words.py); None: not yet
    job_id: UUID | None = None
    enrolled_at: datetime = instant(default_now=True)
    withdrawn_at: datetime | None = instant(nullable=True)
    detached_at: datetime | None = instant(nullable=True)  # the person said "this is not me"
    reminders: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # sent so far
    next_reminder_at: datetime | None = instant(nullable=True)  # None: no further one
    release_warned_at: datetime | None = instant(nullable=True)  # when the person was warned of the release
    certificate_held: str | None = None  # why the fonts cannot print its certificate: a code, until that is corrected


class ParticipantWord(Record, table=True):
    """A word by which a participant of a contract is found."""

    __tablename__ = "participant_word"

    contract_id: UUID = Field(primary_key=True)
    word: str = Field(primary_key=True, sa_type=String(collation="C"))
    enrollment_id: UUID = Field(primary_key=True)


LIVE: Final = "e.withdrawn_at IS NULL"
"""An enrollment that uses its seat, in SQL where the table is ``e``; the person may be detached all the same."""

PARTICIPATING: Final = f"{LIVE} AND e.detached_at IS NULL"
"""A live enrollment that the person did not leave by "this is not me", in SQL where the table is ``e``."""


class EnrollmentVerdict(NamedTuple):
    """The decision about one person; `field` names the field to correct, if any.

    Parameters:
      faults: every fault of a person with more than one, the first one included.
      earlier: the index of the earlier person with the same address, if that person is part of this plan.
    """

    code: Code
    field: str | None = None
    faults: tuple[Fault, ...] = ()
    earlier: int | None = None


ENROLLED, ATTACHED, ALREADY_ENROLLED, NO_SEAT_LEFT, NOT_CARRIED_OUT = map(
    EnrollmentVerdict, (Code.ENROLLED, Code.ATTACHED, Code.ALREADY_ENROLLED, Code.NO_SEAT_LEFT, Code.NOT_CARRIED_OUT)
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The state of a locked contract before a request is planned.

    Parameters:
      known: addresses that have an account.
      live: addresses enrolled on this contract.
      suppressed: addresses on the suppression list, and since when.
    """

    seats_left: int
    known: AbstractSet[str]
    live: AbstractSet[str]
    suppressed: Mapping[str, datetime] = field(default_factory=dict)

    def after(self, plan: "EnrollmentPlan") -> "Capacity":
        """Returns the state after this plan is carried out."""
        return replace(
            self,
            seats_left=self.seats_left - len(plan.joining),
            known=self.known | plan.joining,
            live=self.live | plan.joining,
        )


@dataclass(frozen=True, slots=True)
class EnrollmentPlan:
    """The plan has a verdict per person, in input order, and says whether the policy lets the request be done.

    Parameters:
      joining: the addresses that get a seat; empty when the policy leaves the request undone.
    """

    verdicts: tuple[EnrollmentVerdict, ...]
    carried_out: bool
    joining: frozenset[str] = frozenset()
    counts: Counter[Code] = field(default_factory=Counter)

    @property
    def seats(self) -> int:
        """The number of seats that this plan takes."""
        return self.counts[Code.ENROLLED] + self.counts[Code.ATTACHED]

    @property
    def refused(self) -> bool:
        """Whether nothing is done for any person."""
        return not self.carried_out or not any(self.counts[code] for code in DONE_CODES)


def plan_enrollments(
    people: Sequence[Person | Refusal], capacity: Capacity, policy: Policy, taken: AbstractSet[str] = frozenset()
) -> EnrollmentPlan:
    """Decides what happens to each person, in input order.

    A person already enrolled costs no seat and is not refused. An address on the suppression list is refused: the
    invitation would not arrive and the seat would be used. A refused row reserves no address, so a later good row with
    the same address is accepted; the first of two good rows wins. Under a policy that leaves the request undone, the
    people who would have been enrolled get `not_carried_out`.

    Parameters:
      people: the checked rows of the request: a person to enrol, or the refusal of a row with bad values.
      capacity: the present state of the contract.
      policy: what to do when some people cannot be enrolled.
      taken: addresses accepted in earlier chunks of the same request.
    """
    accepted: dict[str, int | None] = dict.fromkeys(taken)
    joining: set[str] = set()
    verdicts = []
    for index, person in enumerate(people):
        verdict = _verdict(person, capacity, accepted, seats_left=capacity.seats_left - len(joining))
        if isinstance(person, Person) and verdict.code in DONE_CODES:
            accepted[person.email_norm] = index
            if verdict.code is not Code.ALREADY_ENROLLED:
                joining.add(person.email_norm)
        verdicts.append(verdict)
    carried_out = _carries_out(policy, verdicts)
    if not carried_out:
        joining.clear()
        verdicts = [_undone(verdict) for verdict in verdicts]
    counts = Counter(verdict.code for verdict in verdicts)
    return EnrollmentPlan(tuple(verdicts), carried_out, frozenset(joining), counts)


def addresses_told(plan: EnrollmentPlan, *, dry_run: bool) -> int:
    """Returns about how many addresses an answer tells, for nothing, whether this system knows them.

    A dry run tells of each seat it plans whether an account exists. Every request tells of the suppression list; one
    that enrolls no person does so for nothing.
    """
    seats = plan.seats if dry_run else 0
    return seats + (plan.counts[Code.SUPPRESSED_ADDRESS] if dry_run or plan.refused else 0)


def _verdict(
    person: Person | Refusal, capacity: Capacity, accepted: Mapping[str, int | None], *, seats_left: int
) -> EnrollmentVerdict:
    if isinstance(person, Refusal):
        refused = person.repeating() if person.email_norm in accepted else person
        return EnrollmentVerdict(refused.code, refused.field, refused.faults, accepted.get(refused.email_norm or ""))
    email = person.email_norm
    if email in accepted:
        return EnrollmentVerdict(Code.DUPLICATE_IN_FILE, "email", earlier=accepted[email])
    if email in capacity.live:
        return ALREADY_ENROLLED
    if email in capacity.suppressed:
        return EnrollmentVerdict(Code.SUPPRESSED_ADDRESS, "email")
    if seats_left <= 0:
        return NO_SEAT_LEFT
    return ATTACHED if email in capacity.known else ENROLLED


def _carries_out(policy: Policy, verdicts: Sequence[EnrollmentVerdict]) -> bool:
    if policy is Policy.ALL_OR_NOTHING:
        return all(verdict.code in DONE_CODES for verdict in verdicts)
    if policy is Policy.VALID_ROWS:
        return all(verdict.code is not Code.NO_SEAT_LEFT for verdict in verdicts)
    return True


def _undone(verdict: EnrollmentVerdict) -> EnrollmentVerdict:
    return NOT_CARRIED_OUT if verdict.code in (Code.ENROLLED, Code.ATTACHED) else verdict


HEARD_CODES: Final = frozenset({Code.RECORDED, Code.UNCHANGED})
"""These codes mean that an event was understood; every other code is a refusal."""

LARGEST_LEAD: Final = timedelta(days=1)
"""An LMS's clock may be this far ahead: a wrong time zone is accepted, a wrong year would make later events old."""

TIME_SLACK: Final = timedelta(minutes=1)
"""By this much a total time may exceed what has passed, because LMSs round it up."""

_RANK: Final = {progress: rank for rank, progress in enumerate(Progress)}


class LearningEvent(NamedTuple):
    """One event that the LMS reports about a participant.

    Parameters:
      occurred_at: when the event happened, not when it was sent.
      score: percent.
      time_spent_seconds: the total so far.
      completed_at: when the training was completed, if that was before `occurred_at`.
    """

    progress: Progress
    occurred_at: datetime
    score: float | None = None
    time_spent_seconds: int | None = None
    completed_at: datetime | None = None


class KnownProgress(NamedTuple):
    """The known progress of a participant; the fields are columns of ``models.enrollment.Enrollment``."""

    progress: Progress = Progress.NOT_STARTED
    started_at: datetime | None = None
    completed_at: datetime | None = None
    progress_at: datetime | None = None
    score: float | None = None
    scored_at: datetime | None = None
    time_spent_seconds: int = 0
    timed_at: datetime | None = None

    @property
    def time_known_at(self) -> datetime | None:
        """The moment of the total time; of a time that was recorded without one it is the latest known moment."""
        return self.timed_at or (self.progress_at if self.time_spent_seconds else None)


def record_events(
    known: KnownProgress, events: Iterable[LearningEvent], now: datetime, enrolled_at: datetime | None = None
) -> tuple[KnownProgress, list[Code]]:
    """Returns the progress after these events, and a code for each: `recorded`, `unchanged`, or a refusal.

    A refused event changes nothing: `invalid_request` is dated in the future, `implausible_time` reports more time than
    has passed.
    """
    latest, codes = now + LARGEST_LEAD, []
    for event in events:
        if event.occurred_at > latest or (event.completed_at is not None and event.completed_at > latest):
            codes.append(Code.INVALID_REQUEST)
            continue
        if takes_too_long(known, event, enrolled_at):
            codes.append(Code.IMPLAUSIBLE_TIME)
            continue
        before, known = known, fold_event(known, event)
        codes.append(Code.UNCHANGED if known == before else Code.RECORDED)
    return known, codes


def takes_too_long(known: KnownProgress, event: LearningEvent, enrolled_at: datetime | None) -> bool:
    """Tells whether an event reports more time than has passed since the participant began or was enrolled.

    Of a participant who began before both, as far as is known, nothing can be said. Neither can a total be refused that
    grew from the total known before by no more than has passed since.
    """
    start = _earliest(known.started_at, enrolled_at)
    if event.time_spent_seconds is None or start is None:
        return False
    told = event.occurred_at if event.completed_at is None else min(event.occurred_at, event.completed_at)
    spent = timedelta(seconds=event.time_spent_seconds) - TIME_SLACK
    if start >= told or spent <= event.occurred_at - start:  # ``told``: completed before means begun before
        return False
    if known.time_known_at is None:
        return True
    return spent > timedelta(seconds=known.time_spent_seconds) + event.occurred_at - known.time_known_at


def fold_event(known: KnownProgress, event: LearningEvent) -> KnownProgress:
    """Returns the progress after one more event.

    Progress never goes back. The start and the completion are the earliest ever reported. The score and the total time
    are those of the latest event that gave one (of two at the same moment, the better score and the longer time).
    """
    told, at = event.progress, event.occurred_at
    begun = None if told is Progress.NOT_STARTED else at
    ended = (event.completed_at or at) if told is Progress.COMPLETED else None
    return KnownProgress(  # in the order of its fields: with their names it takes half as long again
        told if _RANK[told] > _RANK[known.progress] else known.progress,
        _earliest(known.started_at, _earliest(begun, ended)),
        known.completed_at if ended is None else _earliest(known.completed_at, ended),
        at if known.progress_at is None else max(known.progress_at, at),
        *_score(known, event),
        *_time_spent(known, event),
    )


def _score(known: KnownProgress, event: LearningEvent) -> tuple[float | None, datetime | None]:
    if event.score is None:
        return known.score, known.scored_at
    if known.score is None or known.scored_at is None:
        return event.score, event.occurred_at
    scored_at, score = max((known.scored_at, known.score), (event.occurred_at, event.score))
    return score, scored_at


def _time_spent(known: KnownProgress, event: LearningEvent) -> tuple[int, datetime | None]:
    told = (event.occurred_at, event.time_spent_seconds)
    if told[1] is None or (known.time_known_at is not None and told <= (known.time_known_at, known.time_spent_seconds)):
        return known.time_spent_seconds, known.timed_at
    return told[1], told[0]


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)
