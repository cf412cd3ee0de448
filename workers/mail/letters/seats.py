"""Writes mails to a manager about people who leave seats: they said "this is not me", or never activated."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.delivery import DeliveryReason
from models.mails import quoted
from models.person import printed_name
from models.release import expected_release
from models.words import Code, EmailKind, EmailState, Progress
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.mail.letters.letter import Letter, names, not_wanted, signature
from workers.people.enrolling_requests import find_enrolling_row, read_enrolling_request, read_typed_names
from workers.rosters.kept_rows import KeptRows
from workers.sql import fetch, fetch_one

SHOWN: Final = 100
"""The most people named in one report; the others are counted."""

# Reads the person who detached themselves, unless they were erased since; it locks nothing.
READ_DETACHED = text("""
    SELECT a.email_norm, c.reference, e.withdrawn_at IS NOT NULL AS seat_free
    FROM enrollment e JOIN account a ON a.id = e.account_id JOIN contract c ON c.id = e.contract_id
    WHERE e.id = :id AND e.detached_at IS NOT NULL AND a.erased_at IS NULL""")

_ADDRESS_AT_FAULT: Final = "m.state = '{}' OR (m.state IN ('{}', '{}') AND m.error ->> 'reason' IN ({}))".format(
    EmailState.SUPPRESSED,
    EmailState.FAILED,
    EmailState.BOUNCED,
    quoted(
        (
            DeliveryReason.ADDRESS_REJECTED,
            DeliveryReason.ADDRESS_UNSENDABLE,
            DeliveryReason.RECIPIENT_REFUSED,
        )
    ),
)
"""An SQL condition: the mail did not arrive for a reason that lies in its address."""

_TRIED: Final = quoted(
    (
        *(EmailState.SENT, EmailState.UNCERTAIN, EmailState.FAILED, EmailState.SUPPRESSED),
        *(EmailState.BOUNCED, EmailState.COMPLAINED),
    )
)
"""The states of a mail of which it is known whether it arrived."""

# An account made by an enrollment of this very company has the names the company typed. Those of any other account may
# be a stranger's.
_MADE_HERE: Final = """(
      SELECT bool_and(first_c.company_id = c.company_id)
      FROM enrollment first_e JOIN contract first_c ON first_c.id = first_e.contract_id
      WHERE first_e.account_id = a.id AND first_e.enrolled_at = a.created_at)"""

_PERSON: Final = f"""e.id, a.first_name, a.last_name, a.email_norm AS email, e.enrolled_at, e.release_warned_at,
      coalesce({_MADE_HERE}, false) AS made_here, coalesce(told.refused, false) AS refused,
      count(*) OVER () AS total, count(*) FILTER (WHERE told.refused) OVER () AS total_refused,
      min(e.enrolled_at) OVER () AS first_enrolled, min(e.release_warned_at) OVER () AS first_warned"""

_JOINED: Final = f"""enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a ON a.id = e.account_id
    LEFT JOIN LATERAL (
      SELECT {_ADDRESS_AT_FAULT} AS refused FROM email m
      WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND m.state IN ({_TRIED})
      ORDER BY m.id DESC LIMIT 1) told ON true"""

_ORDER: Final = "ORDER BY refused DESC, a.email_norm LIMIT :shown"

# Reads the people whose seats a job has given back, those first whose address is at fault; it locks nothing. Of a
# request for one person the result stands in the job itself.
READ_RELEASED = text(f"""
    WITH gone AS (
      SELECT p.enrollment_id FROM job_person p
      WHERE p.job_id = CAST(:released_by AS uuid) AND p.code = '{Code.WITHDRAWN}'
      UNION ALL
      SELECT CAST(person ->> 'enrollment_id' AS uuid) FROM job j, json_array_elements(j.result -> 'people') person
      WHERE j.id = CAST(:released_by AS uuid) AND person ->> 'code' = '{Code.WITHDRAWN}')
    SELECT {_PERSON}
    FROM {_JOINED} JOIN gone ON gone.enrollment_id = e.id WHERE a.erased_at IS NULL {_ORDER}""")

# Reads the people of a contract who were warned and are still to lose their seat; it locks nothing.
READ_WARNED = text(f"""
    SELECT {_PERSON}
    FROM {_JOINED}
    WHERE e.contract_id = :contract AND e.withdrawn_at IS NULL AND e.detached_at IS NULL
      AND e.progress = '{Progress.NOT_STARTED}' AND a.activated_at IS NULL AND a.erased_at IS NULL
      AND e.release_warned_at >= CAST(:warned_since AS timestamptz)
    {_ORDER}""")


class _DetachedPerson(NamedTuple):
    email_norm: str
    reference: str
    seat_free: bool


class _SeatHolder(NamedTuple):
    id: UUID
    first_name: str
    last_name: str
    email: str
    enrolled_at: datetime
    release_warned_at: datetime | None
    made_here: bool
    refused: bool
    total: int
    total_refused: int
    first_enrolled: datetime
    first_warned: datetime | None


def write_detachment(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes that a person said "this is not me", with the names the manager gave.

    The names of the account are not given, because they may be a stranger's.
    """
    if facts.enrollment_id is None or facts.company_name is None:
        return not_wanted(mail)
    person = fetch_one(session, _DetachedPerson, READ_DETACHED, {"id": facts.enrollment_id})
    if person is None:
        return not_wanted(mail)
    given = read_enrolling_request(session, facts.enrollment_id)
    context = {
        **names(facts),
        **signature(),
        "first_name": printed_name(given.first_name),
        "last_name": printed_name(given.last_name),
        "person_email": person.email_norm,
        "contract_reference": person.reference,
        "seat_free": person.seat_free,
    }
    rows = find_enrolling_row(session, facts.enrollment_id)
    return Letter(mail, EmailKind.DETACHMENT, context, rows=rows, from_rows=_names_in)


def _names_in(rows: KeptRows) -> dict[str, str]:
    named = ((printed_name(one.first_name), printed_name(one.last_name)) for one in rows)
    return next(({"first_name": first, "last_name": last} for first, last in named), {})


def write_release_report(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes which people were warned and may still lose their seat, or which people have lost it."""
    released = "released_by" in mail.context
    asked = {"shown": SHOWN, "contract": mail.contract_id, **mail.context}
    people = fetch(session, _SeatHolder, READ_RELEASED if released else READ_WARNED, asked)
    off = facts.release_after_days is None and not released
    if not people or off or facts.company_name is None:
        return not_wanted(mail)
    more = {
        "contract_reference": facts.contract_reference,
        "released_from": None if released else _earliest_release(people[0], facts),
        "people": _named(session, people),
        "total": people[0].total,
        "total_refused": people[0].total_refused,
    }
    return Letter(mail, EmailKind.RELEASE_REPORT, names(facts) | more)


def _earliest_release(one: _SeatHolder, facts: MailFacts) -> datetime | None:
    if facts.release_after_days is None:
        return None
    return expected_release(one.first_enrolled, one.first_warned, facts.release_after_days, facts.now)


def _named(session: Session, people: Sequence[_SeatHolder]) -> list[dict[str, Any]]:
    """Lists people by the names the company typed, if known: the names of the account may be a stranger's."""
    typed = read_typed_names(session, [one.id for one in people if not one.made_here])
    shown = []
    for one in people:
        first, last = (one.first_name, one.last_name) if one.made_here else typed.get(one.id, ("", ""))
        shown.append({"first_name": first, "last_name": last, "email": one.email, "refused": one.refused})
    return shown


WRITERS: Final = {
    EmailKind.DETACHMENT: write_detachment,
    EmailKind.RELEASE_REPORT: write_release_report,
}
