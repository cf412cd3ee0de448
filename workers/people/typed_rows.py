"""Requests as they were typed, and which parts of them speak of one person: shown by an export, blanked by an erasure.

They are read and written as JSON in Python, because PostgreSQL's operators fail on a U+0000 or half a surrogate pair
anywhere in a request, and one hostile row must not hide, or save from erasure, all the others.
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
"""What is left of a row of a request: it still parses, and whoever does the request again has it refused."""

SPEAKING: Final = [kind for kind, request in KINDS.items() if speaks_of_a_person(request)]
"""Kinds of requests that speak of a person; their fields say by what (``workers/requests/personal.py``)."""

AT_ONCE: Final = 10
"""Requests read at once: one may be of 200,000 people."""

# An address somebody has now is theirs, whoever had it before.
READ_ADDRESSES = text("""
    SELECT DISTINCT earlier.email FROM email_correction ec
    CROSS JOIN LATERAL (
      VALUES (ec.old_email), (CASE WHEN ec.state = 'applied' THEN ec.new_email END)) earlier (email)
    WHERE ec.account_id = :account AND earlier.email <> ''
      AND NOT EXISTS (SELECT 1 FROM account a WHERE a.email_norm = earlier.email AND a.id <> :account)""")

# By what the ledger knows of the person, and by the address wherever it was typed: a row that was refused led to
# nothing else. One pass over what is still kept of requests; nothing is locked meanwhile.
FIND_MENTIONS = text("""
    SELECT j.id FROM job j WHERE j.request IS NOT NULL AND j.kind = ANY(CAST(:kinds AS text[])) AND (
      j.lane = ANY(CAST(:lanes AS uuid[])) OR EXISTS (
        SELECT 1 FROM unnest(CAST(:emails AS text[])) given (email)
        WHERE position(given.email IN lower(CAST(j.request AS text))) > 0))""")

# Bytes that may be no text at all: what is ASCII in them stays as it is, and so does an address.
FIND_REFUSED = text("""
    SELECT j.id FROM job j WHERE j.message IS NOT NULL AND EXISTS (
      SELECT 1 FROM unnest(CAST(:emails AS text[])) given (email)
      WHERE position(given.email IN lower(encode(j.message, 'escape'))) > 0)""")

# What an account left behind: each job that enrolled it, wrote to it, corrected it or changed it otherwise.
FIND_TRACES = text("""
    SELECT e.job_id FROM enrollment e WHERE e.account_id = :account AND e.job_id IS NOT NULL
    UNION SELECT m.job_id FROM email m WHERE m.account_id = :account AND m.job_id IS NOT NULL
    UNION SELECT ec.job_id FROM email_correction ec WHERE ec.account_id = :account
    UNION SELECT au.job_id FROM audit au WHERE au.account_id = :account AND au.job_id IS NOT NULL""")

_READ: Final = """
    SELECT j.id, j.portal_id, j.kind, j.created_at, CAST(j.request AS text) AS request,
      CASE WHEN j.kind = 'enroll' THEN j.result END AS result
    FROM job j WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.request IS NOT NULL
      AND j.kind = ANY(CAST(:kinds AS text[])) AND (j.finished_at IS NOT NULL OR NOT :finished) ORDER BY j.id"""

# Of these jobs the requests that may speak of a person; results only where they say whose a row is.
READ_REQUESTS = text(_READ)

# A request to enrol people is written anew as a whole: of two people in it who are erased at the same moment the second
# must see it as the first left it.
LOCK_REQUESTS = text(f"{_READ} FOR NO KEY UPDATE")

# The rows of requests that led to the account, in jobs of several people.
READ_OWN_ROWS = text("""
    SELECT p.job_id, p.position FROM job_person p
    WHERE p.job_id = ANY(CAST(:ids AS uuid[])) AND p.account_id = :account""")


class RequestRow(NamedTuple):
    """A row of a request to enrol people, by its 0-based place."""

    job_id: UUID
    position: int


REQUEST_ROWS: Final = Unnest(RequestRow, JobPerson, alias="given")

# Of rows with the address of the person those that led to another account: they are somebody else's.
READ_OTHER_ROWS = text(f"""
    SELECT p.job_id, p.position FROM job_person p JOIN {REQUEST_ROWS} USING (job_id, position)
    WHERE p.account_id <> :account""")


class StoredRequest(NamedTuple):
    """A request as the ledger keeps it, with the result of its people when it is one to enrol some."""

    id: UUID
    portal_id: UUID
    kind: str
    created_at: datetime
    request: str
    result: dict[str, Any] | None


class SoughtPerson(NamedTuple):
    """The person looked for.

    Parameters:
      addresses: the account's own first, then those it had before.
      enrollments: all of the account's, also those it was withdrawn from.
    """

    account_id: UUID
    addresses: tuple[str, ...]
    enrollments: frozenset[UUID]


@dataclass(slots=True)
class TypedRequest:
    """A request that speaks of the person.

    Parameters:
      body: the JSON as it was sent.
      positions: the rows of the person, of a request to enrol people.
    """

    job_id: UUID
    portal_id: UUID
    kind: str
    at: datetime
    body: dict[str, Any]
    positions: list[int]


def whose_is(session: Session, account_id: UUID, email: str) -> SoughtPerson:
    """The person of this account, with the addresses it had before and nobody else has now."""
    earlier = fetch_values(session, str, READ_ADDRESSES, {"account": account_id})
    enrollments = session.exec(select(Enrollment.id).where(Enrollment.account_id == account_id))
    return SoughtPerson(account_id, tuple(dict.fromkeys([email, *earlier])), frozenset(enrollments))


def find_mentions(session: Session, whose: SoughtPerson) -> set[UUID]:
    """The jobs whose request may name one of the person's addresses, whatever came of them."""
    subjects = [f"address:{email}" for email in whose.addresses]
    subjects += [f"enrollment:{one}" for one in whose.enrollments] + [f"account:{whose.account_id}"]
    portals = session.exec(select(Portal.id)).all()
    lanes = [lane_id(portal, subject) for portal in portals for subject in subjects]
    emails = [_as_typed(email) for email in whose.addresses]
    asked = {"kinds": SPEAKING, "lanes": array(lanes), "emails": emails}
    return set(fetch_values(session, UUID, FIND_MENTIONS, asked))


