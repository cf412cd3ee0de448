"""A manager withdraws people from a contract, or a person says "this is not me"; these rules decide both."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from models.words import Code, Progress

WITHDRAWN_CODES: Final = frozenset({Code.WITHDRAWN, Code.ALREADY_WITHDRAWN})
"""These codes mean that the person is withdrawn as asked; every other code is a refusal."""


class WithdrawalCandidate(NamedTuple):
    """The facts of an enrollment of the contract, read while its row is locked.

    Parameters:
      since: when the LMS reported this progress; None before the training is begun.
      withdrawn_at: when the person was withdrawn, None while enrolled.
      detached_at: when the person said "this is not me"; the seat is then free or used for good.
      stays: the answer to a person who stays although the training is not begun; None when they may leave.
    """

    progress: Progress
    since: datetime | None
    withdrawn_at: datetime | None
    detached_at: datetime | None = None
    stays: "WithdrawalVerdict | None" = None


class WithdrawalVerdict(NamedTuple):
    """The decision about one requested enrollment; `detail` explains the code, as JSON."""

    code: Code
    detail: dict[str, str | None] | None = None


class DecidedWithdrawals(NamedTuple):
    """A verdict for each enrollment asked for, in input order, and the enrollments as the verdicts leave them."""

    verdicts: list[WithdrawalVerdict]
    standings: dict[UUID, WithdrawalCandidate]


def decide_withdrawals(
    asked: Sequence[UUID], standings: Mapping[UUID, WithdrawalCandidate], now: datetime
) -> DecidedWithdrawals:
    """Decides for each enrollment, in input order.

    The seat comes back only from a person who has not begun (the managers' guide, *retirer*). A person withdrawn
    before, also further up in the same request, is not refused: the manager's wish is fulfilled already.

    Parameters:
      asked: the enrollments of the request, as they came; some may be there twice, some may not exist.
      standings: the enrollments of the contract among them.
      now: the time of the transaction.
    """
    verdicts, after = [], dict(standings)
    for enrollment_id in asked:
        standing = after.get(enrollment_id)
        verdict = _decide_withdrawal(standing)
        if standing is not None and verdict.code is Code.WITHDRAWN:
            after[enrollment_id] = standing._replace(withdrawn_at=now)
        verdicts.append(verdict)
    return DecidedWithdrawals(verdicts, after)


def _decide_withdrawal(standing: WithdrawalCandidate | None) -> WithdrawalVerdict:
    if standing is None:
        return WithdrawalVerdict(Code.NOT_FOUND)
    if standing.detached_at is not None:
        return WithdrawalVerdict(Code.DETACHED, {"since": standing.detached_at.isoformat()})
    if standing.withdrawn_at is not None:
        return WithdrawalVerdict(Code.ALREADY_WITHDRAWN, {"since": standing.withdrawn_at.isoformat()})
    if standing.progress is not Progress.NOT_STARTED:
        since = standing.since.isoformat() if standing.since else None
        return WithdrawalVerdict(Code.ALREADY_STARTED, {"progress": standing.progress.value, "since": since})
    return standing.stays or WithdrawalVerdict(Code.WITHDRAWN)


class DetachmentStep(StrEnum):
    """The effect of "this is not me" on an enrollment."""

    GIVE_SEAT_BACK = "give_seat_back"  # the training is not begun: as if the person had been withdrawn
    KEEP_SEAT = "keep_seat"  # begun: the person is detached, the seat stays used
    NOTHING_LEFT = "nothing_left"  # withdrawn in the meantime, or no longer known
    DONE_BEFORE = "done_before"  # the person said it before


DETACHING: Final = frozenset({DetachmentStep.GIVE_SEAT_BACK, DetachmentStep.KEEP_SEAT})
"""These steps change the enrollment."""


class AttachedEnrollment(NamedTuple):
    """The facts of an enrollment, read while its row is locked."""

    progress: Progress
    withdrawn_at: datetime | None
    detached_at: datetime | None


def decide_detachment(standing: AttachedEnrollment | None) -> DetachmentStep:
    """Decides the effect of "this is not me", said by the holder of the account.

    Seats follow the managers' guide (*retirer*): a seat comes back only from a person who has not begun the training. A
    person who is no longer on the contract has nothing to be detached from.
    """
    if standing is None:
        return DetachmentStep.NOTHING_LEFT
    if standing.detached_at is not None:
        return DetachmentStep.DONE_BEFORE
    if standing.withdrawn_at is not None:
        return DetachmentStep.NOTHING_LEFT
    return DetachmentStep.GIVE_SEAT_BACK if standing.progress is Progress.NOT_STARTED else DetachmentStep.KEEP_SEAT
