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
from workers.corrections.changes import finish, follow_up, move
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
    CorrectionMail,
    NewCorrection,
    end,
    insert_correction,
    insert_links,
    owe_mails,
)
from workers.corrections.verdicts import settle
from workers.database import Session, wait_briefly_for_locks
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none
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
    moved: list[LockedAccount] = []
    answered = [_correct(session, job, allowances, moved) for job in jobs]
    count(session, allowances)
    finish(session, moved)
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


def _correct(
    session: Session, job: CorrectionJob, allowances: Allowances, moved: list[LockedAccount]
) -> CorrectionOutcome:
    known = _read(session, job)
    if known is None:
        return CorrectionOutcome(answer_correction(None, ()))
    waiting = read_waiting(session, known.whose.account_id)
    if waiting is not None:  # what it may rest on has changed, or its time has come: that first
        moved += settle(session, waiting).moved
        known, waiting = _read(session, job) or known, read_waiting(session, known.whose.account_id)
    answer = answer_correction(known.standing, [allowances[subject] for subject in job.subjects])
    do = _DO.get(answer.code)
    if do is None:
        return _answered(known, answer)
    return do(session, job, known, waiting, moved)


def _read(session: Session, job: CorrectionJob) -> LockedParticipant | None:
    return read_participant(session, job.portal_id, job.request.enrollment_id, job.request.email)


def _at_once(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    moved: list[LockedAccount],
) -> CorrectionOutcome:
    new = _new(job, known)
    invitations = _move(session, known.whose, new, waiting, CorrectionGround.NEVER_ACTIVATED)
    if invitations is None:
        return _answered(known, ResendVerdict(Code.ADDRESS_TAKEN))
    moved.append(known.whose)
    return _answered(known, ResendVerdict(Code.CORRECTED), {"invitations": invitations})


def _ask_both(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    _: list[LockedAccount],
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
    kind, context = EmailKind.CORRECTION_NOTICE, {"correction": str(correction_id)}
    notice = CorrectionMail(kind, f"{kind}:{correction_id}", whose.email, new.lane, context)
    mails = [_confirmation(new, correction_id), notice]
    owe_mails(session, mails, account_id=whose.account_id, job_id=new.job_id, locale=whose.locale)
    return _waits(known, until)


def _ask_again(
    session: Session, known: LockedParticipant, new: NewCorrection, waiting: PendingCorrection
) -> CorrectionOutcome:
    confirmed_at, until = waiting.pending.confirmed_at, waiting.pending.ends_at
    if confirmed_at is not None:
        detail = {"since": confirmed_at.isoformat(), "until": until.isoformat()}
        return _answered(known, ResendVerdict(Code.AGREEMENT_AWAITED), detail)
    mails = [_confirmation(new, waiting.id)]
    owe_mails(session, mails, account_id=new.account_id, job_id=new.job_id, locale=known.whose.locale)
    return _waits(known, until)


def _leave(
    session: Session,
    job: CorrectionJob,
    known: LockedParticipant,
    waiting: PendingCorrection | None,
    _: list[LockedAccount],
) -> CorrectionOutcome:
    """The address it has already: whatever other was asked for before is taken back."""
    if waiting is not None:
        end(session, waiting, TAKEN_BACK, requested_by=job.request.requested_by, instead=_new(job, known))
    return _answered(known, ResendVerdict(Code.UNCHANGED))


_Do = Callable[
    [Session, CorrectionJob, LockedParticipant, PendingCorrection | None, list[LockedAccount]], CorrectionOutcome
]

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


def _confirmation(new: NewCorrection, correction_id: UUID) -> CorrectionMail:
    kind = EmailKind.CORRECTION_CONFIRMATION
    context = {"correction": str(correction_id)}
    return CorrectionMail(kind, f"{kind}:{correction_id}:{new.job_id}", new.new_email, new.lane, context)


def _move(
    session: Session,
    whose: LockedAccount,
    new: NewCorrection,
    waiting: PendingCorrection | None,
    ground: CorrectionGround,
) -> int | None:
    """Moves an account at once; returns the invitations owed, or None when another account has the address by now."""
    if not move(session, whose, new.new_email):
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
    moved: list[LockedAccount] = []
    outcomes = [_by_ops(session, row, request, moved) for row, request in zip(rows, requests, strict=True)]
    finish(session, moved)
    return outcomes


def _by_ops(session: Session, row: ClaimedRow, request: CorrectEmailByOps, moved: list[LockedAccount]) -> WorkOutcome:
    found = read_account(session, request.account_id, request.email)
    code, detail = Code.NOT_FOUND, None
    if found is not None:
        whose, (code, since) = found
        detail = {"since": since.isoformat()} if since else None
        if code is Code.CORRECTED:
            code, detail = _hand_over(session, row, request, whose, moved)
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
    session: Session, row: ClaimedRow, request: CorrectEmailByOps, whose: LockedAccount, moved: list[LockedAccount]
) -> tuple[Code, dict[str, Any] | None]:
    addresses = (whose.email, request.email)
    new = NewCorrection(whose.account_id, row.columns["portal_id"], row.id, request.requested_by, *addresses)
    invitations = _move(session, whose, new, read_waiting(session, whose.account_id), CorrectionGround.OPS)
    if invitations is None:
        return Code.ADDRESS_TAKEN, None
    moved.append(whose)
    return Code.CORRECTED, {"invitations": invitations}
