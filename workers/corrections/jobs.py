"""Jobs that correct an address: a manager's for one participant, an operator's for any account.

Each request of a batch is about one person and has a few statements of its own. Lock order: job rows, accounts by
address (all of the batch at once), throttles, links, enrollments, mails.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from models.correction import CORRECTED_CODES, CorrectionGround, CorrectionVerdict, answer_correction
from models.link import ResendVerdict
from models.throttle import Allowance, ThrottleScope
from models.words import Code, CorrectionState, EmailKind, JobState
from workers.audit import record
from workers.corrections.changes import AccountMoves, follow_up
from workers.corrections.facts import (
    LockedAccount,
    LockedParticipant,
    PendingCorrection,
    lock_accounts,
    lock_accounts_of,
    read_account,
    read_participant,
    read_waiting,
)
from workers.corrections.rows import (
    NewCorrection,
    end_pending,
    insert_correction,
    insert_links,
    mail_about,
)
from workers.corrections.verdicts import settle
from workers.database import Session, wait_briefly_for_locks
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none
from workers.outbox.mails import OwedMail, owe
from workers.requests.accounts import CorrectEmail
from workers.requests.internal import CorrectEmailByOps
from workers.requests.registry import parse
from workers.security.throttles import (
    ThrottleSubject,
    address_subjects,
    count,
    hold,
    read_allowances,
)

TAKEN_BACK: Final = CorrectionVerdict(CorrectionState.SUPERSEDED, CorrectionGround.TAKEN_BACK)

HELD_BY_THE_ACCOUNT: Final = frozenset({ThrottleScope.CORRECTION_ENROLLMENT, ThrottleScope.CORRECTION_ACCOUNT})
"""Scopes that are counted only while the account's row is held; the other scopes have locks of their own."""


class CorrectionJob(NamedTuple):
    """One claimed job of a manager."""

    row: ClaimedRow
    request: CorrectEmail
    subjects: tuple[ThrottleSubject, ...]

    @property
    def portal_id(self) -> UUID:
        """The portal that asks."""
        return self.row.columns.portal_id


class CorrectionOutcome(NamedTuple):
    """The end of one job; `detail` explains the code, as JSON."""

    answer: ResendVerdict
    account_id: UUID | None = None
    company_id: UUID | None = None
    detail: dict[str, Any] | None = None


def correct_email(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `correct_email` jobs, in ledger order.

    An account that was never activated and that one company alone has gets its new address at once. When it was
    activated, both addresses are told and the correction waits (``workers/corrections/verdicts.py``). Every other
    request is refused with a code.

    Raises: a transient error of the database when an account or a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("CorrectEmail", parse(row.columns.kind, row.columns.request)) for row in rows]
    accounts = lock_accounts_of(session, {request.enrollment_id for request in requests})
    jobs = _jobs(rows, requests, accounts)
    subjects = {subject for job in jobs for subject in job.subjects}
    hold(session, [subject for subject in subjects if subject.scope not in HELD_BY_THE_ACCOUNT])
    allowances = read_allowances(session, subjects)
    with AccountMoves(session) as moves:
        answered = []
        for job in jobs:
            outcome, counted = _correct(session, job, [allowances[subject] for subject in job.subjects], moves)
            allowances.update(zip(job.subjects, counted, strict=True))
            answered.append(outcome)
        count(session, allowances)
    return [_outcome(session, job, one) for job, one in zip(jobs, answered, strict=True)]


def _jobs(
    rows: Sequence[ClaimedRow], requests: Sequence[CorrectEmail], accounts: Mapping[UUID, UUID]
) -> list[CorrectionJob]:
    hashes = address_subjects({request.email for request in requests})
    return [
        CorrectionJob(row, request, _subjects(row, request, hashes[request.email], accounts.get(request.enrollment_id)))
        for row, request in zip(rows, requests, strict=True)
    ]


def _subjects(
    row: ClaimedRow, request: CorrectEmail, address: UUID, account_id: UUID | None
) -> tuple[ThrottleSubject, ...]:
    """Returns the throttle subjects that count a correction; an unknown enrollment has no account to count against."""
    own = () if account_id is None else (ThrottleSubject(ThrottleScope.CORRECTION_ACCOUNT, account_id),)
    return (
        ThrottleSubject(ThrottleScope.CORRECTION_ENROLLMENT, request.enrollment_id),
        *own,
        ThrottleSubject(ThrottleScope.CORRECTION_ADDRESS, address),
        ThrottleSubject(ThrottleScope.CORRECTION_PORTAL, row.columns.portal_id),
    )


