"""Erasure of a person (GDPR, article 17): only the data that certificates need still identifies them afterwards.

Lock order, here as everywhere: contracts by id, the account, its links, its enrollments by id, mails. Finished requests
are changed last, then files: no other transaction holds one of them for long.
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
from workers.enrollment.withdrawal import WITHDRAWN, LeavingEnrollment, withdraw_enrollments
from workers.errors import Transient
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.people import erasure_sql as sql
from workers.people.finding import find_person, may_not_erase
from workers.people.typed_rows import (
    SoughtPerson,
    find_addressed_mails,
    find_mentions,
    find_refused,
    find_traces,
    read_typed,
    sought_person,
    without_the_person,
)
from workers.requests.accounts import ErasePerson
from workers.security.address_tokens import tokens_of
from workers.security.links import void_links
from workers.security.lockouts import forget_everywhere, subjects_everywhere, subjects_of
from workers.sql import change, fetch, fetch_one, fetch_values


def erase_person(
    session: Session, portal_id: UUID, job_id: UUID, request: ErasePerson
) -> tuple[JobState, dict[str, Any]]:
    """Does an `erase_person` job, and empties its own request, which holds the address, whatever the answer is.

    Unfinished jobs are not changed. A training that was not begun frees its seat; one that was begun keeps it. Names on
    certificates are kept in a table of their own as long as the law requires. A new person may then have the address.

    Returns: `erased` with counts, or a refusal: `not_found`, `shared_account`. Both are audited; a refusal is audited
    under the account, if there is one.

    Raises: Transient when the person is being enrolled at this moment, and transient errors of the database (a row
    locked for over 250 ms, a deadlock): the job may be done again.
    """
    wait_briefly_for_locks(session)
    _blank_request(session, job_id, None)
    session.execute(sql.FORGET_OWN_TOKENS, {"tokens": array(tokens_of([request.email])), "job": job_id})
    account_id = find_person(session, request.email)
    refused = Code.NOT_FOUND if account_id is None else may_not_erase(session, portal_id, account_id)
    if account_id is None or refused:
        return _refused(session, portal_id, job_id, request, account_id=account_id, code=refused)
    return _erase(session, portal_id, job_id, request, account_id)


def _erase(
    session: Session, portal_id: UUID, job_id: UUID, request: ErasePerson, account_id: UUID
) -> tuple[JobState, dict[str, Any]]:
    sought = sought_person(session, account_id, request.email)
    # This reads all the requests that are kept, so it comes before the locks.
    mentions, refused_messages = find_mentions(session, sought), find_refused(session, sought)
    addressed = find_addressed_mails(session, sought)
    asked = {"account": account_id, "email": request.email}
    contracts = set(fetch_values(session, UUID, sql.LOCK_CONTRACTS, asked))
    names = fetch_one(session, sql.AccountNames, sql.LOCK_ACCOUNT, asked)
    refused = Code.NOT_FOUND if names is None else may_not_erase(session, portal_id, account_id)
    if names is None or refused:  # another transaction erased them, corrected the address or enrolled them meanwhile
        known = account_id if names else None
        return _refused(session, portal_id, job_id, request, account_id=known, code=refused)
    void_links(session, account_id)
    enrollments = fetch(session, sql.ErasedEnrollment, sql.LOCK_ENROLLMENTS, asked)
    if any(row.leaves and row.contract_id not in contracts for row in enrollments):
        raise Transient("the person was enrolled while they were being erased", seconds=0.1)
    counts = _leave(session, account_id, names, enrollments, job_id) | _forget(session, sought, mentions, addressed)
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
    """Withdraws enrollments that were not begun, keeps the names of completed ones, and erases the account."""
    asked = {"account": account_id}
    leaving = [row.id for row in enrollments if row.leaves]
    withdraw_enrollments(session, [LeavingEnrollment(one, job_id) for one in leaving])
    if leaving:
        detail = {"by": ErasePerson.kind, "job_id": str(job_id)}
        tell_of_enrollments(session, None, {WITHDRAWN}, [EnrollmentNews(WITHDRAWN, one, detail) for one in leaving])
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


def _forget(session: Session, sought: SoughtPerson, mentions: set[UUID], addressed: set[UUID]) -> dict[str, int]:
    """Empties the person's mails, corrections, rate limit counters and requests; returns how many of each."""
    subjects = {one for address in sought.addresses for one in subjects_of(address, sought.account_id)}
    asked = {
        "account": sought.account_id,
        "emails": list(sought.addresses),
        "subjects": array(subjects_everywhere(session, subjects)),
        "scopes": list(ThrottleScope),
    }
    traces = find_traces(session, sought.account_id)
    [mails] = fetch(session, sql.BlankedMails, sql.BLANK_MAILS, asked | {"addressed": array(addressed)})
    corrections = change(session, sql.BLANK_CORRECTIONS, asked) + change(session, sql.BLANK_NAME_CORRECTIONS, asked)
    session.execute(sql.FORGET_SUPPRESSION, asked)
    session.execute(sql.FORGET_THROTTLES, asked)
    forget_everywhere(session, subjects)
    session.execute(sql.RENAME_FILES, asked)
    session.execute(sql.BLANK_RESULTS, {"jobs": array(traces | mentions)})
    requests = _blank_requests(session, sought, traces | mentions)
    # After that: a job that has just finished is emptied, and its token goes too.
    session.execute(sql.FORGET_TOKENS, {"tokens": array(tokens_of(sought.addresses))})
    return {
        "mails": mails.mails,
        "mails_cancelled": mails.cancelled,
        "corrections": corrections,
        "requests": requests,
        "files": _delete_files(session, asked | {"jobs": array(traces)}),
    }


def _delete_files(session: Session, asked: Mapping[str, Any]) -> int:
    """Deletes the files with a row of the person, except those that an unfinished import needs; returns how many."""
    held = fetch(session, sql.HeldFile, sql.LOCK_FILES, asked)
    return change(session, sql.DELETE_FILES, sql.HELD_FILES.parameters(held))


def _blank_requests(session: Session, sought: SoughtPerson, jobs: set[UUID]) -> int:
    """Removes the person's data from finished requests; returns how many requests changed."""
    blanked = 0
    for one in read_typed(session, sought, jobs, finished=True):
        _blank_request(session, one.job_id, without_the_person(one))
        blanked += 1
    return blanked


def _blank_request(session: Session, job_id: UUID, body: dict[str, Any] | None) -> None:
    session.execute(sql.BLANK_REQUEST, {"job": job_id, "request": None if body is None else json.dumps(body)})
