"""Somebody forgot their password and asks for a reset by their address, known or not: same answer, same time.

The job that was asked for looks nobody up. It counts the request against the address's hash and the portal and owes a
job of Matricule's own, which looks the address up later, when nobody is waiting: whether it exists shows in nothing
that whoever asked can see or measure.
"""

from collections.abc import Sequence
from typing import Final, cast
from uuid import UUID

from sqlalchemy import text

from models.link import answer_reset
from models.portal import LOCAL_PORTAL_ID
from models.throttle import ThrottleScope
from models.words import Code, JobState
from workers.access.resending import (
    LockedRecipient,
    ResendRequest,
    moment_json,
    send_again,
)
from workers.audit import record
from workers.database import Session, wait_briefly_for_locks
from workers.engine.acceptance import OwedJob, owe_jobs, successor_key
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.outbox.suppression import SUPPRESSED_SINCE
from workers.requests.accounts import RequestPasswordReset
from workers.requests.internal import SendPasswordReset
from workers.requests.queues import Queue
from workers.requests.registry import parse
from workers.security.throttles import (
    ThrottleSubject,
    address_subjects,
    count,
    hold,
    read_allowances,
)

READ_REQUESTS = text("SELECT id, portal_id, CAST(request AS text) FROM job WHERE id = ANY(CAST(:ids AS uuid[]))")

# Who never activated is sent the invitation of the training they were enrolled on last.
LOCK_RECIPIENTS = text(f"""
    SELECT a.id, a.email_norm, a.locale, a.activated_at IS NOT NULL, NULL, e.id, e.contract_id, NULL,
      {SUPPRESSED_SINCE.format(address="a.email_norm")}
    FROM account a LEFT JOIN LATERAL (
      SELECT id, contract_id FROM enrollment WHERE account_id = a.id AND withdrawn_at IS NULL AND detached_at IS NULL
        AND a.activated_at IS NULL
      ORDER BY enrolled_at DESC, id DESC LIMIT 1) e ON true
    WHERE a.email_norm = ANY(CAST(:emails AS text[])) AND a.erased_at IS NULL
    ORDER BY a.email_norm FOR NO KEY UPDATE OF a""")

ANSWER: Final = {"code": Code.REQUESTED}


def request_resets(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `request_password_reset` jobs. The answer is always the same, also of one that was throttled.

    Raises: a transient error of the database when a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    emails = [_address(row.columns["request"]) for row in rows]
    hashes = address_subjects(emails)
    subjects = [
        (
            ThrottleSubject(ThrottleScope.REQUEST_ADDRESS, hashes[email]),
            ThrottleSubject(ThrottleScope.REQUEST_PORTAL, row.columns["portal_id"]),
        )
        for row, email in zip(rows, emails, strict=True)
    ]
    hold(session, [subject for pair in subjects for subject in pair])
    allowances = read_allowances(session, {subject for pair in subjects for subject in pair})
    allowed = []
    for row, pair in zip(rows, subjects, strict=True):
        if all(allowances[subject].room > 0 for subject in pair):
            allowed.append(row.id)
            for subject in pair:
                allowances[subject].take()
    count(session, allowances)
    _owe_follow_ups(session, allowed)
    return [WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, ANSWER) for row in rows]


def _owe_follow_ups(session: Session, jobs: Sequence[UUID]) -> None:
    owe_jobs(session, [OwedJob(SendPasswordReset(job=job_id), successor_key(job_id)) for job_id in jobs])


def send_resets(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `send_password_reset` jobs: a mail to who has the address. Its result is nobody's business.

    Raises: a transient error of the database when an account is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    asked = [
        cast("SendPasswordReset", parse(row.columns["kind"], row.columns["request"], internal=True)) for row in rows
    ]
    originals = {
        job_id: (portal_id, _address(request))
        for job_id, portal_id, request in session.execute(READ_REQUESTS, {"ids": [one.job for one in asked]})
        if request is not None
    }
    emails = sorted({email for _, email in originals.values()})
    recipients = {person.email: person for person in _hold_recipients(session, emails)}
    hashes = address_subjects(list(recipients))
    asks = []
    for row, one in zip(rows, asked, strict=True):
        portal_id, email = originals.get(one.job, (LOCAL_PORTAL_ID, ""))  # its request may have been erased since
        person = recipients.get(email)
        subjects: tuple[ThrottleSubject, ...] = ()
        if person is not None:
            subjects = (
                ThrottleSubject(ThrottleScope.RESET_ACCOUNT, person.account_id),
                ThrottleSubject(ThrottleScope.RESET_ADDRESS, hashes[email]),
            )
        asks.append(ResendRequest(row.id, 0, portal_id, Queue.EMAILS, person, subjects))
    send_again(session, asks, answer_reset)
    for ask, one in zip(asks, asked, strict=True):
        _record(session, ask, one)
    return [WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, {}) for row in rows]


def _hold_recipients(session: Session, emails: Sequence[str]) -> list[LockedRecipient]:
    """Who has these addresses and can be written to: activated, or enrolled somewhere."""
    found = [LockedRecipient(*row) for row in session.execute(LOCK_RECIPIENTS, {"emails": list(emails)})]
    return [person for person in found if person.activated or person.enrollment_id]


def _record(session: Session, ask: ResendRequest, request: SendPasswordReset) -> None:
    """The audit trail names the account, never an address; of an address nobody has it says nothing."""
    if ask.recipient is not None:
        record(
            session,
            RequestPasswordReset.kind,
            portal_id=ask.lane,
            account_id=ask.recipient.account_id,
            job_id=request.job,
            result=ask.answer.code,
            detail=moment_json(ask.answer),
        )


def _address(request: str) -> str:
    return cast("RequestPasswordReset", parse(RequestPasswordReset.kind, request)).email
