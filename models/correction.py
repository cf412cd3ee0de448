"""A correction puts the right address on an account; these rules say who may ask for one and when it is applied."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.link import LINK_LIFETIME, ResendVerdict, ThrottledVerdict, count_verdict
from models.throttle import Allowance
from models.words import Code, CorrectionState, Purpose, StoredWord

SILENCE: Final = timedelta(hours=72)
"""The old address may refuse for this long, counted from the moment when the relay accepted its notice."""

LISTENS_AGAIN: Final = timedelta(days=90)
"""For this long after the old address refused a correction, its silence does not count as agreement."""

LASTS: Final = LINK_LIFETIME[Purpose.CORRECTION_CONFIRMATION]
"""A correction that was not applied within this time expires."""


class CorrectionGround(StoredWord):
    """The reason a correction was applied, or the reason it ended without being applied."""

    NEVER_ACTIVATED = "never_activated"  # at once: the account was never activated, and one company alone has it
    OPS = "ops"  # at once: an operator asked, with a reason
    PASSWORD = "password"  # noqa: S105 - the account's password was given with the confirmation
    AGREEMENT = "agreement"  # the old address agreed
    HARD_BOUNCE = "hard_bounce"  # the old mailbox no longer exists
    SILENCE = "silence"  # the old address was told, and did not answer for 72 hours

    REFUSAL = "refusal"  # the old address refused
    LINKS_VOIDED = "links_voided"  # a password was chosen in the meantime: the account is in use
    NOT_THEIRS = "not_theirs"  # the person was withdrawn, detached or erased in the meantime
    SHARED = "shared"  # another company enrolled the person in the meantime
    TAKEN = "taken"  # another account has taken the new address
    TAKEN_BACK = "taken_back"  # another correction was asked for, or the present address again


class EmailCorrection(Record, table=True):
    """A requested correction: its two addresses, and the confirmations received so far.

    At most one correction is pending per account.
    """

    __tablename__ = "email_correction"
    __table_args__ = (
        CheckConstraint("state IN ({})".format(", ".join(f"'{word}'" for word in CorrectionState)), name="state"),
        Index("uq_email_correction_pending", "account_id", unique=True, postgresql_where=text("state = 'pending'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    enrollment_id: UUID | None = None  # that the manager ticked; None when an operator asked
    company_id: UUID | None = None  # of the manager; None when an operator asked
    portal_id: UUID
    job_id: UUID
    requested_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    old_email: str
    new_email: str
    state: str = CorrectionState.PENDING
    ground: str | None = None  # a word of ``CorrectionGround``
    asked_at: datetime = instant(default_now=True)
    confirmed_at: datetime | None = instant(nullable=True)  # the new address confirmed
    password_given_at: datetime | None = instant(nullable=True)
    agreed_at: datetime | None = instant(nullable=True)  # the old address agreed
    ended_at: datetime | None = instant(nullable=True)


class ParticipantFacts(NamedTuple):
    """The facts of the participant to correct, read while their account is locked.

    Parameters:
      withdrawn_at, detached_at: when the participant left the enrollment that the manager ticked, or None.
      activated: the participant has chosen a password.
      shared: another company or another portal has enrolled the participant too.
      same: the account already has the requested address.
      taken: another account has the requested address.
      suppressed: since when the requested address is on the suppression list, or None.
    """

    withdrawn_at: datetime | None
    detached_at: datetime | None
    activated: bool
    shared: bool
    same: bool
    taken: bool
    suppressed: datetime | None


CORRECTED_CODES: Final = frozenset({Code.CORRECTED, Code.CONFIRMATION_SENT, Code.AGREEMENT_AWAITED, Code.UNCHANGED})
"""These codes mean that a correction is made, pending or not needed; every other code is a refusal."""


def answer_correction(person: ParticipantFacts | None, allowances: Sequence[Allowance]) -> ThrottledVerdict:
    """Answers a manager who asks for a correction, which must never let a stranger take an account over.

    A request that is not allowed is refused before it counts against the rate limits. An answer that reveals whether
    an address is known counts first, so that a manager cannot try thousands of addresses.
    """
    refused = _refused(person)
    if refused is not None or person is None:
        return ThrottledVerdict(refused or ResendVerdict(Code.NOT_FOUND), allowances)
    closed = [moment for allowance in allowances if (moment := allowance.closed_until()) is not None]
    if closed:
        return ThrottledVerdict(ResendVerdict(Code.THROTTLED, max(closed)), allowances)
    code = Code.CONFIRMATION_SENT if person.activated else Code.CORRECTED
    return count_verdict(ResendVerdict(Code.ADDRESS_TAKEN if person.taken else code), allowances)


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


def answer_operator(*, same: bool, taken: bool, suppressed: datetime | None) -> ResendVerdict:
    """Answers an operator who corrects an account: it is done at once, whatever companies the account belongs to.

    An address on the suppression list is refused: its holder would get an account and no mail about it. The operator
    can take the address off the list first.
    """
    if same:
        return ResendVerdict(Code.UNCHANGED)
    if taken:
        return ResendVerdict(Code.ADDRESS_TAKEN)
    return ResendVerdict(Code.SUPPRESSED_ADDRESS, suppressed) if suppressed else ResendVerdict(Code.CORRECTED)


class PendingFacts(NamedTuple):
    """The facts for and against a pending correction, read while its account is locked.

    Parameters:
      notice_sent_at: when the relay accepted the notice to the old address, or None.
      bounced: the old mailbox does not exist: a mail sent there since the request was refused for that reason.
      refused_at: when the old address last refused an earlier correction of this account, or None.
      theirs: the person still has the enrollment that the manager ticked.
      links_voided: one of the correction's links was voided; the choice of a password does that.
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
        """The moment at which the correction expires."""
        return self.asked_at + LASTS

    @property
    def silence_counts(self) -> bool:
        """Whether the old address agrees by its silence or its bounce: it does not for a time after a refusal."""
        return self.refused_at is None or self.refused_at + LISTENS_AGAIN <= self.asked_at

    @property
    def silent_until(self) -> datetime | None:
        """From when on the silence of the old address counts; None before it was told, or when silence never counts."""
        told = self.notice_sent_at
        return told + SILENCE if told is not None and self.silence_counts else None


class CorrectionVerdict(NamedTuple):
    """The state a correction takes now, and the reason."""

    state: CorrectionState
    ground: CorrectionGround | None = None


def judge_correction(pending: PendingFacts, now: datetime) -> CorrectionVerdict:
    """Decides a pending correction, under the account's lock, after each answer and each time a delay has passed.

    A correction needs the confirmation of the new address and one thing more: the account's password, or the
    agreement, the bounce or the silence of the old address.
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
    """Returns why a correction was not made, in the word its mail knows; None if it was made or is pending.

    Parameters:
      confirmed: the new address had confirmed.
    """
    if state in (CorrectionState.PENDING, CorrectionState.APPLIED):
        return None
    if state == CorrectionState.EXPIRED:
        return "expired" if confirmed else "unconfirmed"
    return ground


def mask_address(address: str) -> str:
    """Returns the first character and the domain of an address, for a mailbox that may belong to a stranger."""
    local_part, _, domain = address.rpartition("@")
    return f"{local_part[:1]}***@{domain}"
