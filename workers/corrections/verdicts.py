"""The verdict on a pending correction: the one rule (``models/correction.py``), evaluated while its account is held.

The rule is evaluated whenever a link is used or another correction is asked for, and every five minutes for corrections
that time alone decides.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from models.correction import CorrectionGround, CorrectionVerdict, judge_correction
from models.words import CorrectionState, JobState
from workers.corrections.changes import AccountMoves, follow_up
from workers.corrections.facts import (
    LockedAccount,
    PendingCorrection,
    lock_accounts,
    read_all_waiting,
    read_waiting,
)
from workers.corrections.name_answers import end_unconfirmed_names
from workers.corrections.rows import NewCorrection, end_pending, mark_applied
from workers.database import Session, wait_briefly_for_locks
from workers.engine.acceptance import owe_successor
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.requests.internal import ApplyCorrections

MOST_AT_ONCE: Final = 200
"""Corrections decided in one transaction, which holds their accounts; another job is owed for the rest."""


def settle(session: Session, waiting: PendingCorrection, moves: AccountMoves) -> CorrectionVerdict:
    """Applies a pending correction if its time has come, or ends it. It was read after its account was locked."""
    verdict = judge_correction(waiting.pending, waiting.now)
    if verdict.state is CorrectionState.APPLIED:
        return _apply(session, waiting, verdict, moves)
    if verdict.state is not CorrectionState.PENDING:
        end_pending(session, waiting, verdict)
    return verdict


def _apply(
    session: Session, waiting: PendingCorrection, verdict: CorrectionVerdict, moves: AccountMoves
) -> CorrectionVerdict:
    account = LockedAccount(
        waiting.account_id, waiting.old_email, waiting.locale, activated=True
    )  # no other ever waits
    if not moves.move(account, waiting.new_email):
        taken = CorrectionVerdict(CorrectionState.CANCELLED, CorrectionGround.TAKEN)
        end_pending(session, waiting, taken)
        return taken
    new = NewCorrection(
        waiting.account_id,
        waiting.portal_id,
        waiting.job_id,
        waiting.requested_by,
        waiting.old_email,
        waiting.new_email,
        waiting.enrollment_id,
        waiting.company_id,
    )
    follow_up(session, account, waiting.id, new, verdict.ground)
    mark_applied(session, waiting, verdict.ground)
    return verdict


def apply_corrections(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does `apply_corrections` jobs: a ripe correction is applied, a hopeless or unconfirmed one is ended.

    All are looked at without a lock; the accounts of those to decide are then locked, and they are judged again. An
    account that another transaction holds has its turn five minutes later.
    """
    wait_briefly_for_locks(session)
    decided = [one.account_id for one in read_all_waiting(session) if _decided(one)]
    states = _settle_all(session, decided[:MOST_AT_ONCE])
    names = end_unconfirmed_names(session)
    if states and len(decided) > MOST_AT_ONCE:
        owe_successor(session, rows[0].id, ApplyCorrections())
    result: dict[str, Any] = {"corrections": dict(states)} | ({"names": names} if names else {})
    return [WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, result) for row in rows]


def _settle_all(session: Session, accounts: Sequence[UUID]) -> Counter[str]:
    held = lock_accounts(session, accounts, waiting=False) if accounts else set()
    states: Counter[str] = Counter()
    with AccountMoves(session) as moves:
        for account_id in (one for one in accounts if one in held):
            waiting = read_waiting(session, account_id)
            if waiting is not None:
                states[settle(session, waiting, moves).state] += 1
    return states


def _decided(waiting: PendingCorrection) -> bool:
    return judge_correction(waiting.pending, waiting.now).state is not CorrectionState.PENDING
