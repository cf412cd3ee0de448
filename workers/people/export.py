"""Everything that is known of a person, as JSON (GDPR, article 15): a statement per kind of thing, nothing is changed.

A portal is told what concerns its own companies. The result is personal data itself: it is emptied after 30 days
(``models/retention.py``) and by an erasure.
"""

import json
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text

from models.portal import LOCAL_PORTAL_ID
from models.throttle import ThrottleScope
from models.words import Code, JobState
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.people.finding import hold_person, may_not_see
from workers.people.typed_rows import (
    SoughtPerson,
    find_addressed_mails,
    find_mentions,
    find_traces,
    read_typed,
    whose_is,
)
from workers.requests.accounts import ExportPerson
from workers.requests.enrollment import Enroll
from workers.security.lockouts import subjects_of

_OWN: Final = "(CAST(:portal AS uuid) IS NULL OR {} = :portal)"

# Its names and language are those its first enrollment came with: what another portal typed is not told, or one row
# with somebody's address would have it read out.
_FIRST: Final = """(SELECT c.portal_id FROM enrollment e JOIN contract c ON c.id = e.contract_id
      WHERE e.account_id = a.id ORDER BY e.enrolled_at, e.id LIMIT 1)"""

READ_ACCOUNT = text(f"""
    SELECT a.id, a.email_norm AS address, m.first_name, m.last_name, m.locale, m.created_at, a.activated_at
    FROM account a LEFT JOIN account m ON m.id = a.id AND {_OWN.format(_FIRST)}
    WHERE a.id = :account""")

OF_COMPANIES: Final[dict[str, TextClause]] = {
    "enrollments": text(f"""
        SELECT e.id, p.name AS portal, o.name AS company, t.title AS training, c.reference AS contract, e.external_id,
          e.enrolled_at, e.progress, e.started_at, e.completed_at, e.progress_at, e.score, e.scored_at,
          e.time_spent_seconds, e.withdrawn_at, e.detached_at, e.reminders, e.next_reminder_at, e.release_warned_at
        FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN portal p ON p.id = c.portal_id
        JOIN company o ON o.id = c.company_id JOIN training t ON t.id = c.training_id
        WHERE e.account_id = :account AND {_OWN.format("c.portal_id")} ORDER BY e.id"""),
    "mails": text(f"""
        SELECT e.id, e.kind, e.to_address AS address, e.locale, e.date, e.state,
          CASE WHEN e.state = 'sent' THEN e.finished_at END AS sent_at
        FROM email e LEFT JOIN contract c ON c.id = e.contract_id
        WHERE (e.account_id = :account OR e.id = ANY(CAST(:addressed AS uuid[]))) AND {_OWN.format("c.portal_id")}
        ORDER BY e.id"""),
    "corrections": text(f"""
        SELECT old_email, new_email, state, ground, asked_at, confirmed_at, agreed_at, ended_at FROM email_correction
        WHERE account_id = :account AND {_OWN.format("portal_id")} ORDER BY id"""),
    "certificates": text(f"""
        SELECT k.id, k.number, k.version, k.snapshot AS certificate, k.issued_at, k.revoked_at, k.revocation_reason,
          (SELECT json_agg(json_build_object('number', d.number, 'document', d.document, 'locale', d.locale,
             'requested_by', d.requested_by, 'issued_at', d.issued_at) ORDER BY d.ordinal)
           FROM certificate_duplicate d WHERE d.certificate_id = k.id) AS duplicates
        FROM certificate k JOIN enrollment e ON e.id = k.enrollment_id JOIN contract c ON c.id = e.contract_id
        WHERE e.account_id = :account AND {_OWN.format("c.portal_id")} ORDER BY k.id"""),
    "files": text(f"""
        SELECT r.job_id, p.name AS portal, r.file_name, encode(r.sha256, 'hex') AS sha256, r.created_at AS at,
          CAST(m.detail->>'line' AS int) AS line, m.code, f.sha256 IS NOT NULL AS kept
        FROM roster r JOIN job_person m ON m.job_id = r.job_id AND m.account_id = :account
        JOIN portal p ON p.id = r.portal_id
        LEFT JOIN roster_file f ON f.portal_id = r.portal_id AND f.sha256 = r.sha256
        WHERE {_OWN.format("r.portal_id")} ORDER BY r.job_id, m.position"""),
    "audit": text(f"""
        SELECT a.at, p.name AS portal, a.requested_by, a.action, a.result, a.job_id, a.detail
        FROM audit a LEFT JOIN portal p ON p.id = a.portal_id
        WHERE a.account_id = :account AND {_OWN.format("a.portal_id")} ORDER BY a.id"""),
}
"""What concerns somebody's company, and so its portal."""

OF_THE_ACCOUNT: Final[dict[str, TextClause]] = {
    "links": text("""
        SELECT purpose, created_at, expires_at, consumed_at, voided_at, resent FROM link
        WHERE account_id = :account ORDER BY id"""),
    "suppression": text("""
        SELECT email_norm AS address, reason, created_at, until FROM suppression
        WHERE email_norm = ANY(CAST(:emails AS text[])) ORDER BY email_norm"""),
    "sign_in_failures": text("""
        SELECT failures, failed_at, locked_until FROM sign_in
        WHERE subject = ANY(CAST(:subjects AS uuid[])) ORDER BY failed_at"""),
    "throttles": text("""
        SELECT scope, times, at FROM throttle WHERE scope = ANY(CAST(:scopes AS text[]))
          AND subject = ANY(CAST(:subjects AS uuid[])) ORDER BY at, id"""),
}
"""What concerns the login alone."""