def _correct(
    session: Session, job: CorrectionJob, allowances: Sequence[Allowance], moves: AccountMoves
) -> tuple[CorrectionOutcome, Sequence[Allowance]]:
    """Does one job; returns its outcome, and the allowances of its subjects after it."""
    known = _read(session, job)
    if known is None:
        return CorrectionOutcome(answer_correction(None, ()).verdict), allowances
    waiting = read_waiting(session, known.account.account_id)
    if waiting is not None:  # its facts may have changed, or its time may have come: it is settled first
        settle(session, waiting, moves)
        known, waiting = _read(session, job) or known, read_waiting(session, known.account.account_id)
    answer, counted = answer_correction(known.standing, allowances)
    step = _STEPS.get(answer.code)
    return _answered(known, answer) if step is None else step(session, job, known, waiting, moves), counted


def _read(session: Session, job: CorrectionJob) -> LockedParticipant | None:
    return read_participant(session, job.portal_id, job.request.enrollment_id, job.request.email)


def _move_at_once(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    moves: AccountMoves,
) -> CorrectionOutcome:
    new = _new(job, known)
    invitations = _move(session, known.account, new, waiting, ground=CorrectionGround.NEVER_ACTIVATED, moves=moves)
    if invitations is None:
        return _answered(known, ResendVerdict(Code.ADDRESS_TAKEN))
    return _answered(known, ResendVerdict(Code.CORRECTED), {"invitations": invitations})


def _ask_addresses(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    _: AccountMoves,
) -> CorrectionOutcome:
    """Asks the new address to confirm and the old one to answer.

    A manager who asks again for the same address has the same link mailed again and wins no time; no mail is sent once
    the new address has confirmed.
    """
    account, new = known.account, _new(job, known)
    if waiting is not None and waiting.new_email == new.new_email:
        return _ask_again(session, known, new, waiting)
    if waiting is not None:
        end_pending(session, waiting, TAKEN_BACK, requested_by=new.requested_by, instead=new)
    correction = insert_correction(session, new, CorrectionState.PENDING)
    insert_links(session, correction.id, account.account_id)
    owe(session, [_confirmation(account, new, correction.id), _notice(account, new, correction.id)])
    return _waits(known, correction.waits_until)


def _ask_again(
    session: Session, known: LockedParticipant, new: NewCorrection, waiting: PendingCorrection
) -> CorrectionOutcome:
    confirmed_at, until = waiting.pending.confirmed_at, waiting.pending.ends_at
    if confirmed_at is not None:
        detail = {"since": confirmed_at.isoformat(), "until": until.isoformat()}
        return _answered(known, ResendVerdict(Code.AGREEMENT_AWAITED), detail)
    owe(session, [_confirmation(known.account, new, waiting.id)])
    return _waits(known, until)


def _keep_address(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    _: AccountMoves,
) -> CorrectionOutcome:
    """The account keeps its address, which is the one asked for; another one that waits is taken back."""
    if waiting is not None:
        end_pending(session, waiting, TAKEN_BACK, requested_by=job.request.requested_by, instead=_new(job, known))
    return _answered(known, ResendVerdict(Code.UNCHANGED))


_Step = Callable[[Session, CorrectionJob, LockedParticipant, PendingCorrection | None, AccountMoves], CorrectionOutcome]

_STEPS: Final[dict[Code, _Step]] = {
    Code.CORRECTED: _move_at_once,
    Code.CONFIRMATION_SENT: _ask_addresses,
    Code.UNCHANGED: _keep_address,
}


def _new(job: CorrectionJob, known: LockedParticipant) -> NewCorrection:
    account, asker = known.account, job.request.requested_by
    addresses = (account.email, job.request.email)
    return NewCorrection(
        account.account_id, job.portal_id, job.row.id, asker, *addresses, job.request.enrollment_id, known.company_id
    )


def _confirmation(account: LockedAccount, new: NewCorrection, correction_id: UUID) -> OwedMail:
    """Returns the mail to the new address, once for each job that asks for it."""
    key = f"{correction_id}:{new.job_id}"
    context = {"correction": str(correction_id)}
    return mail_about(
        new,
        EmailKind.CORRECTION_CONFIRMATION,
        key=key,
        to_address=new.new_email,
        locale=account.locale,
        context=context,
    )


