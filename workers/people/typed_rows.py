"""Finds the parts of stored requests that are about one person: an export shows them, an erasure blanks them.

They are read and written as JSON in Python, because PostgreSQL's operators fail on a U+0000 or half a surrogate pair
anywhere in a request, and one hostile row must not hide the others, or save them from erasure.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from models.address import normalise_email, unicode_email
from models.email import Email
from models.enrollment import Enrollment
from models.job import JobPerson
from models.portal import Portal
from models.words import EmailKind
from workers.database import Session, array
from workers.requests.base import lane_id
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.personal import TELLING, Personal, marks_of, speaks_of_a_person
from workers.requests.registry import KINDS
from workers.sql import Unnest, fetch, fetch_values

ERASED_ROW: Final = {name: "" for name, field in PersonToEnroll.model_fields.items() if field.is_required()}
"""The row that replaces an erased one in a request: it can still be read, and is refused if the request runs again."""

SPEAKING: Final = [kind for kind, request in KINDS.items() if speaks_of_a_person(request)]
"""Kinds of requests that identify a person; marks on their fields say how (``workers/requests/personal.py``)."""

AT_ONCE: Final = 10
"""Requests read at once; the number is small because one may hold 200,000 people."""

# An address that another account has now belongs to that account, even if this one had it before.
READ_ADDRESSES = text("""
    SELECT DISTINCT earlier.email FROM email_correction ec
    CROSS JOIN LATERAL (
      VALUES (ec.old_email), (CASE WHEN ec.state = 'applied' THEN ec.new_email END)) earlier (email)
    WHERE ec.account_id = :account AND earlier.email <> ''
      AND NOT EXISTS (SELECT 1 FROM account a WHERE a.email_norm = earlier.email AND a.id <> :account)""")

# Finds requests by the lanes of the person, and by the address anywhere in the text, because a refused row left no
# other trace. It reads every request that is still kept once, and locks nothing.
FIND_MENTIONS = text("""
    SELECT j.id FROM job j WHERE j.request IS NOT NULL AND j.kind = ANY(CAST(:kinds AS text[])) AND (
      j.lane = ANY(CAST(:lanes AS uuid[])) OR EXISTS (
        SELECT 1 FROM unnest(CAST(:emails AS text[])) given (email)
        WHERE position(given.email IN lower(CAST(j.request AS text))) > 0))""")

# The bytes may be no text at all, but ASCII characters in them stay as they are, and so does an address.
FIND_REFUSED = text("""
    SELECT j.id FROM job j WHERE j.message IS NOT NULL AND EXISTS (
      SELECT 1 FROM unnest(CAST(:emails AS text[])) given (email)
      WHERE position(given.email IN lower(encode(j.message, 'escape'))) > 0)""")

# Finds each job that enrolled the account, wrote to it, corrected it or changed it otherwise.
FIND_TRACES = text("""
    SELECT e.job_id FROM enrollment e WHERE e.account_id = :account AND e.job_id IS NOT NULL
    UNION SELECT m.job_id FROM email m WHERE m.account_id = :account AND m.job_id IS NOT NULL
    UNION SELECT ec.job_id FROM email_correction ec WHERE ec.account_id = :account
    UNION SELECT nc.job_id FROM name_correction nc WHERE nc.account_id = :account
    UNION SELECT au.job_id FROM audit au WHERE au.account_id = :account AND au.job_id IS NOT NULL""")

_READ: Final = """
    SELECT j.id, j.portal_id, j.kind, j.created_at, CAST(j.request AS text) AS request,
      CASE WHEN j.kind = 'enroll' THEN j.result END AS result
    FROM job j WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.request IS NOT NULL
      AND j.kind = ANY(CAST(:kinds AS text[])) AND (j.finished_at IS NOT NULL OR NOT :finished) ORDER BY j.id"""

# Reads those requests of these jobs that may be about a person. The result comes only with an enrolment, where it
# tells which account a row led to.
READ_REQUESTS = text(_READ)

# A request to enrol people is rewritten as a whole: when two of its people are erased at the same moment, the second
# erasure must see the request as the first left it.
LOCK_REQUESTS = text(f"{_READ} FOR NO KEY UPDATE")

# Reads the rows of requests that led to the account, in jobs of several people.
READ_OWN_ROWS = text("""
    SELECT p.job_id, p.position FROM job_person p
    WHERE p.job_id = ANY(CAST(:ids AS uuid[])) AND p.account_id = :account""")


class RequestRow(NamedTuple):
    """A row of a request to enrol people: the job and the 0-based position."""

    job_id: UUID
    position: int


REQUEST_ROWS: Final = Unnest(RequestRow, JobPerson, alias="given")

# Finds, among the rows with the person's address, those that led to another account: they are about another person.
READ_OTHER_ROWS = text(f"""
    SELECT p.job_id, p.position FROM job_person p JOIN {REQUEST_ROWS} USING (job_id, position)
    WHERE p.account_id <> :account""")


class StoredRequest(NamedTuple):
    """A request as the ledger keeps it; a request to enrol people comes with their results."""

    id: UUID
    portal_id: UUID
    kind: str
    created_at: datetime
    request: str
    result: dict[str, Any] | None


class SoughtPerson(NamedTuple):
    """The person of an export or erasure.

    Parameters:
      addresses: the account's present address first, then its earlier ones.
      enrollments: all enrollments of the account, withdrawn ones too.
    """

    account_id: UUID
    addresses: tuple[str, ...]
    enrollments: frozenset[UUID]


@dataclass(slots=True)
class TypedRequest:
    """A request that is about the person.

    Parameters:
      body: the JSON as it was sent.
      positions: the 0-based positions of the person's rows, in a request to enrol people.
    """

    job_id: UUID
    portal_id: UUID
    kind: str
    at: datetime
    body: dict[str, Any]
    positions: list[int]


def sought_person(session: Session, account_id: UUID, email: str) -> SoughtPerson:
    """Reads the person of this account, with its earlier addresses unless another account has them now."""
    earlier = fetch_values(session, str, READ_ADDRESSES, {"account": account_id})
    enrollments = session.exec(select(Enrollment.id).where(Enrollment.account_id == account_id))
    return SoughtPerson(account_id, tuple(dict.fromkeys([email, *earlier])), frozenset(enrollments))


def find_mentions(session: Session, sought: SoughtPerson) -> set[UUID]:
    """Finds the jobs with a request that may name one of the person's addresses, whatever their result."""
    subjects = [f"address:{email}" for email in sought.addresses]
    subjects += [f"enrollment:{one}" for one in sought.enrollments] + [f"account:{sought.account_id}"]
    portals = session.exec(select(Portal.id)).all()
    lanes = [lane_id(portal, subject) for portal in portals for subject in subjects]
    emails = [_as_typed(email) for email in sought.addresses]
    asked = {"kinds": SPEAKING, "lanes": array(lanes), "emails": emails}
    return set(fetch_values(session, UUID, FIND_MENTIONS, asked))


