"""Erasing a person (GDPR, article 17): nothing tells any more who the account was, but what certificates need.

Lock order, here as everywhere: contracts by id, the account, its links, its enrollments by id, mails. Requests that are
done are changed last, then files: nobody else holds one for long.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from models.retention import names_kept_until
from models.throttle import ThrottleScope
from models.words import Code, JobState, Progress
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.enrollment.withdrawal import LeavingEnrollment, withdraw_enrollments
from workers.errors import Transient
from workers.people import erasure_sql as sql
from workers.people.finding import find_person, may_not_erase
from workers.people.typed_rows import (
    SoughtPerson,
    find_addressed_mails,
    find_mentions,
    find_refused,
    find_traces,
    read_typed,
    whose_is,
    without_the_person,
)
from workers.requests.accounts import ErasePerson
from workers.security.links import void_links
from workers.security.lockouts import forget_failures, subjects_of
from workers.sql import change, fetch, fetch_one, fetch_values


def erase_person(
    session: Session, portal_id: UUID, job_id: UUID, request: ErasePerson
) -> tuple[JobState, dict[str, Any]]:
    """Does an `erase_person` job. Its own request holds the address: it is emptied whatever the answer.

    Nothing of unfinished jobs is changed. Seats of what was not begun come back; what was begun keeps its seat; the
    names on certificates are kept apart until the law no longer wants them. The address is free for a new person.

    Returns: `erased` with counts; or refused: `not_found`, `shared_account`. Both are audited, a refusal under the
    account it was refused, if there is one.

    Raises: Transient when the person is enrolled at this very moment, and transient errors of the database (a row held
    for over 250 ms, a deadlock): the job may be done again.
    """
    wait_briefly_for_locks(session)
    _blank_request(session, job_id, None)
    account_id = find_person(session, request.email)
    refused = Code.NOT_FOUND if account_id is None else may_not_erase(session, portal_id, account_id)
    if account_id is None or refused:
        return _refused(session, portal_id, job_id, request, account_id=account_id, code=refused)
    return _erase(session, portal_id, job_id, request, account_id)


def _erase(
    session: Session, portal_id: UUID, job_id: UUID, request: ErasePerson, account_id: UUID
) -> tuple[JobState, dict[str, Any]]:
    whose = whose_is(session, account_id, request.email)
    # A pass over what is kept of requests: before anything is locked.
    mentions, refused_messages = find_mentions(session, whose), find_refused(session, whose)
    addressed = find_addressed_mails(session, whose)
    asked = {"account": account_id, "email": request.email}
    contracts = set(fetch_values(session, UUID, sql.LOCK_CONTRACTS, asked))
    names = fetch_one(session, sql.AccountNames, sql.LOCK_ACCOUNT, asked)
    refused = Code.NOT_FOUND if names is None else may_not_erase(session, portal_id, account_id)
    if names is None or refused:  # somebody else erased them, corrected the address or enrolled them while we waited
        whom = account_id if names else None
        return _refused(session, portal_id, job_id, request, account_id=whom, code=refused)
    void_links(session, account_id)
    enrollments = fetch(session, sql.ErasedEnrollment, sql.LOCK_ENROLLMENTS, asked)
    if any(row.leaves and row.contract_id not in contracts for row in enrollments):
        raise Transient("the person was enrolled while they were being erased", seconds=0.1)
    counts = _leave(session, account_id, names, enrollments, job_id) | _forget(session, whose, mentions, addressed)
    counts["messages"] = change(session, sql.BLANK_MESSAGES, {"jobs": array(refused_messages)})
    record(
        session,
        request.kind,
        portal_id=portal_id,
        requested_by=request.requested_by,
        account_id=account_id,
        job_id=job_id,
        detail={"reason": request.reason, **counts},
    )
    return JobState.SUCCEEDED, {"code": Code.ERASED, "counts": counts}


def _refused(
    session: Session, portal_id: UUID, job_id: UUID, request: ErasePerson, *, account_id: UUID | None, code: Code | None
) -> tuple[JobState, dict[str, Any]]:
    code = code or Code.NOT_FOUND
    record(
        session,
        request.kind,
        portal_id=portal_id,
        requested_by=request.requested_by,
        result=code,
        account_id=account_id,
        job_id=job_id,
        detail={"reason": request.reason},
    )
    return JobState.REFUSED, {"code": code, "field": "email"}


def _leave(
    session: Session,
    account_id: UUID,
    names: sql.AccountNames,
    enrollments: Sequence[sql.ErasedEnrollment],
    job_id: UUID,
) -> dict[str, int]:
    """Withdraws what was not begun, keeps the names of what was completed, erases the account."""
    asked = {"account": account_id}
    leaving = [row.id for row in enrollments if row.leaves]
    withdraw_enrollments(session, [LeavingEnrollment(one, job_id) for one in leaving])
    completed = [row for row in enrollments if row.progress == Progress.COMPLETED]
    kept = [
        sql.KeptNames(row.id, names.first_name, names.last_name, until)
        for row in completed
        if (until := names_kept_until(row.completed_at)) > row.now
    ]
    if kept:
        session.execute(sql.KEEP_NAMES, sql.KEPT_NAMES.parameters(kept))
    session.execute(sql.BLANK_ENROLLMENTS, asked)
    session.execute(sql.ERASE_ACCOUNT, asked)
    return {"enrollments": len(enrollments), "seats": len(leaving), "certificates": len(kept)}


def _forget(session: Session, whose: SoughtPerson, mentions: set[UUID], addressed: set[UUID]) -> dict[str, int]:
    """Empties mails, corrections, counts and requests."""
    subjects = {one for address in whose.addresses for one in subjects_of(address, whose.account_id)}
    asked = {
        "account": whose.account_id,
        "emails": list(whose.addresses),
        "subjects": array(subjects),
        "scopes": list(ThrottleScope),
    }
    traces = find_traces(session, whose.account_id)
    [mails] = fetch(session, sql.BlankedMails, sql.BLANK_MAILS, asked | {"addressed": array(addressed)})
    corrections = change(session, sql.BLANK_CORRECTIONS, asked)
    session.execute(sql.FORGET_SUPPRESSION, asked)
    session.execute(sql.FORGET_THROTTLES, asked)
    forget_failures(session, sorted(subjects))
    session.execute(sql.RENAME_FILES, asked)
    session.execute(sql.BLANK_RESULTS, {"jobs": array(traces | mentions)})
    return {
        "mails": mails.mails,
        "mails_cancelled": mails.cancelled,
        "corrections": corrections,
        "requests": _blank_requests(session, whose, traces | mentions),
        "files": _delete_files(session, asked | {"jobs": array(traces)}),
    }


def _delete_files(session: Session, asked: Mapping[str, Any]) -> int:
    """Deletes the files with a row that led to the person, but for what an unfinished import needs."""
    held = fetch(session, sql.HeldFile, sql.LOCK_FILES, asked)
    return change(session, sql.DELETE_FILES, sql.HELD_FILES.parameters(held))


def _blank_requests(session: Session, whose: SoughtPerson, jobs: set[UUID]) -> int:
    """Empties what requests that are done say of the person; returns how many did."""
    blanked = 0
    for one in read_typed(session, whose, jobs, finished=True):
        _blank_request(session, one.job_id, without_the_person(one))
        blanked += 1
    return blanked


def _blank_request(session: Session, job_id: UUID, body: dict[str, Any] | None) -> None:
    session.execute(sql.BLANK_REQUEST, {"job": job_id, "request": None if body is None else json.dumps(body)})
