"""Jobs that correct a name: a manager's for one participant, an operator's for any account.

The account is locked first, as a whole, and its companies are counted by a later statement, as for addresses
(``workers/corrections/facts.py``). Lock order: job rows, accounts by address (all of the batch at once), throttles,
links, mails.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.link import ResendVerdict
from models.name_correction import RENAMED_CODES, NameFacts, NameGround, answer_name_correction
from models.names import FullName
from models.throttle import Allowance, ThrottleScope
from models.words import Code, CorrectionState, JobState
from workers.audit import record
from workers.corrections.facts import SHARED, lock_accounts, lock_accounts_of
from workers.corrections.name_rows import (
    NewNameCorrection,
    PendingNameCorrection,
    RenamedAccount,
    ask_person,
    end_pending_name,
    insert_name_correction,
    read_pending,
    rename,
    tell_person,
)
from workers.database import Session, wait_briefly_for_locks
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none
from workers.outbox.suppression import SUPPRESSED_SINCE
from workers.requests.accounts import CorrectName
from workers.requests.internal import CorrectNameByOps
from workers.requests.registry import parse
from workers.security.throttles import ThrottleSubject, count, hold, read_allowances
from workers.sql import fetch_one

# The enrollment that a manager ticked, if it is one of the portal, with the facts about its account.
READ_PARTICIPANT = text(f"""
    SELECT a.id AS account_id, a.email_norm AS email, a.locale, a.activated_at IS NOT NULL AS activated,
      a.first_name, a.last_name, e.withdrawn_at, e.detached_at, c.company_id,
      {SHARED.format(company="c.company_id", portal="c.portal_id")} AS shared,
      {SUPPRESSED_SINCE.format(address="a.email_norm")} AS suppressed
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a ON a.id = e.account_id
    WHERE e.id = :enrollment AND c.portal_id = :portal AND a.erased_at IS NULL""")

# The account that operators name.
READ_ACCOUNT = text("""
    SELECT a.id AS account_id, a.email_norm AS email, a.locale, a.activated_at IS NOT NULL AS activated,
      a.first_name, a.last_name
    FROM account a WHERE a.id = :account AND a.erased_at IS NULL""")


class _ParticipantRow(NamedTuple):
    account_id: UUID
    email: str
    locale: str
    activated: bool
    first_name: str
    last_name: str
    withdrawn_at: datetime | None
    detached_at: datetime | None
    company_id: UUID
    shared: bool
    suppressed: datetime | None

    @property
    def account(self) -> RenamedAccount:
        """The account alone."""
        named = (self.first_name, self.last_name)
        return RenamedAccount(self.account_id, self.email, self.locale, self.activated, *named)


class _NameJob(NamedTuple):
    """One claimed job of a manager."""

    row: ClaimedRow
    request: CorrectName
    subjects: tuple[ThrottleSubject, ...]

    @property
    def portal_id(self) -> UUID:
        """The portal that asks."""
        return self.row.columns.portal_id


class _NameOutcome(NamedTuple):
    """The end of one job; `detail` explains the code, as JSON."""

    code: Code
    account_id: UUID | None = None
    company_id: UUID | None = None
    detail: dict[str, Any] | None = None


def correct_name(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `correct_name` jobs, in ledger order.

    An account that was never activated and that one company alone has gets its new name at once. In every other case
    the person is asked, and the correction waits for them (``workers/corrections/name_answers.py``).

    Raises: a transient error of the database when an account or a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("CorrectName", parse(row.columns.kind, row.columns.request)) for row in rows]
    accounts = lock_accounts_of(session, {request.enrollment_id for request in requests})
    jobs = [_NameJob(row, one, _subjects(row, one, accounts)) for row, one in zip(rows, requests, strict=True)]
    subjects = {subject for job in jobs for subject in job.subjects}
    hold(session, [subject for subject in subjects if subject.scope is ThrottleScope.NAME_PORTAL])
    allowances = read_allowances(session, subjects)
    answered = []
    for job in jobs:
        outcome, counted = _correct(session, job, [allowances[subject] for subject in job.subjects])
        allowances.update(zip(job.subjects, counted, strict=True))
        answered.append(outcome)
    count(session, allowances)
    return [_outcome(session, job, one) for job, one in zip(jobs, answered, strict=True)]


def _subjects(row: ClaimedRow, request: CorrectName, accounts: Mapping[UUID, UUID]) -> tuple[ThrottleSubject, ...]:
    """Returns the throttle subjects that count a correction; an unknown enrollment has no account to count against."""
    account_id = accounts.get(request.enrollment_id)
    own = () if account_id is None else (ThrottleSubject(ThrottleScope.NAME_ACCOUNT, account_id),)
    return (*own, ThrottleSubject(ThrottleScope.NAME_PORTAL, row.columns.portal_id))


def _correct(
    session: Session, job: _NameJob, allowances: Sequence[Allowance]
) -> tuple[_NameOutcome, Sequence[Allowance]]:
    """Does one job; returns its outcome, and the allowances of its subjects after it."""
    asked = {"portal": job.portal_id, "enrollment": job.request.enrollment_id}
    known = fetch_one(session, _ParticipantRow, READ_PARTICIPANT, asked)
    if known is None:
        return _NameOutcome(answer_name_correction(None, ()).verdict.code), allowances
    new = _new(job, known)
    answer, counted = answer_name_correction(_facts(known, new), allowances)
    detail = _STEPS.get(answer.code, _nothing)(session, known.account, new, answer)
    return _NameOutcome(answer.code, known.account_id, known.company_id, detail), counted


def _new(job: _NameJob, known: _ParticipantRow) -> NewNameCorrection:
    request, old = job.request, (known.first_name, known.last_name)
    names = (request.first_name or known.first_name, request.last_name or known.last_name)
    asker, ticked = request.requested_by, request.enrollment_id
    return NewNameCorrection(known.account_id, job.portal_id, job.row.id, asker, *old, *names, ticked, known.company_id)


def _facts(known: _ParticipantRow, new: NewNameCorrection) -> NameFacts:
    same = (new.new_first_name, new.new_last_name) == (known.first_name, known.last_name)
    return NameFacts(known.withdrawn_at, known.detached_at, known.activated, known.shared, same, known.suppressed)


def _rename_at_once(
    session: Session, account: RenamedAccount, new: NewNameCorrection, _: ResendVerdict
) -> dict[str, Any] | None:
    _rename(session, account, new, NameGround.NEVER_ACTIVATED)
    return None


def _ask(session: Session, account: RenamedAccount, new: NewNameCorrection, _: ResendVerdict) -> dict[str, Any]:
    """Asks the person. A manager who asks again for the same name has the same link mailed again and wins no time."""
    waiting = read_pending(session, account.account_id)
    if waiting is not None and waiting.open and _names(waiting) == _names(new):
        ask_person(session, account, new, waiting.id)
        return {"until": waiting.waits_until.isoformat()}
    _take_back(session, waiting, new)
    correction = insert_name_correction(session, new, CorrectionState.PENDING)
    ask_person(session, account, new, correction.id)
    return {"until": correction.waits_until.isoformat()}


def _keep(session: Session, account: RenamedAccount, new: NewNameCorrection, _: ResendVerdict) -> None:
    """The account keeps its name, which is the one asked for; another one that waits is taken back."""
    _take_back(session, read_pending(session, account.account_id), new)


def _nothing(_: Session, __: RenamedAccount, ___: NewNameCorrection, answer: ResendVerdict) -> dict[str, Any] | None:
    if answer.moment is None:
        return None
    return {"from" if answer.code is Code.THROTTLED else "since": answer.moment.isoformat()}


_Step = Callable[[Session, RenamedAccount, NewNameCorrection, ResendVerdict], dict[str, Any] | None]

_STEPS: Final[dict[Code, _Step]] = {
    Code.NAME_CORRECTED: _rename_at_once,
    Code.NAME_CONFIRMATION_SENT: _ask,
    Code.UNCHANGED: _keep,
}


def _names(one: NewNameCorrection | PendingNameCorrection) -> tuple[str, str]:
    return one.new_first_name, one.new_last_name


def _take_back(session: Session, waiting: PendingNameCorrection | None, new: NewNameCorrection) -> None:
    if waiting is not None:
        ended = (CorrectionState.SUPERSEDED, NameGround.TAKEN_BACK)
        end_pending_name(session, waiting, *ended, requested_by=new.requested_by)


def _rename(session: Session, account: RenamedAccount, new: NewNameCorrection, ground: NameGround) -> UUID:
    """Gives an account its new name at once, and records that; a correction that waits is taken back."""
    _take_back(session, read_pending(session, account.account_id), new)
    name = FullName(new.new_first_name, new.new_last_name)
    rename(session, account.account_id, name, portal_id=new.portal_id, job_id=new.job_id)
    return insert_name_correction(session, new, CorrectionState.APPLIED, ground).id


def _outcome(session: Session, job: _NameJob, answered: _NameOutcome) -> WorkOutcome:
    enrollment_id = job.request.enrollment_id
    record(
        session,
        job.request.kind,
        portal_id=job.portal_id,
        requested_by=job.request.requested_by,
        result=answered.code,
        company_id=answered.company_id,
        account_id=answered.account_id,
        subject_id=enrollment_id,
        job_id=job.row.id,
        detail=answered.detail,
    )
    return _finished(job.row, PersonResult(0, answered.code, None, answered.account_id, enrollment_id, answered.detail))


def _finished(row: ClaimedRow, person: PersonResult) -> WorkOutcome:
    state = JobState.SUCCEEDED if person.code in RENAMED_CODES else JobState.REFUSED
    return WorkOutcome(row.id, row.claim, state, {"counts": {person.code: 1}} | one_or_none([person]))


def correct_name_by_ops(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `correct_name_by_ops` jobs: at once, also if several companies have enrolled the account.

    A correction that waits for the person is taken back, and an account that was activated is told. The operators'
    reason goes to the audit trail.

    Raises: a transient error of the database when an account is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("CorrectNameByOps", parse(row.columns.kind, row.columns.request, internal=True)) for row in rows]
    lock_accounts(session, {request.account_id for request in requests})
    return [_by_ops(session, row, request) for row, request in zip(rows, requests, strict=True)]


def _by_ops(session: Session, row: ClaimedRow, request: CorrectNameByOps) -> WorkOutcome:
    account = fetch_one(session, RenamedAccount, READ_ACCOUNT, {"account": request.account_id})
    code = Code.NOT_FOUND if account is None else _rename_by_ops(session, row, request, account)
    account_id = None if account is None else account.account_id
    record(
        session,
        request.kind,
        portal_id=row.columns.portal_id,
        requested_by=request.requested_by,
        result=code,
        account_id=account_id,
        subject_id=request.account_id,
        job_id=row.id,
        detail={"reason": request.reason},
    )
    return _finished(row, PersonResult(0, code, None, account_id, None))


def _rename_by_ops(session: Session, row: ClaimedRow, request: CorrectNameByOps, account: RenamedAccount) -> Code:
    old = (account.first_name, account.last_name)
    names = (request.first_name or account.first_name, request.last_name or account.last_name)
    portal_id, asker = row.columns.portal_id, request.requested_by
    new = NewNameCorrection(account.account_id, portal_id, row.id, asker, *old, *names)
    if names == old:
        _take_back(session, read_pending(session, account.account_id), new)
        return Code.UNCHANGED
    correction_id = _rename(session, account, new, NameGround.OPS)
    if account.activated:
        tell_person(session, account, new, correction_id)
    return Code.NAME_CORRECTED
