"""Requests as they were typed, and which parts of them speak of one person: shown by an export, blanked by an erasure.

They are read and written as JSON in Python, because PostgreSQL's operators fail on a U+0000 or half a surrogate pair
anywhere in a request, and one hostile row must not hide, or save from erasure, all the others.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.address import normalise_email, unicode_email
from workers.database import Session, array
from workers.requests.accounts import (
    CorrectEmail,
    ErasePerson,
    ExportPerson,
    RequestPasswordReset,
)
from workers.requests.base import lane_id
from workers.requests.certificates import DuplicateCertificates
from workers.requests.enrollment import Enroll
from workers.requests.internal import CorrectEmailByOps

ERASED_ROW: Final = {"email": "", "first_name": "", "last_name": ""}
"""What is left of a row of a request: it still parses, and whoever does the request again has it refused."""

ADDRESSED: Final = tuple(
    request.kind
    for request in (
        *(RequestPasswordReset, CorrectEmail, CorrectEmailByOps, ExportPerson, ErasePerson),
        DuplicateCertificates,
    )
)
"""Requests that speak of one person by an address; of duplicates it is the address they were to be mailed to."""

AT_ONCE: Final = 10
"""Requests read at once: one may be of 200,000 people."""

# An address somebody has now is theirs, whoever had it before.
READ_ADDRESSES = text("""
    SELECT DISTINCT t.email FROM email_correction c
    CROSS JOIN LATERAL (VALUES (c.old_email), (CASE WHEN c.state = 'applied' THEN c.new_email END)) t (email)
    WHERE c.account_id = :account AND t.email <> ''
      AND NOT EXISTS (SELECT 1 FROM account a WHERE a.email_norm = t.email AND a.id <> :account)""")

READ_ENROLLMENTS = text("SELECT id FROM enrollment WHERE account_id = :account")

READ_PORTALS = text("SELECT id FROM portal")

# By what the ledger knows of the person, and by the address wherever it was typed: a row that was refused led to
# nothing else. One pass over what is still kept of requests; nothing is locked meanwhile.
FIND_MENTIONS = text("""
    SELECT id FROM job WHERE request IS NOT NULL AND kind = ANY(CAST(:kinds AS text[])) AND (
      lane = ANY(CAST(:lanes AS uuid[])) OR EXISTS (
        SELECT 1 FROM unnest(CAST(:emails AS text[])) t (email)
        WHERE position(t.email IN lower(CAST(request AS text))) > 0))""")

# Bytes that may be no text at all: what is ASCII in them stays as it is, and so does an address.
FIND_REFUSED = text("""
    SELECT id FROM job WHERE message IS NOT NULL AND EXISTS (
      SELECT 1 FROM unnest(CAST(:emails AS text[])) t (email)
      WHERE position(t.email IN lower(encode(message, 'escape'))) > 0)""")

# Of no account, whoever has the address: a manager may be somebody's learner. One pass over the mails.
FIND_ADDRESSED_MAILS = text("""
    SELECT id FROM email
    WHERE kind = 'duplicate' AND account_id IS NULL AND to_address = ANY(CAST(:emails AS text[]))""")

FIND_TRACES = text("""
    SELECT job_id FROM enrollment WHERE account_id = :account AND job_id IS NOT NULL
    UNION SELECT job_id FROM email WHERE account_id = :account AND job_id IS NOT NULL
    UNION SELECT job_id FROM email_correction WHERE account_id = :account
    UNION SELECT job_id FROM audit WHERE account_id = :account AND job_id IS NOT NULL""")

_READ: Final = """
    SELECT id, portal_id, kind, created_at, CAST(request AS text) AS request,
      CASE WHEN kind = 'enroll' THEN result END AS result
    FROM job WHERE id = ANY(CAST(:ids AS uuid[])) AND request IS NOT NULL AND kind = ANY(CAST(:kinds AS text[]))
      AND (finished_at IS NOT NULL OR NOT :finished) ORDER BY id"""

READ_REQUESTS = text(_READ)

# A request to enrol people is written anew as a whole: of two people in it who are erased at the same moment the second
# must see it as the first left it.
LOCK_REQUESTS = text(f"{_READ} FOR NO KEY UPDATE")

READ_OWN_ROWS = text("""
    SELECT job_id, position FROM job_person WHERE job_id = ANY(CAST(:ids AS uuid[])) AND account_id = :account""")

READ_OTHER_ROWS = text("""
    SELECT p.job_id, p.position FROM job_person p
    JOIN unnest(CAST(:jobs AS uuid[]), CAST(:positions AS int[])) t (job_id, position) USING (job_id, position)
    WHERE p.account_id <> :account""")


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
    at: Any
    body: dict[str, Any]
    positions: list[int]


def whose_is(session: Session, account_id: UUID, email: str) -> SoughtPerson:
    """The person of this account, with the addresses it had before and nobody else has now."""
    earlier = session.execute(READ_ADDRESSES, {"account": account_id}).scalars()
    enrollments = session.execute(READ_ENROLLMENTS, {"account": account_id}).scalars()
    return SoughtPerson(account_id, tuple(dict.fromkeys([email, *earlier])), frozenset(enrollments))


def find_mentions(session: Session, whose: SoughtPerson) -> set[UUID]:
    """The jobs whose request may name one of the person's addresses, whatever came of them."""
    subjects = [f"address:{email}" for email in whose.addresses]
    subjects += [f"enrollment:{one}" for one in whose.enrollments] + [f"account:{whose.account_id}"]
    portals = session.execute(READ_PORTALS).scalars().all()
    lanes = [lane_id(portal, subject) for portal in portals for subject in subjects]
    emails = [_as_typed(email) for email in whose.addresses]
    asked = {"kinds": [Enroll.kind, *ADDRESSED], "lanes": array(lanes), "emails": emails}
    return set(session.execute(FIND_MENTIONS, asked).scalars())


