"""A contract gives a company seats for a training while it is open; the history of the seats is kept."""

from datetime import date, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Identity, SmallInteger, UniqueConstraint
from sqlmodel import Field

from models.base import HOT_TABLE, Record, instant, new_id
from models.document import TrainingNature
from models.paris import TODAY_IN_PARIS
from models.release import LEAST_RELEASE_DAYS
from models.words import LOCALES, Code


class Company(Record, table=True):
    """A customer of a portal, which knows it by a reference of its own."""

    __tablename__ = "company"
    __table_args__ = (UniqueConstraint("portal_id", "reference"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    name: str
    colour: str | None = None  # printed on its certificates
    logo: str | None = None  # SHA-256 of the picture on them
    created_at: datetime = instant(default_now=True)


class Training(Record, table=True):
    """A training of a portal, which knows it by a reference of its own."""

    __tablename__ = "training"
    __table_args__ = (UniqueConstraint("portal_id", "reference"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    title: str
    nature: str = Field(
        default=TrainingNature.TRAINING, sa_column_kwargs={"server_default": TrainingNature.TRAINING.value}
    )
    objectives: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # a list of texts
    modality: str | None = None
    planned_minutes: int | None = None
    access_url: str | None = None  # where people reach it; None: the portal's
    created_at: datetime = instant(default_now=True)


class Contract(Record, table=True):
    """A company buys `planned_seats` seats for a training between two dates; the database refuses to oversell."""

    __tablename__ = "contract"
    __table_args__ = (
        UniqueConstraint("portal_id", "reference"),
        CheckConstraint("enrolled_count BETWEEN 0 AND planned_seats", name="seats"),
        CheckConstraint("ends_on >= starts_on", name="dates"),
        CheckConstraint(f"release_after_days >= {LEAST_RELEASE_DAYS}", name="release"),
        HOT_TABLE,
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    company_id: UUID = Field(foreign_key="company.id", index=True)
    training_id: UUID = Field(foreign_key="training.id", index=True)
    planned_seats: int
    enrolled_count: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    starts_on: date | None = None  # both days included, in Europe/Paris
    ends_on: date | None = None
    manager_email: str | None = None  # gets the mails about this contract
    manager_locale: str = Field(default=LOCALES[0], sa_column_kwargs={"server_default": LOCALES[0]})
    reminders: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})  # remind people of invitations
    release_after_days: int | None = None  # releases seats of accounts never activated; None: never
    created_at: datetime = instant(default_now=True)


OVER: Final = f"coalesce(c.ends_on < {TODAY_IN_PARIS}, false)"
"""A contract with its last day in the past, in SQL where the table is ``c``."""


def closed_because(starts_on: date | None, ends_on: date | None, today: date) -> Code | None:
    """Returns the code that says why a contract takes no enrollment today, or None while it is open.

    Parameters:
      starts_on: first day the contract is open, None for no first day.
      ends_on: last day it is open, None for no end.
      today: the date in Europe/Paris.
    """
    if starts_on is not None and today < starts_on:
        return Code.CONTRACT_NOT_STARTED
    if ends_on is not None and today > ends_on:
        return Code.CONTRACT_EXPIRED
    return None


class SeatUse(NamedTuple):
    """The seats of a contract that were bought, and those that are used."""

    planned_seats: int
    enrolled_count: int

    def reaches(self, percent: int) -> bool:
        """Tells whether at least this share of the seats is used."""
        return self.enrolled_count * 100 >= self.planned_seats * percent


SEAT_SHARES: Final = (75, 90, 100)
"""Percentages of used seats of which a portal is told when they are reached."""


def shares_reached(before: SeatUse, after: SeatUse) -> list[int]:
    """Returns the shares of ``SEAT_SHARES`` that a change of used or planned seats reaches, and that were not before.

    Each is reached again only after the use has fallen below it.
    """
    return [share for share in SEAT_SHARES if after.reaches(share) and not before.reaches(share)]


class ContractTerms(NamedTuple):
    """A portal may change these columns of ``Contract``: its seats, its dates and its options."""

    planned_seats: int
    starts_on: date | None
    ends_on: date | None
    manager_email: str | None
    manager_locale: str
    reminders: bool
    release_after_days: int | None


CONTRACT_OPTIONS: Final = ("manager_email", "manager_locale", "reminders", "release_after_days")
"""The terms beside seats and dates; a change that does not name one leaves it as it is."""


def changed_terms(before: ContractTerms, after: ContractTerms) -> dict[str, Any]:
    """Returns the changed terms with their new values, as JSON for the audit trail, which holds no address."""
    earlier, changed = before._asdict(), {}
    for name, value in after._asdict().items():
        if value != earlier[name]:
            changed[name] = value.isoformat() if isinstance(value, date) else value
    if "manager_email" in changed:
        changed["manager_email"] = "removed" if after.manager_email is None else "changed"
    return changed


def seats_refused(planned_seats: int, enrolled_count: int) -> Code | None:
    """Refuses fewer planned seats than are used; returns None for a number that is accepted."""
    return Code.SEATS_BELOW_ENROLLED if planned_seats < enrolled_count else None


class SeatMovement(Record, table=True):
    """One seat taken (+1) or given back (−1). Rows are only added; the reconciliation compares them with the counter.

    The only foreign key is that of the contract, because each one costs a look-up per row and this table only grows.
    """

    __tablename__ = "seat_movement"
    __table_args__ = (CheckConstraint("change IN (-1, 1)", name="change"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    contract_id: UUID = Field(foreign_key="contract.id")
    enrollment_id: UUID
    change: int = Field(sa_type=SmallInteger)
    job_id: UUID | None = None
    created_at: datetime = instant(default_now=True)
