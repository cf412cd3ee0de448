"""Issuing certificates: a number without gaps, a code nobody guesses, and everything they say frozen.

Lock order: job rows, accounts by address, enrollments by id, the counters of organisations by id. The lock of an
enrollment is the lock of its certificates: nobody issues, corrects, revokes or duplicates one without it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.certificate import (
    IssuingFacts,
    certificate_number,
    freeze_certificate,
    group_code,
    new_verification_code,
    not_issued_because,
)
from models.document import CertificateIssuer, CertificateSnapshot
from models.paris import day_in_paris
from models.retention import names_kept_until
from models.words import Code, JobState, Progress
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.acceptance import owe_successor
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none
from workers.requests.certificates import CatchUpCertificates
from workers.requests.internal import IssueCertificate
from workers.requests.registry import parse
from workers.settings import get_settings

CATCH_UP: Final = 500
"""Certificates one transaction of a catch-up issues."""

# An erasure takes the account whole: whoever is being erased is waited for, and then read as they are afterwards.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a
    WHERE a.id IN (SELECT account_id FROM enrollment WHERE id = ANY(CAST(:enrollments AS uuid[])))
    ORDER BY a.email_norm FOR KEY SHARE""")

LOCK_ENROLLMENTS = text("""
    SELECT id FROM enrollment WHERE id = ANY(CAST(:enrollments AS uuid[])) ORDER BY id FOR NO KEY UPDATE""")

READ_COMPLETIONS = text("""
    SELECT e.id, e.account_id, e.contract_id, e.progress, e.detached_at, e.time_spent_seconds, e.score,
      coalesce(e.completed_at, e.progress_at, now()) AS completed_at,
      coalesce(e.started_at, e.enrolled_at) AS started_at,
      c.portal_id, c.company_id, c.reference AS contract_reference,
      CASE WHEN a.erased_at IS NULL THEN a.first_name ELSE h.first_name END AS first_name,
      CASE WHEN a.erased_at IS NULL THEN a.last_name ELSE h.last_name END AS last_name,
      company.name AS employer, company.colour, company.logo,
      t.title, t.nature, t.objectives, t.modality, t.planned_minutes,
      o.id AS organisation_id, o.legal_name, o.address, o.siret, o.activity_number, o.activity_region,
      o.signatory_name, o.signatory_quality, o.place, o.colour AS issuer_colour, o.logo AS issuer_logo,
      k.id AS certificate_id, k.number, k.version, k.code, k.snapshot, k.issued_at, k.revoked_at,
      k.organisation_id AS issued_by,
      now() AS now
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN portal p ON p.id = c.portal_id
    JOIN account a ON a.id = e.account_id
    JOIN company ON company.id = c.company_id JOIN training t ON t.id = c.training_id
    LEFT JOIN organisation o ON o.id = p.organisation_id
    LEFT JOIN certificate_holder h ON h.enrollment_id = e.id
    LEFT JOIN certificate k ON k.enrollment_id = e.id AND k.replaced_by IS NULL
    WHERE e.id = ANY(CAST(:enrollments AS uuid[]))""")

TAKE_NUMBERS = text("""
    INSERT INTO certificate_counter (organisation_id, year, last)
    SELECT organisation_id, year, wanted
    FROM unnest(CAST(:organisations AS uuid[]), CAST(:years AS int[]), CAST(:wanted AS int[]))
      t (organisation_id, year, wanted) ORDER BY organisation_id, year
    ON CONFLICT (organisation_id, year) DO UPDATE SET last = certificate_counter.last + excluded.last
    RETURNING organisation_id, year, last""")

INSERT_CERTIFICATES = text("""
    INSERT INTO certificate (id, enrollment_id, version, organisation_id, number, code, snapshot, issued_at, kept_until)
    SELECT id, enrollment_id, version, organisation_id, number, code, snapshot, now(), kept_until
    FROM json_to_recordset(CAST(:certificates AS json)) t (id uuid, enrollment_id uuid, version int,
      organisation_id uuid, number text, code text, snapshot json, kept_until timestamptz)""")

FIND_NOT_ISSUED = text("""
    SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN portal p ON p.id = c.portal_id
    JOIN account a ON a.id = e.account_id
    WHERE e.progress = 'completed' AND e.detached_at IS NULL AND p.organisation_id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM certificate k WHERE k.enrollment_id = e.id)
      AND (a.erased_at IS NULL OR EXISTS (SELECT 1 FROM certificate_holder h WHERE h.enrollment_id = e.id))
    ORDER BY e.id LIMIT :size""")


class NewCertificate(NamedTuple):
    """A certificate about to be issued.

    Parameters:
      version: 1, or one more than that of the certificate it corrects.
    """

    certificate_id: UUID
    enrollment_id: UUID
    organisation_id: UUID
    snapshot: CertificateSnapshot
    code: str
    now: datetime
    completed_at: datetime
    version: int = 1


class IssuedCertificate(NamedTuple):
    """A certificate as its enrollment has it."""

    certificate_id: UUID
    number: str


def hold(session: Session, enrollments: Sequence[UUID]) -> dict[UUID, Any]:
    """Locks these enrollments, and so their certificates; returns what is known of each that exists.

    Raises: a transient error of the database when one is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    asked = {"enrollments": array(enrollments)}
    session.execute(LOCK_ACCOUNTS, asked)
    session.execute(LOCK_ENROLLMENTS, asked)
    return {row.id: row for row in session.execute(READ_COMPLETIONS, asked)}


def issue_certificates(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `issue_certificate` jobs: one certificate per enrollment, whatever is asked again."""
    asked = [
        cast("IssueCertificate", parse(row.columns["kind"], row.columns["request"], internal=True)) for row in rows
    ]
    held = hold(session, [one.enrollment_id for one in asked])
    issued = issue(session, held)
    return [_outcome(row, held.get(one.enrollment_id), issued) for row, one in zip(rows, asked, strict=True)]