READ_RESULTS = text(f"""
    SELECT j.id AS job_id, j.kind, j.finished_at, p.position, p.code, p.detail FROM job j
    JOIN job_person p ON p.job_id = j.id AND p.account_id = :account
    WHERE j.id = ANY(CAST(:jobs AS uuid[])) AND {_OWN.format("j.portal_id")} ORDER BY j.id, p.position""")

READ_SINGLE_RESULTS = text(f"""
    SELECT id AS job_id, kind, finished_at, result FROM job
    WHERE id = ANY(CAST(:jobs AS uuid[])) AND kind <> 'export_person' AND result IS NOT NULL
      AND {_OWN.format("portal_id")} ORDER BY id""")

# By its own statement: the one that finishes jobs reads its outcomes with an operator that fails on a U+0000.
UPDATE_RESULT = text("UPDATE job SET result = CAST(:result AS json) WHERE id = :job")


def export_person(
    session: Session, portal_id: UUID, job_id: UUID, request: ExportPerson
) -> tuple[JobState, dict[str, Any] | None]:
    """Does an `export_person` job; its result is kept in the job by this very transaction. Refused it is audited too:
    who tries addresses is seen.

    Returns: the state, and the result of a refusal (`not_found`).

    Raises: a transient error of the database when the account is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    account_id = hold_person(session, request.email)
    refused = Code.NOT_FOUND if account_id is None else may_not_see(session, portal_id, account_id)
    asked = partial(record, session, request.kind, portal_id=portal_id, requested_by=request.requested_by)
    if account_id is None or refused:
        asked(result=refused or Code.NOT_FOUND, account_id=account_id, job_id=job_id)
        return JobState.REFUSED, {"code": refused or Code.NOT_FOUND, "field": "email"}
    person = read_person(session, account_id, request.email, None if portal_id == LOCAL_PORTAL_ID else portal_id)
    session.execute(UPDATE_RESULT, {"job": job_id, "result": json.dumps({"code": Code.EXPORTED, "person": person})})
    asked(account_id=account_id, job_id=job_id)
    return JobState.SUCCEEDED, None


def read_person(session: Session, account_id: UUID, email: str, portal_id: UUID | None) -> dict[str, Any]:
    """All that is known of the person of an account, as JSON may hold it.

    Parameters:
      portal_id: tell what concerns this portal's companies only; None tells everything.

    Keys: `account`, `enrollments`, `certificates`, `mails`, `corrections`, `files` (roster files that met them: which
    line, what came of it, whether the file is still kept; not the line itself, for a file takes seconds to read),
    `audit`, `results` (of jobs), `typed` (requests as they were sent); of everything also `links`, `suppression`,
    `sign_in_failures`, `throttles`.
    """
    whose = whose_is(session, account_id, email)
    asked = {
        "account": account_id,
        "portal": portal_id,
        "emails": list(whose.addresses),
        "subjects": array({one for address in whose.addresses for one in subjects_of(address, account_id)}),
        "scopes": list(ThrottleScope),
        "addressed": array(find_addressed_mails(session, whose)),
    }
    account = session.execute(READ_ACCOUNT, asked).mappings().one()
    sections = OF_COMPANIES if portal_id else OF_COMPANIES | OF_THE_ACCOUNT
    person: dict[str, Any] = {"account": _plain(account)}
    for name, statement in sections.items():
        person[name] = [_plain(row) for row in session.execute(statement, asked).mappings()]
    traces = find_traces(session, account_id)
    jobs = traces | find_mentions(session, whose)
    person["results"] = list(_results(session, asked | {"jobs": array(jobs)}))
    person["typed"] = list(_typed(session, whose, jobs, portal_id))
    return person


def _results(session: Session, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What happened to the person in jobs of several people, then in those of them alone."""
    for row in session.execute(READ_RESULTS, asked).mappings():
        yield _plain(row)
    account = str(asked["account"])
    for job in session.execute(READ_SINGLE_RESULTS, asked).mappings():
        about = {name: job[name] for name in ("job_id", "kind", "finished_at")}
        for person in job["result"].get("people", ()):
            if person.get("account_id") == account:
                yield _plain(about | {name: person.get(name) for name in ("position", "code", "detail")})


def _typed(
    session: Session, whose: SoughtPerson, jobs: Collection[UUID], portal_id: UUID | None
) -> Iterator[dict[str, Any]]:
    for one in read_typed(session, whose, jobs, finished=False):
        if portal_id and one.portal_id != portal_id:
            continue
        about = _plain({"job_id": one.job_id, "kind": one.kind, "at": one.at})
        if one.kind != Enroll.kind:  # whose duplicates were asked for is others' business
            yield about | {"request": {name: said for name, said in one.body.items() if name != "enrollment_ids"}}
        for position in one.positions:
            yield about | {"position": position, "row": one.body["people"][position]}


def _plain(row: Any) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
