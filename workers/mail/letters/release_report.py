"""The mail to a manager that names whose seats will be given back, or were."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import text

from models.delivery import DeliveryReason
from models.release import expected_release
from models.words import Code, EmailKind, EmailState
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.people.enrolling_requests import read_typed_names

SHOWN: Final = 100
"""People named in one report; the others are counted."""

_REFUSED: Final = "m.state = '{}' OR m.error ->> 'reason' IN ({})".format(
    EmailState.SUPPRESSED,
    ", ".join(
        f"'{one}'"
        for one in (
            DeliveryReason.ADDRESS_REJECTED,
            DeliveryReason.ADDRESS_UNSENDABLE,
            DeliveryReason.RECIPIENT_REFUSED,
        )
    ),
)
"""An SQL condition: the mail did not arrive for a reason that lies in its address."""

# An account made by an enrollment of this very company has the names the company typed. Those of any other account may
# be a stranger's.
_MADE_HERE: Final = """(
      SELECT bool_and(k.company_id = c.company_id) FROM enrollment f JOIN contract k ON k.id = f.contract_id
      WHERE f.account_id = a.id AND f.enrolled_at = a.created_at)"""

_PERSON: Final = f"""n.id, a.first_name, a.last_name, a.email_norm AS email, n.enrolled_at, n.release_warned_at,
      coalesce({_MADE_HERE}, false) AS made_here, coalesce(told.refused, false) AS refused,
      count(*) OVER () AS total, count(*) FILTER (WHERE told.refused) OVER () AS total_refused"""

_JOINED: Final = f"""enrollment n JOIN contract c ON c.id = n.contract_id JOIN account a ON a.id = n.account_id
    LEFT JOIN LATERAL (
      SELECT {_REFUSED} AS refused FROM email m
      WHERE m.account_id = n.account_id AND m.enrollment_id = n.id
        AND m.state IN ('sent', 'uncertain', 'failed', 'suppressed')
      ORDER BY m.id DESC LIMIT 1) told ON true"""

_ORDER: Final = "ORDER BY refused DESC, a.email_norm LIMIT :shown"

# Of a request for one person the result stands in the job itself.
READ_RELEASED = text(f"""
    WITH gone AS (
      SELECT enrollment_id FROM job_person WHERE job_id = CAST(:released_by AS uuid) AND code = :code
      UNION ALL
      SELECT CAST(person ->> 'enrollment_id' AS uuid) FROM job, json_array_elements(result -> 'people') person
      WHERE id = CAST(:released_by AS uuid) AND person ->> 'code' = :code)
    SELECT {_PERSON}
    FROM {_JOINED} JOIN gone ON gone.enrollment_id = n.id WHERE a.erased_at IS NULL {_ORDER}""")

READ_WARNED = text(f"""
    SELECT {_PERSON}, min(n.enrolled_at) OVER () AS first_enrolled, min(n.release_warned_at) OVER () AS first_warned
    FROM {_JOINED}
    WHERE n.contract_id = :contract AND n.withdrawn_at IS NULL AND n.detached_at IS NULL
      AND n.progress = 'not_started' AND a.activated_at IS NULL AND a.erased_at IS NULL
      AND n.release_warned_at >= CAST(:warned_since AS timestamptz)
    {_ORDER}""")


def write_release_report(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    """Of those warned: who is still to lose their seat when it is sent. Of those released: all of them."""
    context = row.columns["context"]
    released = "released_by" in context
    statement = READ_RELEASED if released else READ_WARNED
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
        "people": _named(session, people),
        "total": people[0].total,
        "total_refused": people[0].total_refused,
    }
    return Letter(row, EmailKind.RELEASE_REPORT, names(fact) | more)


def _named(session: Session, people: Sequence[Any]) -> list[dict[str, Any]]:
    """Each by the names the company typed, as far as they are known: those of the account may be a stranger's."""
    typed = read_typed_names(session, [one.id for one in people if not one.made_here])
    shown = []
    for one in people:
        first, last = (one.first_name, one.last_name) if one.made_here else typed.get(one.id, ("", ""))
        shown.append({"first_name": first, "last_name": last, "email": one.email, "refused": one.refused})
    return shown


WRITERS: Final = {
    EmailKind.RELEASE_REPORT: write_release_report,
}