def _outcome(row: ClaimedRow, fact: Any | None, issued: Mapping[UUID, IssuedCertificate | Code]) -> WorkOutcome:
    certificate = issued[fact.id] if fact is not None else Code.NOT_FOUND
    person = _result(fact, certificate)
    state = JobState.SUCCEEDED if isinstance(certificate, IssuedCertificate) else JobState.REFUSED
    return WorkOutcome(row.id, row.claim, state, {"counts": Counter([person.code]), **one_or_none([person])})


def _result(fact: Any | None, certificate: IssuedCertificate | Code) -> PersonResult:
    account_id, enrollment_id = (fact.account_id, fact.id) if fact is not None else (None, None)
    if isinstance(certificate, Code):
        return PersonResult(0, certificate, None, account_id, enrollment_id)
    detail = {"certificate_id": str(certificate.certificate_id), "number": certificate.number}
    return PersonResult(0, Code.ISSUED, None, account_id, enrollment_id, detail)


def issue(session: Session, held: Mapping[UUID, Any]) -> dict[UUID, IssuedCertificate | Code]:
    """Issues what is missing of these held enrollments; what each has now, or why it has none."""
    answers: dict[UUID, IssuedCertificate | Code] = {}
    missing = []
    for enrollment_id, fact in sorted(held.items()):
        if fact.certificate_id is not None:
            answers[enrollment_id] = IssuedCertificate(fact.certificate_id, fact.number)
        elif refused := _refused(fact):
            answers[enrollment_id] = refused
        else:
            missing.append(_new(fact))
    return answers | write(session, missing)


def _refused(fact: Any) -> Code | None:
    if fact.detached_at is not None:
        return Code.DETACHED
    names = fact.first_name is not None
    return not_issued_because(Progress(fact.progress), organisation=fact.organisation_id is not None, names=names)


def _new(fact: Any) -> NewCertificate:
    code = new_verification_code()
    return NewCertificate(
        new_id(), fact.id, fact.organisation_id, snapshot_of(fact, code), code, fact.now, fact.completed_at
    )


def snapshot_of(fact: Any, code: str) -> CertificateSnapshot:
    """What a certificate issued at this moment says, under this code."""
    issuer = CertificateIssuer(
        legal_name=fact.legal_name,
        address=tuple(fact.address or ()),
        siret=fact.siret,
        activity_number=fact.activity_number,
        activity_region=fact.activity_region,
        signatory_name=fact.signatory_name,
        signatory_quality=fact.signatory_quality,
        place=fact.place,
        colour=fact.issuer_colour,
        logo=fact.issuer_logo,
    )
    known = {name: getattr(fact, name) for name in IssuingFacts._fields if name != "objectives"}
    return freeze_certificate(issuer, IssuingFacts(**known, objectives=fact.objectives or ()), verify_url(code))


def verify_url(code: str) -> str:
    """Where anybody who holds the certificate can compare it."""
    return f"{get_settings().link_base_url.rstrip('/')}/certificates/{group_code(code)}"


def write(session: Session, certificates: Sequence[NewCertificate]) -> dict[UUID, IssuedCertificate]:
    """Gives these certificates their numbers and records them; what each enrollment has now."""
    if not certificates:
        return {}
    wanted = Counter((one.organisation_id, day_in_paris(one.now).year) for one in certificates)
    taken = session.execute(
        TAKE_NUMBERS,
        {
            "organisations": array(organisation for organisation, _ in wanted),
            "years": [year for _, year in wanted],
            "wanted": list(wanted.values()),
        },
    )
    following = {(row.organisation_id, row.year): row.last - wanted[row.organisation_id, row.year] for row in taken}
    rows, issued = [], {}
    for one in certificates:
        sequence = (one.organisation_id, day_in_paris(one.now).year)
        following[sequence] += 1
        number = certificate_number(sequence[1], following[sequence])
        issued[one.enrollment_id] = IssuedCertificate(one.certificate_id, number)
        rows.append(_row(one, number))
    session.execute(INSERT_CERTIFICATES, {"certificates": json.dumps(rows)})
    return issued


def _row(one: NewCertificate, number: str) -> dict[str, Any]:
    return {
        "id": str(one.certificate_id),
        "enrollment_id": str(one.enrollment_id),
        "version": one.version,
        "organisation_id": str(one.organisation_id),
        "number": number,
        "code": one.code,
        "snapshot": one.snapshot.model_dump(mode="json", exclude_defaults=True),
        "kept_until": names_kept_until(one.completed_at).isoformat(),
    }


def catch_up(
    session: Session, portal_id: UUID, job_id: UUID, _: CatchUpCertificates
) -> tuple[JobState, dict[str, Any]]:
    """Does a `catch_up_certificates` job: a part; while a part was full, the job owes the next."""
    missing = session.execute(FIND_NOT_ISSUED, {"size": CATCH_UP}).scalars().all()
    issued = issue(session, hold(session, missing)) if missing else {}
    counts = Counter(Code.ISSUED if isinstance(one, IssuedCertificate) else one for one in issued.values())
    more = len(missing) == CATCH_UP and counts[Code.ISSUED] > 0
    if more:
        owe_successor(session, job_id, CatchUpCertificates(), portal_id=portal_id)
    return JobState.SUCCEEDED, {"counts": counts, "more": more}