def _notice(account: LockedAccount, new: NewCorrection, correction_id: UUID) -> OwedMail:
    """Returns the mail to the old address, which may still say no."""
    context = {"correction": str(correction_id)}
    return mail_about(
        new,
        EmailKind.CORRECTION_NOTICE,
        key=str(correction_id),
        to_address=account.email,
        locale=account.locale,
        context=context,
    )


def _move(
    session: Session,
    account: LockedAccount,
    new: NewCorrection,
    waiting: PendingCorrection | None,
    *,
    ground: CorrectionGround,
    moves: AccountMoves,
) -> int | None:
    """Gives an account its new address at once.

    Returns: how many invitations are owed, or None when another account has the address by now.
    """
    if not moves.move(account, new.new_email):
        return None
    if waiting is not None:
        end_pending(session, waiting, TAKEN_BACK, requested_by=new.requested_by, instead=new)
    correction = insert_correction(session, new, CorrectionState.APPLIED, ground)
    return follow_up(session, account, correction.id, new, ground)


def _waits(known: LockedParticipant, until: datetime) -> CorrectionOutcome:
    return _answered(known, ResendVerdict(Code.CONFIRMATION_SENT), {"until": until.isoformat()})


def _answered(
    known: LockedParticipant, answer: ResendVerdict, detail: dict[str, Any] | None = None
) -> CorrectionOutcome:
    if detail is None and answer.moment is not None:
        detail = {"from" if answer.code is Code.THROTTLED else "since": answer.moment.isoformat()}
    return CorrectionOutcome(answer, known.account.account_id, known.company_id, detail)


def _outcome(session: Session, job: CorrectionJob, answered: CorrectionOutcome) -> WorkOutcome:
    code, enrollment_id = answered.answer.code, job.request.enrollment_id
    record(
        session,
        job.request.kind,
        portal_id=job.portal_id,
        requested_by=job.request.requested_by,
        result=code,
        company_id=answered.company_id,
        account_id=answered.account_id,
        subject_id=enrollment_id,
        job_id=job.row.id,
        detail=answered.detail,
    )
    person = PersonResult(0, code, None, answered.account_id, enrollment_id, answered.detail)
    return _finished(job.row, person)


def _finished(row: ClaimedRow, person: PersonResult) -> WorkOutcome:
    state = JobState.SUCCEEDED if person.code in CORRECTED_CODES else JobState.REFUSED
    return WorkOutcome(row.id, row.claim, state, {"counts": {person.code: 1}} | one_or_none([person]))


def correct_email_by_ops(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `correct_email_by_ops` jobs: at once, also if several companies have enrolled the account.

    A correction that waits for the account is taken back. The operators' reason goes to the audit trail.

    Raises: a transient error of the database when an account is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("CorrectEmailByOps", parse(row.columns.kind, row.columns.request, internal=True)) for row in rows]
    lock_accounts(session, {request.account_id for request in requests})
    with AccountMoves(session) as moves:
        return [_by_ops(session, row, request, moves) for row, request in zip(rows, requests, strict=True)]


def _by_ops(session: Session, row: ClaimedRow, request: CorrectEmailByOps, moves: AccountMoves) -> WorkOutcome:
    found = read_account(session, request.account_id, request.email)
    code, detail = Code.NOT_FOUND, None
    if found is not None:
        account, (code, since) = found
        detail = {"since": since.isoformat()} if since else None
        if code is Code.CORRECTED:
            code, detail = _hand_over(session, row, request, account, moves)
    record(
        session,
        request.kind,
        portal_id=row.columns.portal_id,
        requested_by=request.requested_by,
        result=code,
        account_id=request.account_id if found else None,
        subject_id=request.account_id,
        job_id=row.id,
        detail=(detail or {}) | {"reason": request.reason},
    )
    return _finished(row, PersonResult(0, code, None, request.account_id if found else None, None, detail))


def _hand_over(
    session: Session, row: ClaimedRow, request: CorrectEmailByOps, account: LockedAccount, moves: AccountMoves
) -> tuple[Code, dict[str, Any] | None]:
    addresses = (account.email, request.email)
    new = NewCorrection(account.account_id, row.columns.portal_id, row.id, request.requested_by, *addresses)
    invitations = _move(
        session, account, new, read_waiting(session, account.account_id), ground=CorrectionGround.OPS, moves=moves
    )
    if invitations is None:
        return Code.ADDRESS_TAKEN, None
    return Code.CORRECTED, {"invitations": invitations}
