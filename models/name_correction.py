"""A correction puts the right name on an account (GDPR, article 16); these rules say who may ask and who confirms.

A manager who could rename any account could have certificates printed for other people. So an account that is in use,
or that another company has enrolled too, keeps its name until the person who reads its mail confirms the new one.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.link import LINK_LIFETIME, ResendVerdict, ThrottledVerdict, count_verdict
from models.throttle import Allowance
from models.words import Code, CorrectionState, Purpose

NAME_LASTS: Final = LINK_LIFETIME[Purpose.NAME_CONFIRMATION]
"""A correction that the person did not confirm within this time expires."""


class NameGround(StrEnum):
    """The reason a correction of a name was applied, or the reason it ended without being applied."""

    NEVER_ACTIVATED = "never_activated"  # at once: the account was never activated, and one company alone has it
    OPS = "ops"  # at once: an operator asked, with a reason
    CONFIRMED = "confirmed"  # the person confirmed the name

    REFUSAL = "refusal"  # the person said that the name is not theirs
    LINKS_VOIDED = "links_voided"  # the address of the account changed in the meantime: its mail went to the former one
    TAKEN_BACK = "taken_back"  # another correction was asked for, or the present name again


class NameCorrection(Record, table=True):
    """A requested correction of a name. At most one is pending per account."""

    __tablename__ = "name_correction"
    __table_args__ = (
        CheckConstraint("state IN ({})".format(", ".join(f"'{word}'" for word in CorrectionState)), name="state"),
        Index("uq_name_correction_pending", "account_id", unique=True, postgresql_where=text("state = 'pending'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    enrollment_id: UUID | None = None  # that the manager ticked; None when an operator asked
    company_id: UUID | None = None  # of the manager; None when an operator asked
    portal_id: UUID
    job_id: UUID
    requested_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    old_first_name: str
    old_last_name: str
    new_first_name: str
    new_last_name: str
    state: str = CorrectionState.PENDING
    ground: str | None = None  # a word of ``NameGround``
    asked_at: datetime = instant(default_now=True)
    ended_at: datetime | None = instant(nullable=True)


class NameFacts(NamedTuple):
    """The facts of the participant to rename, read while their account is locked.

    Parameters:
      withdrawn_at, detached_at: when the participant left the enrollment that the manager ticked, or None.
      activated: the participant has chosen a password.
      shared: another company or another portal has enrolled the participant too.
      same: the account already has the requested name.
      suppressed: since when the address of the account is on the suppression list, or None.
    """

    withdrawn_at: datetime | None
    detached_at: datetime | None
    activated: bool
    shared: bool
    same: bool
    suppressed: datetime | None

    @property
    def confirmed_by_person(self) -> bool:
        """Whether the person must confirm: the account is more than this company's own list of people."""
        return self.activated or self.shared


RENAMED_CODES: Final = frozenset({Code.NAME_CORRECTED, Code.NAME_CONFIRMATION_SENT, Code.UNCHANGED})
"""These codes mean that a correction is made, pending or not needed; every other code is a refusal."""


def answer_name_correction(person: NameFacts | None, allowances: Sequence[Allowance]) -> ThrottledVerdict:
    """Answers a manager who asks for another name. A request that is not allowed does not count against rate limits."""
    refused = _refused(person)
    if refused is not None or person is None:
        return ThrottledVerdict(refused or ResendVerdict(Code.NOT_FOUND), allowances)
    closed = [moment for allowance in allowances if (moment := allowance.closed_until()) is not None]
    if closed:
        return ThrottledVerdict(ResendVerdict(Code.THROTTLED, max(closed)), allowances)
    code = Code.NAME_CONFIRMATION_SENT if person.confirmed_by_person else Code.NAME_CORRECTED
    return count_verdict(ResendVerdict(code), allowances)


def _refused(person: NameFacts | None) -> ResendVerdict | None:
    if person is None:
        return ResendVerdict(Code.NOT_FOUND)
    if person.withdrawn_at is not None:
        return ResendVerdict(Code.ALREADY_WITHDRAWN, person.withdrawn_at)
    if person.detached_at is not None:
        return ResendVerdict(Code.DETACHED, person.detached_at)
    if person.same:
        return ResendVerdict(Code.UNCHANGED)
    unreachable = person.confirmed_by_person and person.suppressed is not None
    return ResendVerdict(Code.SUPPRESSED_ADDRESS, person.suppressed) if unreachable else None


def name_ending(state: str, ground: str | None) -> str | None:
    """Returns how a correction ended, in the word that the mail to the manager knows.

    None while it is pending, and when a request of the manager ended it.
    """
    if state == CorrectionState.EXPIRED:
        return "expired"
    told = (NameGround.CONFIRMED, NameGround.REFUSAL, NameGround.LINKS_VOIDED)
    return ground if ground in told else None


class PrintedName(NamedTuple):
    """The first and last name that a certificate shows."""

    first_name: str
    last_name: str


def name_to_reprint(
    printed: PrintedName, account: PrintedName, *, issued_at: datetime, corrected_at: datetime | None
) -> PrintedName:
    """Returns the name on a certificate that is issued again from what is recorded now.

    The printed name stays, because a certificate may have been corrected for itself; but a name that was corrected
    on the account after the certificate was issued takes its place.

    Parameters:
      corrected_at: when the name of the account was last corrected, or None.
    """
    return account if corrected_at is not None and corrected_at > issued_at else printed
