"""Jobs that correct an address: a manager's for one participant, those of ops for any account.

A request of a batch is done by a few statements of its own: each speaks of one person. Lock order: job rows, accounts
by address (all of the batch at once), throttles, links, enrollments, mails.
"""

from collections.abc import Callable, Mapping, Sequence
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
    end,
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
"""Scopes whose counts nobody moves without the account's row."""

Allowances = Mapping[ThrottleSubject, Allowance]


class CorrectionJob(NamedTuple):
    """One claimed job of a manager."""

    row: ClaimedRow
    request: CorrectEmail
    subjects: tuple[ThrottleSubject, ...]

    @property
    def portal_id(self) -> UUID:
        """Who asks."""
        return cast("UUID", self.row.columns["portal_id"])


class CorrectionOutcome(NamedTuple):
    """What came of one job; `detail` explains the code, as JSON."""

    answer: ResendVerdict
    account_id: UUID | None = None
    company_id: UUID | None = None
    detail: dict[str, Any] | None = None


def correct_email(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `correct_email` jobs, in ledger order.

    An account never activated and of one company alone moves at once. One that was activated is told at both addresses
    and waits (``correction_verdicts``). Whatever else is refused by a code.

    Raises: a transient error of the database when an account or a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("CorrectEmail", parse(row.columns["kind"], row.columns["request"])) for row in rows]
    accounts = lock_accounts_of(session, {request.enrollment_id for request in requests})
    jobs = _jobs(rows, requests, accounts)
    subjects = {subject for job in jobs for subject in job.subjects}
    hold(session, [subject for subject in subjects if subject.scope not in HELD_BY_THE_ACCOUNT])
    allowances = read_allowances(session, subjects)
    with AccountMoves(session) as moves:
        answered = [_correct(session, job, allowances, moves) for job in jobs]
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
    """Against whom a correction counts; one of nobody counts against nobody."""
    own = () if account_id is None else (ThrottleSubject(ThrottleScope.CORRECTION_ACCOUNT, account_id),)
    return (
        ThrottleSubject(ThrottleScope.CORRECTION_ENROLLMENT, request.enrollment_id),
        *own,
        ThrottleSubject(ThrottleScope.CORRECTION_ADDRESS, address),
        ThrottleSubject(ThrottleScope.CORRECTION_PORTAL, row.columns["portal_id"]),
    )


def _correct(session: Session, job: CorrectionJob, allowances: Allowances, moves: AccountMoves) -> CorrectionOutcome:
    known = _read(session, job)
    if known is None:
        return CorrectionOutcome(answer_correction(None, ()))
    waiting = read_waiting(session, known.whose.account_id)
    if waiting is not None:  # what it may rest on has changed, or its time has come: that first
        settle(session, waiting, moves)
        known, waiting = _read(session, job) or known, read_waiting(session, known.whose.account_id)
    answer = answer_correction(known.standing, [allowances[subject] for subject in job.subjects])
    do = _DO.get(answer.code)
    if do is None:
        return _answered(known, answer)
    return do(session, job, known, waiting, moves)


def _read(session: Session, job: CorrectionJob) -> LockedParticipant | None:
    return read_participant(session, job.portal_id, job.request.enrollment_id, job.request.email)


def _at_once(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    moves: AccountMoves,
) -> CorrectionOutcome:
    new = _new(job, known)
    invitations = _move(session, known.whose, new, waiting, ground=CorrectionGround.NEVER_ACTIVATED, moves=moves)
    if invitations is None:
        return _answered(known, ResendVerdict(Code.ADDRESS_TAKEN))
    return _answered(known, ResendVerdict(Code.CORRECTED), {"invitations": invitations})


def _ask_both(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    _: AccountMoves,
) -> CorrectionOutcome:
    """The new address is to confirm, the old one to answer. Asked again, the same link is mailed and no time is won;
    none once the new address has confirmed.
    """
    whose, new = known.whose, _new(job, known)
    if waiting is not None and waiting.new_email == new.new_email:
        return _ask_again(session, known, new, waiting)
    if waiting is not None:
        end(session, waiting, TAKEN_BACK, requested_by=new.requested_by, instead=new)
    correction_id, until = insert_correction(session, new, CorrectionState.PENDING)
    insert_links(session, correction_id, whose.account_id)
    owe(session, [_confirmation(whose, new, correction_id), _notice(whose, new, correction_id)])
    return _waits(known, until)


def _ask_again(
    session: Session, known: LockedParticipant, new: NewCorrection, waiting: PendingCorrection
) -> CorrectionOutcome:
    confirmed_at, until = waiting.pending.confirmed_at, waiting.pending.ends_at
    if confirmed_at is not None:
        detail = {"since": confirmed_at.isoformat(), "until": until.isoformat()}
        return _answered(known, ResendVerdict(Code.AGREEMENT_AWAITED), detail)
    owe(session, [_confirmation(known.whose, new, waiting.id)])
    return _waits(known, until)