def find_refused(session: Session, sought: SoughtPerson) -> set[UUID]:
    """Finds the jobs that keep a message that names one of the person's addresses and could not be read."""
    emails = [form for email in sought.addresses for form in _in_messages(email)]
    return set(fetch_values(session, UUID, FIND_REFUSED, {"emails": emails}))


def _as_typed(email: str) -> str:
    """Returns the part that every spelling of the address contains.

    People type an accented domain with other letters than DNS uses, so only the part up to the @ is certain there.
    """
    local_part, _, domain = email.partition("@")
    return email if "xn--" not in domain else f"{local_part}@"


def _in_messages(email: str) -> list[str]:
    """Lists the spellings of the address in the bytes of a message, as PostgreSQL's `escape` format shows them.

    Letters that are not ASCII are bytes of UTF-8 there, or JSON escapes.
    """
    spoken = unicode_email(email)
    if spoken == email:
        return [email]
    in_utf8 = "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in spoken.encode())
    return [email, in_utf8, json.dumps(spoken)[1:-1].replace("\\", "\\\\")]


def find_addressed_mails(session: Session, sought: SoughtPerson) -> set[UUID]:
    """Finds the mails with duplicates of certificates that a manager had sent to one of the person's addresses."""
    # These mails have no account, because a manager may also be a learner. All mails are read once.
    theirs = (col(Email.account_id).is_(None), col(Email.to_address).in_(sought.addresses))
    return set(session.exec(select(Email.id).where(Email.kind == EmailKind.DUPLICATE, *theirs)))


def find_traces(session: Session, account_id: UUID) -> set[UUID]:
    """Finds the jobs that changed this account or wrote to it."""
    return set(fetch_values(session, UUID, FIND_TRACES, {"account": account_id}))


