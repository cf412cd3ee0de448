"""Corrections of an account's address, and the rule that says when one may be applied."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.link import LINK_LIFETIME, ResendVerdict
from models.throttle import Allowance
from models.words import Code, CorrectionState, Purpose

SILENCE: Final = timedelta(hours=72)
"""How long the old address may say no, from when its notice really left: a relay that is down is no silence."""

LISTENS_AGAIN: Final = timedelta(days=90)
"""So long after the old address said no, the silence of that address counts for nothing."""

LASTS: Final = LINK_LIFETIME[Purpose.CORRECTION_CONFIRMATION]
"""How long a correction may wait for all it needs."""


class CorrectionGround(StrEnum):
    """Why a correction was applied, or why it ended without being."""

    NEVER_ACTIVATED = "never_activated"  # at once: nobody had used the account, and no other company has it
    OPS = "ops"  # at once: asked by ops, with a reason
    PASSWORD = "password"  # noqa: S105 - whoever confirmed the new address gave the account's password
    AGREEMENT = "agreement"  # the old address agreed
    HARD_BOUNCE = "hard_bounce"  # there is no old mailbox any more
    SILENCE = "silence"  # the old address was told, and said nothing for 72 hours

    REFUSAL = "refusal"  # the old address said no
    LINKS_VOIDED = "links_voided"  # a password was chosen meanwhile: whoever did has the account
    NOT_THEIRS = "not_theirs"  # the person was withdrawn, detached or erased meanwhile
    SHARED = "shared"  # another company enrolled the person meanwhile
    TAKEN = "taken"  # another account has the new address by now
    TAKEN_BACK = "taken_back"  # another correction was asked for, or the present address again


class EmailCorrection(Record, table=True):
    """A correction that was asked for: from which address to which, and what speaks for it so far.

    One is pending per account at most.
    """

    __tablename__ = "email_correction"
    __table_args__ = (
        CheckConstraint("state IN ({})".format(", ".join(f"'{word}'" for word in CorrectionState)), name="state"),
        Index("uq_email_correction_pending", "account_id", unique=True, postgresql_where=text("state = 'pending'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    enrollment_id: UUID | None = None  # the row that was ticked; None when ops asked
    company_id: UUID | None = None  # whose manager asked; None when ops did
    portal_id: UUID
    job_id: UUID
    requested_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    old_email: str
    new_email: str
    state: str = CorrectionState.PENDING
    ground: str | None = None  # a word of ``CorrectionGround``: why it was applied, or ended
    asked_at: datetime = instant(default_now=True)
    confirmed_at: datetime | None = instant(nullable=True)  # the new address confirmed
    password_given_at: datetime | None = instant(nullable=True)
    agreed_at: datetime | None = instant(nullable=True)  # the old address agreed
    ended_at: datetime | None = instant(nullable=True)


class ParticipantFacts(NamedTuple):
    """Whose address is to be corrected, as they stand while their account is held.

    Parameters:
      withdrawn_at, detached_at: when they left the row that was ticked, or None.
      activated: they have chosen a password.
      shared: another company, or another portal, has them enrolled too.
      same: their account has the address that is asked for.
      taken: another account has it.
      suppressed: since when no mail is sent to it, or None.
    """

    withdrawn_at: datetime | None
    detached_at: datetime | None
    activated: bool
    shared: bool
    same: bool
    taken: bool
    suppressed: datetime | None


CORRECTED_CODES: Final = frozenset({Code.CORRECTED, Code.CONFIRMATION_SENT, Code.AGREEMENT_AWAITED, Code.UNCHANGED})
"""Codes of people for whom a correction is on its way or needless; every other is a refusal."""


def answer_correction(person: ParticipantFacts | None, allowances: Sequence[Allowance]) -> ResendVerdict:
    """What a manager who asks for a correction is answered (DESIGN, section 5: nobody takes an account over).

    Who may not ask is refused before anything is counted. What tells whether somebody has an address is counted first,
    so that nobody tries thousands.
    """
    refused = _refused(person)
    if refused is not None or person is None:
        return refused or ResendVerdict(Code.NOT_FOUND)
    closed = [moment for allowance in allowances if (moment := allowance.closed_until()) is not None]
    if closed:
        return ResendVerdict(Code.THROTTLED, max(closed))
    for allowance in allowances:
        allowance.take()
    if person.taken:
        return ResendVerdict(Code.ADDRESS_TAKEN)
    return ResendVerdict(Code.CONFIRMATION_SENT if person.activated else Code.CORRECTED)


def _refused(person: ParticipantFacts | None) -> ResendVerdict | None:
    if person is None:
        return ResendVerdict(Code.NOT_FOUND)
    if person.withdrawn_at is not None:
        return ResendVerdict(Code.ALREADY_WITHDRAWN, person.withdrawn_at)
    if person.detached_at is not None:
        return ResendVerdict(Code.DETACHED, person.detached_at)
    if person.same:
        return ResendVerdict(Code.UNCHANGED)
    if person.shared:
        return ResendVerdict(Code.SHARED_ACCOUNT)
    return ResendVerdict(Code.SUPPRESSED_ADDRESS, person.suppressed) if person.suppressed else None


def answer_ops(*, same: bool, taken: bool, suppressed: datetime | None) -> ResendVerdict:
    """What ops are answered who ask for a correction of an account that exists: done at once, whoever has it.

    Not to an address no mail is sent to: whoever has it would be handed an account and never hear of it. Ops can take
    it off the list first.
    """
    if same:
        return ResendVerdict(Code.UNCHANGED)
    if taken:
        return ResendVerdict(Code.ADDRESS_TAKEN)
    return ResendVerdict(Code.SUPPRESSED_ADDRESS, suppressed) if suppressed else ResendVerdict(Code.CORRECTED)


class PendingFacts(NamedTuple):
    """What speaks for a correction that waits, and against it, while its account is held.

    Parameters:
      notice_sent_at: when the relay took the notice to the old address, or None.
      bounced: there is no old mailbox: the notice, or another mail since it was asked for, was refused for that reason.
      refused_at: when the old address last said no to an earlier correction of this account, or None.
      theirs: the person is still enrolled on the row that was ticked.
      links_voided: one of its links was voided, which choosing a password does.
    """

    asked_at: datetime
    confirmed_at: datetime | None = None
    password_given_at: datetime | None = None
    agreed_at: datetime | None = None
    notice_sent_at: datetime | None = None
    bounced: bool = False
    refused_at: datetime | None = None
    theirs: bool = True
    shared: bool = False
    taken: bool = False
    links_voided: bool = False

    @property
    def ends_at(self) -> datetime:
        """After this it is not applied any more."""
        return self.asked_at + LASTS

    @property
    def silence_counts(self) -> bool:
        """Whether the old address agrees by saying nothing or being no more: not if it said no a short while ago."""
        return self.refused_at is None or self.refused_at + LISTENS_AGAIN <= self.asked_at

    @property
    def silent_until(self) -> datetime | None:
        """When its silence will count; None while it was not told, or when silence counts for nothing."""
        told = self.notice_sent_at
        return told + SILENCE if told is not None and self.silence_counts else None


class CorrectionVerdict(NamedTuple):
    """What becomes of a correction now, and why."""

    state: CorrectionState
    ground: CorrectionGround | None = None


def judge(pending: PendingFacts, now: datetime) -> CorrectionVerdict:
    """The rule that is evaluated again under the account's lock each time something is said or time has passed.

    Never without the confirmation of the new address; then by the password, the old address's agreement, its bounce or
    its silence (DESIGN, section 5).
    """
    against = _against(pending)
    if against is not None:
        return CorrectionVerdict(CorrectionState.CANCELLED, against)
    ground = _ground(pending, now) if pending.confirmed_at is not None else None
    if ground is not None:
        return CorrectionVerdict(CorrectionState.APPLIED, ground)
    return CorrectionVerdict(CorrectionState.EXPIRED if pending.ends_at <= now else CorrectionState.PENDING)


def _against(pending: PendingFacts) -> CorrectionGround | None:
    if pending.links_voided:
        return CorrectionGround.LINKS_VOIDED
    if not pending.theirs:
        return CorrectionGround.NOT_THEIRS
    if pending.shared:
        return CorrectionGround.SHARED
    return CorrectionGround.TAKEN if pending.taken else None


def _ground(pending: PendingFacts, now: datetime) -> CorrectionGround | None:
    if pending.password_given_at is not None:
        return CorrectionGround.PASSWORD
    if pending.agreed_at is not None:
        return CorrectionGround.AGREEMENT
    if pending.bounced and pending.silence_counts:
        return CorrectionGround.HARD_BOUNCE
    silent_until = pending.silent_until
    return CorrectionGround.SILENCE if silent_until is not None and silent_until <= now else None


def ending_of(state: str, ground: str | None, *, confirmed: bool) -> str | None:
    """Why a correction was not made, in the word its mail knows; None of one that was made, or may still be.

    Parameters:
      confirmed: the new address had confirmed.
    """
    if state in (CorrectionState.PENDING, CorrectionState.APPLIED):
        return None
    if state == CorrectionState.EXPIRED:
        return "expired" if confirmed else "unconfirmed"
    return ground


def mask_address(address: str) -> str:
    """What a mailbox that may be a stranger's is shown of another address: its first character and its domain."""
    local_part, _, domain = address.rpartition("@")
    return f"{local_part[:1]}***@{domain}"
