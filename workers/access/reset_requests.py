"""A person who forgot their password asks for a reset by their address: same answer and same time for any address.

The job that was asked for looks no address up. It counts the request against the address's hash and the portal and owes
a job of Matricule's own, which looks the address up later, when no one is waiting: neither the answer nor its time
tells the person who asked whether the address has an account.

A portal asks for the people alone whom it has enrolled, and its requests count for it alone: for others it neither
sends a mail nor uses up what their own portals may ask. The same holds for the companies to which a key is limited.
The shell, which asks as `local`, may ask for every person.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.enrollment import PARTICIPATING
from models.link import answer_reset
from models.portal import LOCAL_PORTAL_ID
from models.throttle import ThrottleScope
from models.words import Code, JobState
from workers.access.resending import LockedRecipient, ResendAnswer, ResendRequest, resend
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.acceptance import OwedJob, owe_jobs, successor_key
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.outbox.suppression import SUPPRESSED_SINCE
from workers.requests.accounts import RequestPasswordReset
from workers.requests.base import lane_id
from workers.requests.internal import SendPasswordReset
from workers.requests.queues import Queue
from workers.requests.registry import parse
from workers.security.lockouts import subjects_at
from workers.security.throttles import (
    ThrottleSubject,
    address_subjects,
    count,
    hold,
    read_allowances,
)
from workers.sql import fetch

# The address stands in the request of the job that asked, and nowhere else.
READ_REQUESTS = text("""
    SELECT j.id, j.portal_id, CAST(j.request AS text) AS request FROM job j WHERE j.id = ANY(CAST(:ids AS uuid[]))""")

# A person who never activated is sent the invitation of the training they were enrolled on last.
LOCK_RECIPIENTS = text(f"""
    SELECT a.id AS account_id, a.email_norm AS email, a.locale, a.activated_at IS NOT NULL AS activated,
      NULL AS withdrawn_at, latest.id AS enrollment_id, latest.contract_id, NULL AS detached_at,
      {SUPPRESSED_SINCE.format(address="a.email_norm")} AS suppressed
    FROM account a LEFT JOIN LATERAL (
      SELECT e.id, e.contract_id FROM enrollment e
      WHERE e.account_id = a.id AND {PARTICIPATING} AND a.activated_at IS NULL
      ORDER BY e.enrolled_at DESC, e.id DESC LIMIT 1) latest ON true
    WHERE a.email_norm = ANY(CAST(:emails AS text[])) AND a.erased_at IS NULL
    ORDER BY a.email_norm FOR NO KEY UPDATE OF a""")

# The accounts that these portals know, with the companies for which they enrolled them, but for people who left by
# "this is not me".
READ_KNOWN = text("""
    SELECT DISTINCT c.portal_id, e.account_id, co.reference AS company
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND c.portal_id = ANY(CAST(:portals AS uuid[]))
      AND e.detached_at IS NULL""")

ANSWER: Final = {"code": Code.REQUESTED}


class _RequestedReset(NamedTuple):
    """A job that asked for a reset; its request is None once it was erased."""

    id: UUID
    portal_id: UUID
    request: str | None


class _KnownAccount(NamedTuple):
    """A portal, an account that it has enrolled, and the reference of the company for which it did."""

    portal_id: UUID
    account_id: UUID
    company: str


class _AskedReset(NamedTuple):
    """The portal a reset was asked from, the address, and the companies of which it is asked; None for all."""

    portal_id: UUID
    email: str
    companies: Sequence[str] | None = None

    def may_reach(self, known: Collection[str]) -> bool:
        """Tells whether the portal may ask for an account that it knows by these companies."""
        if self.portal_id == LOCAL_PORTAL_ID:
            return True
        return bool(known) if self.companies is None else not set(known).isdisjoint(self.companies)

    @property
    def asker(self) -> UUID:
        """The subject for which its requests count: the portal, or these companies of it."""
        if self.companies is None:
            return self.portal_id
        return lane_id(self.portal_id, "\n".join(["companies", *sorted(self.companies)]))


_NO_ADDRESS: Final = _AskedReset(LOCAL_PORTAL_ID, "")


def request_resets(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `request_password_reset` jobs. The answer is the same for each, also when it was throttled.

    Raises: a transient error of the database when a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    asked = [_asked(row.columns.portal_id, row.columns.request) for row in rows]
    hashes = address_subjects([one.email for one in asked])
    subjects = {
        row.id: (
            ThrottleSubject(ThrottleScope.REQUEST_ADDRESS, *subjects_at(one.asker, [hashes[one.email]])),
            ThrottleSubject(ThrottleScope.REQUEST_PORTAL, one.portal_id),
        )
        for row, one in zip(rows, asked, strict=True)
    }
    allowed = _count(session, subjects)
    owe_jobs(session, [OwedJob(SendPasswordReset(job=job_id), successor_key(job_id)) for job_id in allowed])
    return [WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, ANSWER) for row in rows]


def _count(session: Session, jobs: Mapping[UUID, tuple[ThrottleSubject, ...]]) -> list[UUID]:
    """Counts the jobs against their subjects, in order; returns those that are not throttled."""
    subjects = {subject for of_job in jobs.values() for subject in of_job}
    hold(session, subjects)
    allowances = read_allowances(session, subjects)
    allowed = []
    for job_id, of_job in jobs.items():
        if all(allowances[subject].room > 0 for subject in of_job):
            allowed.append(job_id)
            allowances |= {subject: allowances[subject].after_one() for subject in of_job}
    count(session, allowances)
    return allowed


def send_resets(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `send_password_reset` jobs: a mail to each person who has the address. No result tells of it.

    Raises: a transient error of the database when an account is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("SendPasswordReset", parse(row.columns.kind, row.columns.request, internal=True)) for row in rows]
    asked = _read_asked(session, [request.job for request in requests])
    recipients = _hold_recipients(session, sorted({one.email for one in asked.values()}))
    known = _read_known(session, asked.values(), recipients.values())
    hashes = address_subjects(recipients)
    resent = []
    for row, request in zip(rows, requests, strict=True):
        one = asked.get(request.job, _NO_ADDRESS)
        person = recipients.get(one.email)
        if person is not None and not one.may_reach(known[one.portal_id, person.account_id]):
            person = None
        subjects = () if person is None else _subjects(person, hashes[one.email])
        resent.append(ResendRequest(row.id, 0, one.portal_id, Queue.EMAILS, person, subjects))
    answers = resend(session, resent, answer_reset)
    for answer, request in zip(answers, requests, strict=True):
        _record(session, answer, request)
    return [WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, {}) for row in rows]


def _read_asked(session: Session, jobs: Sequence[UUID]) -> dict[UUID, _AskedReset]:
    """Returns the resets these jobs asked for; a request that was erased since is left out."""
    found = fetch(session, _RequestedReset, READ_REQUESTS, {"ids": array(jobs)})
    return {one.id: _asked(one.portal_id, one.request) for one in found if one.request is not None}


def _hold_recipients(session: Session, emails: Sequence[str]) -> dict[str, LockedRecipient]:
    """Locks the accounts that have these addresses and returns those that can be written to, by address.

    A person can be written to who has activated the account, or is enrolled on a contract.
    """
    found = fetch(session, LockedRecipient, LOCK_RECIPIENTS, {"emails": list(emails)})
    return {person.email: person for person in found if person.activated or person.enrollment_id}


def _read_known(
    session: Session, asked: Iterable[_AskedReset], recipients: Iterable[LockedRecipient]
) -> Mapping[tuple[UUID, UUID], set[str]]:
    """Returns the companies by which a portal that asked knows a person, by portal and account."""
    accounts, portals = {one.account_id for one in recipients}, {one.portal_id for one in asked}
    known: dict[tuple[UUID, UUID], set[str]] = defaultdict(set)
    for one in fetch(session, _KnownAccount, READ_KNOWN, {"accounts": array(accounts), "portals": array(portals)}):
        known[one.portal_id, one.account_id].add(one.company)
    return known


def _subjects(person: LockedRecipient, address: UUID) -> tuple[ThrottleSubject, ...]:
    return (
        ThrottleSubject(ThrottleScope.RESET_ACCOUNT, person.account_id),
        ThrottleSubject(ThrottleScope.RESET_ADDRESS, address),
    )


def _record(session: Session, answer: ResendAnswer, request: SendPasswordReset) -> None:
    """Records the reset under its account, never under an address; for an unknown address nothing is recorded."""
    if answer.account_id is not None:
        record(
            session,
            RequestPasswordReset.kind,
            portal_id=answer.request.lane,
            account_id=answer.account_id,
            job_id=request.job,
            result=answer.verdict.code,
            detail=answer.moment_json,
        )


def _asked(portal_id: UUID, request: str) -> _AskedReset:
    read = cast("RequestPasswordReset", parse(RequestPasswordReset.kind, request))
    return _AskedReset(portal_id, read.email, read.companies)
