"""Participants as portals show them: what became of the latest mail, and what may be done with a row, with the reason.

The answers are those that a request would get now (``models/withdrawal.py``, ``link.py``, ``correction.py``), so a
button that is shown does what it says, unless something changes meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from models.correction import ParticipantFacts, answer_correction
from models.delivery import DeliveryReason
from models.link import MAILED, LinkHolder, answer_invitation, answer_reset
from models.throttle import Allowance
from models.withdrawal import WithdrawalCandidate, decide_withdrawals
from models.words import Code, DeliveryState, EmailKind, EmailState, Progress

STATES_OF: Final[Mapping[DeliveryState, tuple[EmailState, ...]]] = {
    DeliveryState.QUEUED: (EmailState.OWED, EmailState.SENDING),
    DeliveryState.DEFERRED: (EmailState.OWED, EmailState.SENDING, EmailState.UNCERTAIN),
    DeliveryState.SENT: (EmailState.SENT,),
    DeliveryState.UNCERTAIN: (EmailState.UNCERTAIN,),
    DeliveryState.UNDELIVERABLE: (EmailState.FAILED, EmailState.BOUNCED),
    DeliveryState.COMPLAINED: (EmailState.COMPLAINED,),
    DeliveryState.NOT_SENT: (EmailState.SUPPRESSED, EmailState.EXPIRED, EmailState.CANCELLED),
}
"""The states in which a mail of each kind may be recorded."""

_ENDED: Final = {
    state.value: word
    for word in (DeliveryState.SENT, DeliveryState.UNDELIVERABLE, DeliveryState.COMPLAINED, DeliveryState.NOT_SENT)
    for state in STATES_OF[word]
}


class NextStep(StrEnum):
    """The next step of a manager about a mail."""

    WAIT = "wait"
    CORRECT = "correct"  # the address
    RESEND = "resend"


class MailStatus(NamedTuple):
    """The latest mail about a participant.

    Parameters:
      state: a word of ``DeliveryState``.
      at: when it came to this state; of a mail that is tried again, when that will be.
      code: the reason, if it was not sent.
      next: a word of ``NextStep``; None when nothing is to be done.
    """

    kind: str
    state: DeliveryState
    at: datetime | None
    code: str | None
    next: NextStep | None


class StoredMail(NamedTuple):
    """A mail as its row has it."""

    kind: str
    state: str
    failures: int
    due_at: datetime | None
    finished_at: datetime | None
    created_at: datetime | None
    error: Mapping[str, Any] | None


def mail_status(mail: StoredMail) -> MailStatus:
    """Says what became of a mail."""
    state = _delivery_state(mail)
    code = str((mail.error or {}).get("reason") or "") or None
    if state is DeliveryState.SENT:
        return MailStatus(mail.kind, state, mail.finished_at, None, None)
    if state in (DeliveryState.QUEUED, DeliveryState.DEFERRED):
        at = mail.created_at if state is DeliveryState.QUEUED else mail.due_at
        return MailStatus(mail.kind, state, at, code, NextStep.WAIT)
    return MailStatus(mail.kind, state, mail.finished_at, code or _code_of(mail.state), _next_step(mail, code))


UNANSWERED_AFTER: Final = timedelta(days=14)
"""An invitation that was not followed for so long is to be sent again."""

INVITATIONS: Final = (EmailKind.INVITATION, EmailKind.REMINDER, EmailKind.RELEASE_WARNING)
"""The mails with the link to choose a first password."""

NEED_STEP: Final = (
    EmailState.FAILED,
    EmailState.BOUNCED,
    EmailState.SUPPRESSED,
    EmailState.EXPIRED,
    EmailState.UNCERTAIN,
)
"""The states of mails after which a manager has something to do; of an uncertain one, once it is not tried again."""


def invitation_status(mail: MailStatus, link_ends_at: datetime | None, now: datetime) -> MailStatus:
    """Says whether the invitation of a person who has neither a password nor begun the training is to be sent again.

    Parameters:
      link_ends_at: when its link ends or ended; None without a link.
    """
    if mail.kind not in INVITATIONS or mail.state is not DeliveryState.SENT or mail.at is None:
        return mail
    useless = link_ends_at is None or link_ends_at <= now
    return mail._replace(next=NextStep.RESEND) if useless or now - mail.at >= UNANSWERED_AFTER else mail


def needs_step(mail: MailStatus | None) -> bool:
    """Tells whether a manager has something to do about a mail."""
    return mail is not None and mail.next in (NextStep.CORRECT, NextStep.RESEND)


def _delivery_state(mail: StoredMail) -> DeliveryState:
    ended = _ENDED.get(mail.state)
    if ended is not None:
        return ended
    if mail.state == EmailState.UNCERTAIN:
        return DeliveryState.UNCERTAIN if mail.due_at is None else DeliveryState.DEFERRED
    return DeliveryState.DEFERRED if mail.failures else DeliveryState.QUEUED


def _code_of(state: str) -> str | None:
    return {
        EmailState.SUPPRESSED.value: Code.SUPPRESSED_ADDRESS.value,
        EmailState.EXPIRED.value: EmailState.EXPIRED.value,
        EmailState.CANCELLED.value: EmailState.CANCELLED.value,
        EmailState.COMPLAINED.value: EmailState.COMPLAINED.value,
    }.get(state)


def _next_step(mail: StoredMail, code: str | None) -> NextStep | None:
    if mail.state in (EmailState.CANCELLED, EmailState.COMPLAINED):
        return None
    bad_address = mail.state == EmailState.SUPPRESSED or code == DeliveryReason.ADDRESS_REJECTED
    return NextStep.CORRECT if bad_address else NextStep.RESEND


class Permission(NamedTuple):
    """Whether something may be done now.

    Parameters:
      code: what a request would answer; of a correction, `at_once` or `needs_confirmation`.
    """

    allowed: bool
    code: str


class ParticipantStanding(NamedTuple):
    """The facts that decide what may be done with a participant.

    Parameters:
      resets, invitations, corrections: the allowances that a request would count against the person.
      certificate: ``ISSUED``, or why no duplicate of it is made.
    """

    enrollment_id: UUID
    progress: Progress
    since: datetime | None
    withdrawn_at: datetime | None
    detached_at: datetime | None
    activated: bool
    shared: bool
    suppressed: datetime | None
    resent: int
    link_ends_at: datetime | None
    resets: Sequence[Allowance]
    invitations: Sequence[Allowance]
    corrections: Sequence[Allowance]
    certificate: Code


class PermittedAction(StrEnum):
    """The actions that a manager may or may not take about a participant, as requests about several name them."""

    WITHDRAW = "withdraw"
    RESET = "reset"
    RESEND = "resend"
    CORRECT = "correct"
    DUPLICATE = "duplicate"


CORRECTION_WORDS: Final = {Code.CORRECTED: "at_once", Code.CONFIRMATION_SENT: "needs_confirmation"}
"""How a correction that is allowed will be made."""


def permissions(person: ParticipantStanding, now: datetime) -> dict[str, Permission]:
    """Says what may be done with a participant."""
    return {action.value: permission(action, person, now) for action in PermittedAction}


def permission(action: PermittedAction, person: ParticipantStanding, now: datetime) -> Permission:
    """Says whether one action may be taken about a participant."""
    return _JUDGES[action](person, now)


def _reset(person: ParticipantStanding, _now: datetime) -> Permission:
    code = answer_reset(_holder(person), person.resets).verdict.code
    return Permission(code in MAILED, code)


def _resend(person: ParticipantStanding, _now: datetime) -> Permission:
    code = answer_invitation(_holder(person), person.invitations).verdict.code
    return Permission(code in MAILED, code)


def _holder(person: ParticipantStanding) -> LinkHolder:
    return LinkHolder(
        person.withdrawn_at, person.activated, person.resent, person.link_ends_at, person.detached_at, person.suppressed
    )


def _withdraw(person: ParticipantStanding, now: datetime) -> Permission:
    candidate = WithdrawalCandidate(person.progress, person.since, person.withdrawn_at, person.detached_at)
    [verdict] = decide_withdrawals([person.enrollment_id], {person.enrollment_id: candidate}, now).verdicts
    return Permission(verdict.code is Code.WITHDRAWN, verdict.code)


def _correct(person: ParticipantStanding, _now: datetime) -> Permission:
    """Judges a correction to an address that is free: what may be wrong with the new one is not known yet."""
    facts = ParticipantFacts(
        person.withdrawn_at,
        person.detached_at,
        person.activated,
        person.shared,
        same=False,
        taken=False,
        suppressed=None,
    )
    code = answer_correction(facts, person.corrections).verdict.code
    return Permission(code in CORRECTION_WORDS, CORRECTION_WORDS.get(code, code))


def _duplicate(person: ParticipantStanding, _now: datetime) -> Permission:
    issued = person.certificate is Code.ISSUED
    return Permission(issued, Code.DUPLICATED if issued else person.certificate)


_JUDGES: Final[Mapping[PermittedAction, Callable[[ParticipantStanding, datetime], Permission]]] = {
    PermittedAction.WITHDRAW: _withdraw,
    PermittedAction.RESET: _reset,
    PermittedAction.RESEND: _resend,
    PermittedAction.CORRECT: _correct,
    PermittedAction.DUPLICATE: _duplicate,
}