def _leave(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    _: AccountMoves,
) -> CorrectionOutcome:
    """The address it has already: whatever other was asked for before is taken back."""
    if waiting is not None:
        end(session, waiting, TAKEN_BACK, requested_by=job.request.requested_by, instead=_new(job, known))
    return _answered(known, ResendVerdict(Code.UNCHANGED))


_Do = Callable[[Session, CorrectionJob, LockedParticipant, PendingCorrection | None, AccountMoves], CorrectionOutcome]

_DO: Final[dict[Code, _Do]] = {
    Code.CORRECTED: _at_once,
    Code.CONFIRMATION_SENT: _ask_both,
    Code.UNCHANGED: _leave,
}


def _new(job: CorrectionJob, known: LockedParticipant) -> NewCorrection:
    whose, asker = known.whose, job.request.requested_by
    addresses = (whose.email, job.request.email)
    return NewCorrection(
        whose.account_id, job.portal_id, job.row.id, asker, *addresses, job.request.enrollment_id, known.company_id
    )


def _confirmation(whose: LockedAccount, new: NewCorrection, correction_id: UUID) -> OwedMail:
    """The mail to the new address, once for each job that asks for it."""
    key = f"{correction_id}:{new.job_id}"
    context = {"correction": str(correction_id)}
    return mail_about(
        new,
        EmailKind.CORRECTION_CONFIRMATION,
        key=key,
        to_address=new.new_email,
        locale=whose.locale,
        context=context,
    )


def _notice(whose: LockedAccount, new: NewCorrection, correction_id: UUID) -> OwedMail:
    """The mail to the old address, which may still say no."""
    context = {"correction": str(correction_id)}
    return mail_about(
        new,
        EmailKind.CORRECTION_NOTICE,
        key=str(correction_id),
        to_address=whose.email,
        locale=whose.locale,
        context=context,
    )


def _move(
    session: Session,
    whose: LockedAccount,
    new: NewCorrection,
    waiting: PendingCorrection | None,
    *,
    ground: CorrectionGround,
    moves: AccountMoves,
) -> int | None:
    """Moves an account at once; returns the invitations owed, or None when another account has the address by now."""
    if not moves.move(whose, new.new_email):
        return None
    if waiting is not None:
        end(session, waiting, TAKEN_BACK, requested_by=new.requested_by, instead=new)
    correction_id, _ = insert_correction(session, new, CorrectionState.APPLIED, ground)
    return follow_up(session, whose, correction_id, new, ground)


def _waits(known: LockedParticipant, until: Any) -> CorrectionOutcome:
    return _answered(known, ResendVerdict(Code.CONFIRMATION_SENT), {"until": until.isoformat()})


def _answered(
    known: LockedParticipant, answer: ResendVerdict, detail: dict[str, Any] | None = None
) -> CorrectionOutcome:
    if detail is None and answer.moment is not None:
        detail = {"from" if answer.code is Code.THROTTLED else "since": answer.moment.isoformat()}
    return CorrectionOutcome(answer, known.whose.account_id, known.company_id, detail)


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
    """Does a batch of `correct_email_by_ops` jobs: at once, whatever companies the account belongs to.

    What was pending for the account is taken back. Their reason goes to the audit trail.

    Raises: a transient error of the database when an account is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [
        cast("CorrectEmailByOps", parse(row.columns["kind"], row.columns["request"], internal=True)) for row in rows
    ]
    lock_accounts(session, {request.account_id for request in requests})
    with AccountMoves(session) as moves:
        return [_by_ops(session, row, request, moves) for row, request in zip(rows, requests, strict=True)]


def _by_ops(session: Session, row: ClaimedRow, request: CorrectEmailByOps, moves: AccountMoves) -> WorkOutcome:
    found = read_account(session, request.account_id, request.email)
    code, detail = Code.NOT_FOUND, None
    if found is not None:
        whose, (code, since) = found
        detail = {"since": since.isoformat()} if since else None
        if code is Code.CORRECTED:
            code, detail = _hand_over(session, row, request, whose, moves)
    record(
        session,
        request.kind,
        portal_id=row.columns["portal_id"],
        requested_by=request.requested_by,
        result=code,
        account_id=request.account_id if found else None,
        subject_id=request.account_id,
        job_id=row.id,
        detail=(detail or {}) | {"reason": request.reason},
    )
    return _finished(row, PersonResult(0, code, None, request.account_id if found else None, None, detail))


def _hand_over(
    session: Session, row: ClaimedRow, request: CorrectEmailByOps, whose: LockedAccount, moves: AccountMoves
) -> tuple[Code, dict[str, Any] | None]:
    addresses = (whose.email, request.email)
    new = NewCorrection(whose.account_id, row.columns["portal_id"], row.id, request.requested_by, *addresses)
    invitations = _move(
        session, whose, new, read_waiting(session, whose.account_id), ground=CorrectionGround.OPS, moves=moves
    )
    if invitations is None:
        return Code.ADDRESS_TAKEN, None
    return Code.CORRECTED, {"invitations": invitations}
