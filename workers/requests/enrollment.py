"""Requests about participants of a contract: enrolling, withdrawing, and progress reported by the LMS."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from models.words import LOCALES, Code, Policy, Progress, Scope
from workers.requests.alone import ElementRule
from workers.requests.base import (
    BulkEnrollmentRequest,
    ContactAddress,
    EnrollmentId,
    Language,
    Moment,
    Number,
    PlainText,
    Reference,
    Request,
    Score,
)
from workers.requests.personal import Personal
from workers.requests.queues import ROSTER_SIZE, Queue
from workers.requests.subjects import NamedSubjects

MAX_PEOPLE: Final = 200_000
MAX_EVENTS: Final = 1_000
MAX_SECONDS: Final = 1_000_000_000  # thirty years; the column holds twice that


class PersonToEnroll(BaseModel):
    """An employee as the manager typed them. Each row is checked by itself, so that one bad row harms no other."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    email: Annotated[str, Personal.ADDRESS]
    first_name: Annotated[str, Personal.NAME] = Field(
        description="a lone hyphen, dash or dot in one of the two names says that the person has only the other"
    )
    last_name: Annotated[str, Personal.NAME]
    locale: PlainText | None = Field(default=None, description="language of the mails: fr or en; the default is fr")
    external_id: Annotated[str, Personal.NAME] | None = Field(
        default=None, description="the company's own number for this person"
    )


class RefusedPerson(PersonToEnroll):
    """A row that is no person, with the texts it has; it is answered with `invalid_request` and the wrong fields."""

    given: Annotated[Any, Personal.NOTHING] = None
    wrong_fields: Annotated[tuple[str, ...], Personal.NOTHING] = ()

    @classmethod
    def of(cls, given: Any, wrong_fields: Sequence[str]) -> "RefusedPerson":
        """Keeps what was sent, so that the request is stored and compared as it was sent."""
        values = given if isinstance(given, dict) else {}
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        return cls.model_construct(
            email=texts.get("email", ""),
            first_name=texts.get("first_name", ""),
            last_name=texts.get("last_name", ""),
            locale=texts.get("locale"),
            external_id=texts.get("external_id"),
            given=given,
            wrong_fields=tuple(wrong_fields),
        )


class Enroll(Request):
    """Enrol people on a contract: one, several, or a whole roster.

    A person with an account already is enrolled with it, and the account keeps its names. The answer has one result per
    person, in the order of the request.
    """

    kind: ClassVar[str] = "enroll"
    scope: ClassVar[Scope | None] = Scope.ENROLL
    refused_alone: ClassVar[Mapping[str, ElementRule]] = {
        "people": ElementRule(stand_in={"email": "", "first_name": "", "last_name": ""}, refuse=RefusedPerson.of)
    }

    contract: Reference
    people: Annotated[list[PersonToEnroll], Personal.PEOPLE] = Field(min_length=1, max_length=MAX_PEOPLE)
    policy: Policy = Field(
        default=Policy.ALL_OR_NOTHING,
        strict=False,  # accepts the word in Python too, as in JSON; any other word is refused
        description="what to do when not all people can be enrolled",
    )
    notify: bool = Field(default=True, description="send each enrolled person a mail")
    dry_run: bool = Field(default=False, description="answer what would happen, change nothing")
    report_to: ContactAddress | None = Field(
        default=None,
        description="address for one confirmation of the result; a dry run or a dead job sends none",
    )
    report_locale: Language = Field(default=LOCALES[0], description="language of that confirmation: fr or en")

    @property
    def queue(self) -> Queue:
        """Large requests have a queue of their own, so that a small one never waits behind them."""
        return Queue.ROSTERS if len(self.people) > ROSTER_SIZE else Queue.ENROLLMENTS

    @property
    def lane(self) -> str:
        """The contract."""
        return f"contract:{self.contract}"

    @property
    def subjects(self) -> NamedSubjects:
        """The contract."""
        return NamedSubjects(contracts=(self.contract,))