def find_refused(session: Session, whose: SoughtPerson) -> set[UUID]:
    """The jobs that keep a message that could not be read as a request and names one of the person's addresses."""
    emails = [form for email in whose.addresses for form in _in_messages(email)]
    return set(fetch_values(session, UUID, FIND_REFUSED, {"emails": emails}))


def _as_typed(email: str) -> str:
    """What every spelling of the address has in it: of an accented domain people type other letters than DNS knows."""
    local_part, _, domain = email.partition("@")
    return email if "xn--" not in domain else f"{local_part}@"


def _in_messages(email: str) -> list[str]:
    """The spellings of the address in the bytes of a message, as PostgreSQL shows them: letters that are not ASCII
    stand there in UTF-8 or as JSON's escapes.
    """
    spoken = unicode_email(email)
    if spoken == email:
        return [email]
    in_utf8 = "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in spoken.encode())
    return [email, in_utf8, json.dumps(spoken)[1:-1].replace("\\", "\\\\")]


def find_addressed_mails(session: Session, whose: SoughtPerson) -> set[UUID]:
    """The mails with duplicates that a manager had sent to one of the person's addresses."""
    # Of no account, whoever has the address: a manager may be somebody's learner. One pass over the mails.
    theirs = (col(Email.account_id).is_(None), col(Email.to_address).in_(whose.addresses))
    return set(session.exec(select(Email.id).where(Email.kind == EmailKind.DUPLICATE, *theirs)))


def find_traces(session: Session, account_id: UUID) -> set[UUID]:
    """The jobs that did something to this account."""
    return set(fetch_values(session, UUID, FIND_TRACES, {"account": account_id}))


