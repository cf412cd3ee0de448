"""The mail to a manager that names whose seats will be given back, or were."""

from typing import Any, Final

from sqlalchemy import text

from models.release import expected_release
from models.words import Code, EmailKind
from workers.database import Session
from workers.ledger import Claimed
from workers.services.letter import Letter, names, not_wanted

SHOWN: Final = 100
"""People named in one report; the others are counted."""

# Of a request for one person the result stands in the job itself.
RELEASED = text("""
    WITH gone AS (
      SELECT enrollment_id FROM job_person WHERE job_id = CAST(:released_by AS uuid) AND code = :code
      UNION ALL
      SELECT CAST(person ->> 'enrollment_id' AS uuid) FROM job, json_array_elements(result -> 'people') person
      WHERE id = CAST(:released_by AS uuid) AND person ->> 'code' = :code)
    SELECT a.first_name, a.last_name, a.email_norm AS email, n.enrolled_at, n.release_warned_at,
      count(*) OVER () AS total
    FROM gone JOIN enrollment n ON n.id = gone.enrollment_id JOIN account a ON a.id = n.account_id
    ORDER BY a.last_name, a.first_name, a.email_norm LIMIT :shown""")

WARNED = text("""
    SELECT a.first_name, a.last_name, a.email_norm AS email, n.enrolled_at, n.release_warned_at,
      count(*) OVER () AS total, min(n.enrolled_at) OVER () AS first_enrolled,
      min(n.release_warned_at) OVER () AS first_warned
    FROM enrollment n JOIN account a ON a.id = n.account_id
    WHERE n.contract_id = :contract AND n.withdrawn_at IS NULL AND n.detached_at IS NULL
      AND n.progress = 'not_started' AND a.activated_at IS NULL
      AND n.release_warned_at >= CAST(:warned_since AS timestamptz)
    ORDER BY a.last_name, a.first_name, a.email_norm LIMIT :shown""")


def write_release_report(session: Session, row: Claimed, fact: Any) -> Letter:
    """Of those warned: who is still to lose their seat when it is sent. Of those released: all of them."""
    context = row.columns["context"]
    released = "released_by" in context
    statement = RELEASED if released else WARNED
    people = session.execute(
        statement, {"shown": SHOWN, "contract": row.columns["contract_id"], "code": Code.WITHDRAWN} | context
    ).all()
    off = fact.release_after_days is None and not released
    if not people or off or fact.company_name is None:
        return not_wanted(row)
    earliest = None
    if not released:
        first = people[0]
        earliest = expected_release(first.first_enrolled, first.first_warned, fact.release_after_days, fact.now)
    more = {
        "contract_reference": fact.contract_reference,
        "released_from": earliest,
        "people": [{"first_name": one.first_name, "last_name": one.last_name, "email": one.email} for one in people],
        "total": people[0].total,
    }
    return Letter(row, EmailKind.RELEASE_REPORT, names(fact) | more)