def find_refused(session: Session, whose: SoughtPerson) -> set[UUID]:
    """The jobs that keep a message that could not be read as a request and names one of the person's addresses."""
    emails = [form for email in whose.addresses for form in _in_messages(email)]
    return set(session.execute(FIND_REFUSED, {"emails": emails}).scalars())


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
    return set(session.execute(FIND_ADDRESSED_MAILS, {"emails": list(whose.addresses)}).scalars())


def find_traces(session: Session, account_id: UUID) -> set[UUID]:
    """The jobs that did something to this account."""
    return set(session.execute(FIND_TRACES, {"account": account_id}).scalars())


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
        rows = session.execute(
            LOCK_REQUESTS if finished else READ_REQUESTS, asked | {"kinds": [Enroll.kind, *ADDRESSED]}
        ).all()
        found = [
            TypedRequest(row.id, row.portal_id, row.kind, row.created_at, json.loads(row.request), []) for row in rows
        ]
        _find_rows(session, whose, found, {row.id: row.result or {} for row in rows})
        for one in found:
            if one.positions or (one.kind in ADDRESSED and _speaks_of(one, whose)):
                yield one


def _speaks_of(one: TypedRequest, whose: SoughtPerson) -> bool:
    address = one.body.get("deliver_to") if one.kind == DuplicateCertificates.kind else one.body["email"]
    if address is not None and normalise_email(address) in whose.addresses:
        return True
    enrollment, account = one.body.get("enrollment_id"), one.body.get("account_id")
    return (enrollment is not None and UUID(enrollment) in whose.enrollments) or (
        account is not None and UUID(account) == whose.account_id
    )


def _find_rows(session: Session, whose: SoughtPerson, found: Sequence[TypedRequest], results: dict[UUID, Any]) -> None:
    """Puts in the positions of the person's rows: those whose result is theirs, and those with their address that are
    not known to be somebody else's.
    """
    rosters = [one for one in found if one.kind == Enroll.kind]
    if not rosters:
        return
    ids = {"ids": array(one.job_id for one in rosters), "account": whose.account_id}
    mine = {(job, position) for job, position in session.execute(READ_OWN_ROWS, ids)}
    others: set[tuple[UUID, int]] = set()
    for one in rosters:
        for person in results[one.job_id].get("people", ()):
            known = mine if person["account_id"] == str(whose.account_id) else others
            if person["account_id"]:
                known.add((one.job_id, person["position"]))
    named = [
        (one.job_id, position)
        for one in rosters
        for position, person in enumerate(one.body["people"])
        if normalise_email(person["email"]) in whose.addresses
    ]
    pairs = {"jobs": array(job for job, _ in named), "positions": array(position for _, position in named)}
    others |= {(job, place) for job, place in session.execute(READ_OTHER_ROWS, pairs | {"account": whose.account_id})}
    places: dict[UUID, set[int]] = {}
    for job, place in {*mine, *(set(named) - others)}:
        places.setdefault(job, set()).add(place)
    for one in rosters:
        one.positions = sorted(places.get(one.job_id, ()))