def read_typed(
    session: Session, whose: SoughtPerson, jobs: Collection[UUID], *, finished: bool
) -> Iterator[TypedRequest]:
    """Those of these jobs whose request speaks of the person, as they were typed, the oldest first.

    Parameters:
      finished: leave out those that are not done yet; the others are held until this transaction ends.
    """
    ids = sorted(jobs)
    for start in range(0, len(ids), AT_ONCE):
        asked = {"ids": array(ids[start : start + AT_ONCE]), "finished": finished}
        statement = LOCK_REQUESTS if finished else READ_REQUESTS
        rows = fetch(session, StoredRequest, statement, asked | {"kinds": SPEAKING})
        found = [
            TypedRequest(row.id, row.portal_id, row.kind, row.created_at, json.loads(row.request), []) for row in rows
        ]
        _find_rows(session, whose, found, {row.id: row.result or {} for row in rows})
        for one in found:
            if one.positions or (one.kind != Enroll.kind and _speaks_of(one, whose)):
                yield one


def _speaks_of(one: TypedRequest, whose: SoughtPerson) -> bool:
    said = ((mark, one.body.get(name)) for name, mark in marks_of(KINDS[one.kind]).items())
    return any(value is not None and _is_theirs(mark, value, whose) for mark, value in said)


def _is_theirs(mark: Personal | None, value: object, whose: SoughtPerson) -> bool:
    """Whether what a field says is said of this person."""
    match mark:
        case Personal.ADDRESS:
            return normalise_email(str(value)) in whose.addresses
        case Personal.ENROLLMENT:
            return UUID(str(value)) in whose.enrollments
        case Personal.ACCOUNT:
            return UUID(str(value)) == whose.account_id
        case _:
            return False


def shown_to_the_person(one: TypedRequest) -> dict[str, Any]:
    """What a request says, but for the enrollments of several people: whose they are is others' business."""
    marks = marks_of(KINDS[one.kind])
    return {name: said for name, said in one.body.items() if marks.get(name) is not Personal.SEVERAL}


def without_the_person(one: TypedRequest) -> dict[str, Any] | None:
    """A request without what it says of the person: of rows to enrol the others keep their places, of enrollments of
    several people it stays whose they were; of a request of one person nothing is left.
    """
    if one.kind == Enroll.kind:
        people = [ERASED_ROW if place in one.positions else row for place, row in enumerate(one.body["people"])]
        return one.body | {"people": people}
    marks = marks_of(KINDS[one.kind])
    if Personal.SEVERAL not in marks.values():
        return None
    return {name: said for name, said in one.body.items() if marks.get(name) not in TELLING}


def _find_rows(
    session: Session, whose: SoughtPerson, found: Sequence[TypedRequest], results: Mapping[UUID, Mapping[str, Any]]
) -> None:
    """Puts in the positions of the person's rows: those whose result is theirs, and those with their address that are
    not known to be somebody else's.
    """
    rosters = [one for one in found if one.kind == Enroll.kind]
    if not rosters:
        return
    ids = {"ids": array(one.job_id for one in rosters), "account": whose.account_id}
    mine = set(fetch(session, RequestRow, READ_OWN_ROWS, ids))
    others: set[RequestRow] = set()
    for one in rosters:
        for person in results[one.job_id].get("people", ()):
            known = mine if person["account_id"] == str(whose.account_id) else others
            if person["account_id"]:
                known.add(RequestRow(one.job_id, person["position"]))
    named = [
        RequestRow(one.job_id, position)
        for one in rosters
        for position, person in enumerate(one.body["people"])
        if normalise_email(person["email"]) in whose.addresses
    ]
    asked = REQUEST_ROWS.parameters(named) | {"account": whose.account_id}
    others.update(fetch(session, RequestRow, READ_OTHER_ROWS, asked))
    places: dict[UUID, set[int]] = {}
    for row in {*mine, *(set(named) - others)}:
        places.setdefault(row.job_id, set()).add(row.position)
    for one in rosters:
        one.positions = sorted(places.get(one.job_id, ()))
