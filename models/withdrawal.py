"""People who leave a contract: a manager withdraws them, or they say themselves that the enrollment is not theirs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from models.words import Code, Progress

WITHDRAWN_CODES: Final = frozenset({Code.WITHDRAWN, Code.ALREADY_WITHDRAWN})
"""Codes of people for whom a withdrawal achieved what it asked; every other is a refusal."""


class WithdrawalCandidate(NamedTuple):
    """An enrollment of the contract, as it stands while its row is held.

    Parameters:
      since: when it came to this progress, as far as the LMS said; None before the training is begun.
      withdrawn_at: when the person was withdrawn, None while enrolled.
      detached_at: when the person said that the enrollment was not theirs; the seat is then free or used for good.
      stays: why the person stays although the training is not begun, None when nothing speaks against leaving.
    """

    progress: Progress
    since: datetime | None
    withdrawn_at: datetime | None
    detached_at: datetime | None = None
    stays: "WithdrawalVerdict | None" = None


class WithdrawalVerdict(NamedTuple):
    """What happens to one enrollment asked for; `detail` are the facts that explain a code, as JSON."""

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
    """What a detachment comes to."""

    GIVE_SEAT_BACK = "give_seat_back"  # the training is not begun: as if the person had been withdrawn
    KEEP_SEAT = "keep_seat"  # begun: the person is detached, the seat stays used
    NOTHING_LEFT = "nothing_left"  # withdrawn meanwhile, or no longer known
    DONE_BEFORE = "done_before"  # said before


DETACHING: Final = frozenset({DetachmentStep.GIVE_SEAT_BACK, DetachmentStep.KEEP_SEAT})
"""Steps that change something."""


class AttachedEnrollment(NamedTuple):
    """An enrollment as it stands while its row is held."""

    progress: Progress
    withdrawn_at: datetime | None
    detached_at: datetime | None


def decide_detachment(standing: AttachedEnrollment | None) -> DetachmentStep:
    """What to do when the holder of the account says that the enrollment is not theirs.

    Seats follow the managers' guide (*retirer*): one comes back only from somebody who has not begun, whoever asks. A
    person who is not on the contract any more has nothing to be detached from.
    """
    if standing is None:
        return DetachmentStep.NOTHING_LEFT
    if standing.detached_at is not None:
        return DetachmentStep.DONE_BEFORE
    if standing.withdrawn_at is not None:
        return DetachmentStep.NOTHING_LEFT
    return DetachmentStep.GIVE_SEAT_BACK if standing.progress is Progress.NOT_STARTED else DetachmentStep.KEEP_SEAT