class Withdraw(BulkEnrollmentRequest):
    """Withdraw people from a contract: their seats are free again, unless they have begun the training.

    The answer has one result per enrollment, in the order of the request; a refusal tells since when its reason holds.
    About 6,000 identifiers fit in a message; the command line takes more.
    """

    kind: ClassVar[str] = "withdraw"
    scope: ClassVar[Scope | None] = Scope.ENROLL

    notify: bool = Field(default=True, description="send each withdrawn person a mail")


class ProgressEvent(BaseModel):
    """An event that the LMS reports about one participant."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    enrollment_id: EnrollmentId
    progress: Progress = Field(strict=False, description="the participant's progress at that moment")
    occurred_at: Moment = Field(description="when it happened, with its offset")
    score: Score | None = Field(default=None, ge=0, le=100, allow_inf_nan=False, description="percent")
    time_spent_seconds: Number | None = Field(
        default=None, ge=0, le=MAX_SECONDS, description="total so far, in seconds"
    )
    completed_at: Moment | None = Field(default=None, description="when it was completed, if before occurred_at")

    @field_validator("completed_at")
    @classmethod
    def _of_a_completion(cls, completed_at: datetime | None, others: ValidationInfo) -> datetime | None:
        if completed_at and others.data.get("progress") not in (None, Progress.COMPLETED):
            raise PydanticCustomError(Code.INVALID_REQUEST.value, "completed_at of what is not completed")
        return completed_at


class RefusedEvent(ProgressEvent):
    """An event that cannot be read; it is answered with `invalid_request` and the wrong fields."""

    given: Annotated[Any, Personal.NOTHING] = None
    wrong_fields: Annotated[tuple[str, ...], Personal.NOTHING] = ()

    @classmethod
    def of(cls, given: Any, wrong_fields: Sequence[str]) -> "RefusedEvent":
        """Keeps what was sent, so that the request is stored and compared as it was sent."""
        named = given.get("enrollment_id") if isinstance(given, dict) else None
        try:
            enrollment_id = UUID(named)
        except (ValueError, TypeError, AttributeError):
            enrollment_id = UUID(int=0)
        return cls.model_construct(
            enrollment_id=enrollment_id,
            progress=Progress.NOT_STARTED,
            occurred_at=_NEVER,
            given=given,
            wrong_fields=tuple(wrong_fields),
        )


_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class RecordProgress(Request):
    """Record events that the LMS reports about participants, on any contracts of the portal.

    Events may come late, twice or in any order: progress never goes back, and an older event changes nothing that a
    newer one set. The answer has one result per event, in the order of the request: one that cannot be read, or is
    dated in the future, is refused alone with the field to correct. Score and total time are those of the latest event
    that gave them, so a total that was too high can be lowered; it cannot exceed what has passed since the participant
    began or was enrolled (`implausible_time`). The first completion causes the certificate, with the score and time
    known then; if they come later, send `correct_certificate` with `reread`.
    """

    kind: ClassVar[str] = "record_progress"
    scope: ClassVar[Scope | None] = Scope.PROGRESS
    refused_alone: ClassVar[Mapping[str, ElementRule]] = {
        "events": ElementRule(
            stand_in={"enrollment_id": str(UUID(int=0)), "progress": "completed", "occurred_at": "2000-01-01T00:00Z"},
            refuse=RefusedEvent.of,
        )
    }

    events: Annotated[list[ProgressEvent], Personal.SEVERAL] = Field(min_length=1, max_length=MAX_EVENTS)

    @property
    def lane(self) -> str:
        """One lane for all progress of the portal: its jobs never compete for the same rows, and delay no other job."""
        return "progress"

    @property
    def subjects(self) -> NamedSubjects:
        """The enrollments."""
        return NamedSubjects(enrollments=[event.enrollment_id for event in self.events])
