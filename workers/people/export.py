"""Export of a person's data as JSON (GDPR, article 15). It reads with one statement per kind of row, changes nothing.

A portal receives only the data of its own companies. The result is personal data itself: it is emptied after 30 days
(``models/retention.py``) and by an erasure.
"""

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any
from uuid import UUID

from sqlmodel import col, update

from models.job import Job
from models.portal import LOCAL_PORTAL_ID
from models.throttle import ThrottleScope
from models.words import Code, JobState
from workers.audit import record
from workers.database import Session, wait_briefly_for_locks
from workers.people import export_sql as sql
from workers.people.finding import hold_person, may_not_see
from workers.people.typed_rows import (
    SoughtPerson,
    find_addressed_mails,
    find_mentions,
    find_traces,
    read_typed,
    shown_to_the_person,
    sought_person,
)
from workers.requests.accounts import ExportPerson
from workers.requests.enrollment import Enroll
from workers.security.lockouts import subjects_everywhere, subjects_of
from workers.sql import as_json, change, fetch


def export_person(
    session: Session, portal_id: UUID, job_id: UUID, request: ExportPerson
) -> tuple[JobState, dict[str, Any] | None]:
    """Does an `export_person` job, and stores its result in the job in this same transaction.

    A refusal is audited too, so that ops can see a portal that tries addresses.

    Returns: the state, and the result of a refusal (`not_found`).

    Raises: a transient error of the database when the account is locked for over 250 ms.
    """
    wait_briefly_for_locks(session)
    account_id = hold_person(session, request.email)
    refused = Code.NOT_FOUND if account_id is None else may_not_see(session, portal_id, account_id)
    asked = partial(record, session, request.kind, portal_id=portal_id, requested_by=request.requested_by)
    if account_id is None or refused:
        asked(result=refused or Code.NOT_FOUND, account_id=account_id, job_id=job_id)
        return JobState.REFUSED, {"code": refused or Code.NOT_FOUND, "field": "email"}
    person = read_person(session, account_id, request.email, None if portal_id == LOCAL_PORTAL_ID else portal_id)
    # A statement of its own writes it: the one that finishes jobs uses an operator that fails on a U+0000.
    told = {"code": Code.EXPORTED, "person": person}
    change(session, update(Job).where(col(Job.id) == job_id).values(result=told))
    asked(account_id=account_id, job_id=job_id)
    return JobState.SUCCEEDED, None


def read_person(session: Session, account_id: UUID, email: str, portal_id: UUID | None) -> dict[str, Any]:
    """Reads all the data about the person of an account, in a form that JSON can hold.

    Parameters:
      portal_id: read only the data of this portal's companies; None reads everything.

    Keys: `account`, `enrollments`, `certificates`, `mails`, `corrections`, `name_corrections`, `files` (roster
    files with a row of the person: the line number, its result, whether the file is still kept; not the line itself,
    because a file takes seconds to read), `audit`, `results` (of jobs), `typed` (requests as they were sent). When
    everything is read, also `links`, `suppression`, `sign_in_failures`, `throttles`.
    """
    sought = sought_person(session, account_id, email)
    asked: dict[str, Any] = {"account": account_id, "portal": portal_id}
    subjects = {one for address in sought.addresses for one in subjects_of(address, account_id)}
    found = asked | {
        "emails": list(sought.addresses),
        "subjects": subjects_everywhere(session, subjects),
        "scopes": list(ThrottleScope),
        "addressed": sorted(find_addressed_mails(session, sought)),
    }
    [account] = fetch(session, sql.ExportedAccount, sql.READ_ACCOUNT, asked)
    sections = sql.OF_COMPANIES if portal_id else sql.OF_COMPANIES | sql.OF_THE_ACCOUNT
    person: dict[str, Any] = {"account": as_json(account)}
    for name, section in sections.items():
        person[name] = [as_json(row) for row in fetch(session, section.record, section.statement, found)]
    traces = find_traces(session, account_id)
    jobs = traces | find_mentions(session, sought)
    person["results"] = list(_results(session, str(account_id), asked | {"jobs": sorted(jobs)}))
    person["typed"] = list(_typed(session, sought, jobs, portal_id))
    return person


def _results(session: Session, account: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the person's results in jobs of several people, then their results in jobs for them alone."""
    for row in fetch(session, sql.ExportedResult, sql.READ_RESULTS, asked):
        yield as_json(row)
    for job in fetch(session, sql.SingleResult, sql.READ_SINGLE_RESULTS, asked):
        about = as_json(job)
        del about["result"]
        for person in job.result.get("people", ()):
            if person.get("account_id") == account:
                yield about | {name: person.get(name) for name in ("position", "code", "detail")}


def _typed(
    session: Session, sought: SoughtPerson, jobs: Collection[UUID], portal_id: UUID | None
) -> Iterator[dict[str, Any]]:
    for one in read_typed(session, sought, jobs, finished=False):
        if portal_id and one.portal_id != portal_id:
            continue
        about = {"job_id": str(one.job_id), "kind": one.kind, "at": one.at.isoformat()}
        if one.kind != Enroll.kind:
            yield about | {"request": shown_to_the_person(one)}
        for position in one.positions:
            yield about | {"position": position, "row": one.body["people"][position]}