def read_typed(
    session: Session, sought: SoughtPerson, jobs: Collection[UUID], *, finished: bool
) -> Iterator[TypedRequest]:
    """Yields the requests of these jobs that are about the person, as they were typed, the oldest first.

    Parameters:
      finished: leave out unfinished jobs, and lock the others until this transaction ends.
    """
    ids = sorted(jobs)
    for start in range(0, len(ids), AT_ONCE):
        asked = {"ids": array(ids[start : start + AT_ONCE]), "finished": finished}
        statement = LOCK_REQUESTS if finished else READ_REQUESTS
        rows = fetch(session, StoredRequest, statement, asked | {"kinds": SPEAKING})
        found = [
            TypedRequest(row.id, row.portal_id, row.kind, row.created_at, json.loads(row.request), []) for row in rows
        ]
        _find_rows(session, sought, found, {row.id: row.result or {} for row in rows})
        for one in found:
            if one.positions or (one.kind != Enroll.kind and _speaks_of(one, sought)):
                yield one


def _speaks_of(one: TypedRequest, sought: SoughtPerson) -> bool:
    said = ((mark, one.body.get(name)) for name, mark in marks_of(KINDS[one.kind]).items())
    return any(value is not None and _is_theirs(mark, value, sought) for mark, value in said)


def _is_theirs(mark: Personal | None, value: object, sought: SoughtPerson) -> bool:
    """Tells whether the value of a field identifies this person."""
    match mark:
        case Personal.ADDRESS:
            return normalise_email(str(value)) in sought.addresses
        case Personal.ENROLLMENT:
            return UUID(str(value)) in sought.enrollments
        case Personal.ACCOUNT:
            return UUID(str(value)) == sought.account_id
        case _:
            return False


def shown_to_the_person(one: TypedRequest) -> dict[str, Any]:
    """Returns a request without its list of enrollments of several people, because it concerns other people too."""
    marks = marks_of(KINDS[one.kind])
    return {name: said for name, said in one.body.items() if marks.get(name) is not Personal.SEVERAL}


def without_the_person(one: TypedRequest) -> dict[str, Any] | None:
    """Returns a request without the person's data, or None when nothing else is left, as in a request for one person.

    In a request to enrol people the other rows keep their positions. A list of enrollments of several people is kept.
    """
    if one.kind == Enroll.kind:
        people = [ERASED_ROW if place in one.positions else row for place, row in enumerate(one.body["people"])]
        return one.body | {"people": people}
    marks = marks_of(KINDS[one.kind])
    if Personal.SEVERAL not in marks.values():
        return None
    return {name: said for name, said in one.body.items() if marks.get(name) not in TELLING}


def _address_in(person: object) -> str:
    """Returns the address of a row as it was typed; a row that is no person was refused, and may be a bare text."""
    return str(person.get("email", "") if isinstance(person, dict) else person)


def _find_rows(
    session: Session, sought: SoughtPerson, found: Sequence[TypedRequest], results: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """Fills in the positions of the person's rows in requests to enrol people.

    A row is theirs when its result names their account, or when it has their address and led to no other account.
    """
    rosters = [one for one in found if one.kind == Enroll.kind]
    if not rosters:
        return
    ids = {"ids": array(one.job_id for one in rosters), "account": sought.account_id}
    mine = set(fetch(session, RequestRow, READ_OWN_ROWS, ids))
    others: set[RequestRow] = set()
    for one in rosters:
        for person in results[one.job_id].get("people", ()):
            known = mine if person["account_id"] == str(sought.account_id) else others
            if person["account_id"]:
                known.add(RequestRow(one.job_id, person["position"]))
    named = [
        RequestRow(one.job_id, position)
        for one in rosters
        for position, person in enumerate(one.body["people"])
        if normalise_email(_address_in(person)) in sought.addresses
    ]
    asked = REQUEST_ROWS.parameters(named) | {"account": sought.account_id}
    others.update(fetch(session, RequestRow, READ_OTHER_ROWS, asked))
    places: dict[UUID, set[int]] = {}
    for row in {*mine, *(set(named) - others)}:
        places.setdefault(row.job_id, set()).add(row.position)
    for one in rosters:
        one.positions = sorted(places.get(one.job_id, ()))
