"""Requests about companies, trainings and contracts, which must exist before people are enrolled."""

from datetime import date
from typing import ClassVar, Final

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from models.document import TrainingModality, TrainingNature
from models.release import LEAST_RELEASE_DAYS, MOST_RELEASE_DAYS
from models.words import LOCALES, Code, Scope
from workers.requests.base import (
    AccessUrl,
    ContactAddress,
    Day,
    Label,
    Language,
    Number,
    PlainText,
    Reference,
    Request,
)
from workers.requests.certificates import PICTURE, Picture
from workers.requests.subjects import NamedSubjects

MAX_SEATS: Final = 1_000_000


class PutCompany(Request):
    """Record a company under the portal's own reference, or change it; a field left out stays as it is."""

    kind: ClassVar[str] = "put_company"
    scope: ClassVar[Scope | None] = Scope.ADMIN
    unchanged_if_left_out: ClassVar[frozenset[str]] = frozenset({"colour", "logo"})

    reference: Reference
    name: Label
    colour: PlainText | None = Field(
        default=None, max_length=20, description="on its certificates: #rrggbb, dark enough to be read on white"
    )
    logo: Picture | None = Field(default=None, description=f"on its certificates: {PICTURE}")

    @property
    def subjects(self) -> NamedSubjects:
        """The company."""
        return NamedSubjects(companies=(self.reference,))


class PutTraining(Request):
    """Record a training under the portal's own reference, or change it; a field left out stays as it is.

    All fields but `access_url` are printed on the certificates that are issued afterwards.
    """

    kind: ClassVar[str] = "put_training"
    scope: ClassVar[Scope | None] = Scope.ADMIN
    unchanged_if_left_out: ClassVar[frozenset[str]] = frozenset(
        {"nature", "objectives", "modality", "planned_minutes", "access_url"}
    )

    reference: Reference
    title: Label
    nature: TrainingNature = Field(
        default=TrainingNature.TRAINING, strict=False, description="of the action (L. 6313-1)"
    )
    objectives: list[Label] = Field(default=[], max_length=10, description="what is learnt, a sentence each")
    modality: TrainingModality | None = Field(default=None, strict=False, description="remote, on_site or blended")
    planned_minutes: Number | None = Field(default=None, ge=1, le=1_000_000, description="planned duration")
    access_url: AccessUrl | None = Field(
        default=None,
        description="where people reach it: the button of mails and of the page after a password was chosen; null: the"
        " portal's (`put_portal`)",
    )


class PutPortal(Request):
    """Record where people reach the trainings of this portal that name no address of their own."""

    kind: ClassVar[str] = "put_portal"
    scope: ClassVar[Scope | None] = Scope.ADMIN

    access_url: AccessUrl | None = Field(description="the address; null: that of this system, if it has one")


class PutContract(Request):
    """Record a contract under the portal's own reference, or change its seats and dates.

    Planned seats never go below the seats in use; a contract keeps its company and its training. A date left out is
    removed; the other options keep their value when they are left out, so send null to remove one.
    """

    kind: ClassVar[str] = "put_contract"
    scope: ClassVar[Scope | None] = Scope.ADMIN
    unchanged_if_left_out: ClassVar[frozenset[str]] = frozenset(
        {"manager_email", "manager_locale", "reminders", "release_after_days"}
    )

    reference: Reference
    company: Reference
    training: Reference
    planned_seats: Number = Field(ge=0, le=MAX_SEATS)
    starts_on: Day | None = Field(default=None, description="first day people can be enrolled, in Europe/Paris")
    ends_on: Day | None = Field(default=None, description="last day people can be enrolled, in Europe/Paris")
    manager_email: ContactAddress | None = Field(
        default=None,
        description="the manager's address for mails about this contract: a person said “this is not me”, seats were"
        " released; left out: unchanged",
    )
    manager_locale: Language = Field(
        default=LOCALES[0], description="language of those mails: fr or en; left out: unchanged"
    )
    reminders: bool = Field(
        default=True,
        description="remind people who do not follow their invitation, after 2, 5 and 10 days; left out: unchanged",
    )
    release_after_days: Number | None = Field(
        default=None,
        ge=LEAST_RELEASE_DAYS,
        le=MOST_RELEASE_DAYS,
        description="days after which the seat of an account never activated is released, with a warning 7 days before;"
        " null: never; left out: unchanged",
    )

    @property
    def lane(self) -> str:
        """The contract, so that a change of its seats is done before the enrollments sent after it."""
        return f"contract:{self.reference}"

    @property
    def subjects(self) -> NamedSubjects:
        """The company: a contract keeps the one it has, so that of another one is left as it is."""
        return NamedSubjects(companies=(self.company,))

    @field_validator("ends_on")
    @classmethod
    def _ends_after_it_starts(cls, ends_on: date | None, others: ValidationInfo) -> date | None:
        starts_on = others.data.get("starts_on")
        if starts_on and ends_on and ends_on < starts_on:
            raise PydanticCustomError(Code.INVALID_REQUEST.value, "ends_on is before starts_on")
        return ends_on
