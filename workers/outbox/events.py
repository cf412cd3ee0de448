"""A portal is owed events of its people, contracts and certificates, in the transaction that causes them.

A capability says what it changed; the facts of each event (references, progress, counters) are read at the end of the
transaction, as it commits them, and only for portals with an endpoint that wants them (``workers/engine/events.py``).
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.contract import SeatUse, shares_reached
from models.enrollment import LIVE
from models.words import EmailState, WebhookEvent
from workers.database import Session, array
from workers.engine.events import Event, defer, owe
from workers.sql import as_json, fetch

# The facts of enrollments and of what they belong to.
READ_ENROLLMENTS = text("""
    SELECT e.id AS enrollment_id, e.account_id, c.portal_id, c.reference AS contract, co.reference AS company,
      tr.reference AS training, e.progress, e.started_at, e.completed_at, e.score, e.time_spent_seconds, e.enrolled_at,
      e.withdrawn_at, e.detached_at
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    JOIN training tr ON tr.id = c.training_id
    WHERE e.id = ANY(CAST(:enrollments AS uuid[]))""")

# The live enrollments of accounts, with the portals that have them.
READ_ENROLLMENTS_OF_ACCOUNTS = text(f"""
    SELECT e.account_id, c.portal_id, e.id AS enrollment_id
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND {LIVE} ORDER BY e.account_id, c.portal_id, e.id""")

# The seats of contracts as this transaction leaves them.
READ_SEATS = text("""
    SELECT c.id AS contract_id, c.portal_id, c.reference AS contract, co.reference AS company, c.planned_seats,
      c.enrolled_count
    FROM contract c JOIN company co ON co.id = c.company_id WHERE c.id = ANY(CAST(:contracts AS uuid[]))""")

# Of these mails: those that were not sent or came back, each with the portal of its contract.
READ_UNDELIVERABLE = text(f"""
    SELECT m.id, m.kind, m.state, substring(CAST(m.error AS text) FROM '"reason": "([a-z_]+)"') AS reason,
      m.account_id, m.enrollment_id, c.portal_id
    FROM email m LEFT JOIN enrollment e ON e.id = m.enrollment_id
    LEFT JOIN contract c ON c.id = coalesce(e.contract_id, m.contract_id)
    WHERE m.id = ANY(CAST(:mails AS uuid[])) AND m.account_id IS NOT NULL
      AND ((m.state IN ('{EmailState.FAILED}', '{EmailState.SUPPRESSED}', '{EmailState.EXPIRED}')
        AND m.finished_at = now())
        OR (m.state IN ('{EmailState.BOUNCED}', '{EmailState.COMPLAINED}') AND m.returned_at = now()))""")

MOST_ENROLLMENTS: Final = 100
"""Enrollments of one account that an event lists."""


class _EnrollmentFacts(NamedTuple):
    enrollment_id: UUID
    account_id: UUID
    portal_id: UUID
    contract: str
    company: str
    training: str
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    score: float | None
    time_spent_seconds: int
    enrolled_at: datetime
    withdrawn_at: datetime | None
    detached_at: datetime | None


class _AccountEnrollment(NamedTuple):
    account_id: UUID
    portal_id: UUID
    enrollment_id: UUID


class _SeatFacts(NamedTuple):
    contract_id: UUID
    portal_id: UUID
    contract: str
    company: str
    planned_seats: int
    enrolled_count: int


class _UndeliverableMail(NamedTuple):
    id: UUID
    kind: str
    state: str
    reason: str | None
    account_id: UUID
    enrollment_id: UUID | None
    portal_id: UUID | None


class HeldSeats(NamedTuple):
    """A contract that was just locked, and its seats."""

    contract_id: UUID
    portal_id: UUID
    seats: SeatUse


class EnrollmentNews(NamedTuple):
    """Something that happened to an enrollment; `detail` says more than its row does."""

    type: WebhookEvent
    enrollment_id: UUID
    detail: Mapping[str, Any] = {}


def tell_of_enrollments(
    session: Session,
    portals: Collection[UUID] | None,
    types: Collection[WebhookEvent],
    news: Iterable[EnrollmentNews],
) -> None:
    """Owes what happened to enrollments.

    Parameters:
      portals: the portals of these enrollments; None when they are not known.
      types: the types of the news.
      news: is read only when an endpoint may want it, and once.
    """
    defer(session, portals, types, partial(_find_enrollments, news=news))


def watch_seats(session: Session, held: Collection[HeldSeats]) -> None:
    """Owes at the end of the transaction that few seats of locked contracts are left, or none, where that is new.

    A contract counts from where this transaction first held it: what it does and undoes again is no news.
    """
    watched: set[UUID] = session.info.setdefault("watched seats", set())
    if new := {one.contract_id: one for one in held if one.contract_id not in watched}:
        watched.update(new)
        types = (WebhookEvent.CONTRACT_SEATS_LOW, WebhookEvent.CONTRACT_FULL)
        defer(session, {one.portal_id for one in new.values()}, types, partial(_find_seats, held=new))


def tell_activated(session: Session, account_id: UUID) -> None:
    """Owes to each portal that has this account enrolled that the person chose a first password."""
    defer(session, None, {WebhookEvent.ACCOUNT_ACTIVATED}, partial(_find_activated, account_id=account_id))


def tell_undeliverable(session: Session, mails: Collection[UUID]) -> None:
    """Owes that mails to people failed, expired, were suppressed or came back in this transaction, and of no others."""
    if mails:
        defer(session, None, {WebhookEvent.EMAIL_UNDELIVERABLE}, partial(_find_undeliverable, mails=mails))


def _find_enrollments(session: Session, news: Iterable[EnrollmentNews]) -> Iterable[Event]:
    told_of = list(news)
    asked = {"enrollments": array({one.enrollment_id for one in told_of})}
    facts = {row.enrollment_id: row for row in fetch(session, _EnrollmentFacts, READ_ENROLLMENTS, asked)}
    for told, enrollment_id, detail in told_of:
        if row := facts.get(enrollment_id):
            yield Event(row.portal_id, told, enrollment_resource(enrollment_id), _data(row) | dict(detail))


def _data(row: NamedTuple) -> dict[str, Any]:
    """Returns facts as JSON without the portal, which every event names, and without what is not known."""
    return {name: value for name, value in as_json(row).items() if value is not None and name != "portal_id"}


def _find_seats(session: Session, held: Mapping[UUID, HeldSeats]) -> Iterable[Event]:
    for row in fetch(session, _SeatFacts, READ_SEATS, {"contracts": array(held)}):
        for share in shares_reached(held[row.contract_id].seats, SeatUse(row.planned_seats, row.enrolled_count)):
            left = {"remaining": row.planned_seats - row.enrolled_count}
            told = WebhookEvent.CONTRACT_FULL if share == 100 else WebhookEvent.CONTRACT_SEATS_LOW
            data = _data(row) | left | ({} if share == 100 else {"percent": share})
            yield Event(row.portal_id, told, f"contract:{row.contract_id}", data)


def _find_activated(session: Session, account_id: UUID) -> Iterable[Event]:
    for (_, portal_id), enrollments in _enrollments_of(session, [account_id]).items():
        data = {"account_id": str(account_id), "enrollment_ids": enrollments[:MOST_ENROLLMENTS]}
        yield Event(portal_id, WebhookEvent.ACCOUNT_ACTIVATED, account_resource(account_id), data)


def _enrollments_of(session: Session, accounts: Collection[UUID]) -> dict[tuple[UUID, UUID], list[str]]:
    """Returns the live enrollments of accounts by account and portal."""
    found: dict[tuple[UUID, UUID], list[str]] = {}
    for row in fetch(session, _AccountEnrollment, READ_ENROLLMENTS_OF_ACCOUNTS, {"accounts": array(accounts)}):
        found.setdefault((row.account_id, row.portal_id), []).append(str(row.enrollment_id))
    return found


def _find_undeliverable(session: Session, mails: Collection[UUID]) -> Iterable[Event]:
    found = fetch(session, _UndeliverableMail, READ_UNDELIVERABLE, {"mails": array(mails)})
    homeless = {one.account_id for one in found if one.portal_id is None}
    portals = _enrollments_of(session, homeless) if homeless else {}
    for one in found:
        # A mail about the account alone (a new password) concerns every portal that has the person enrolled.
        for portal_id in [one.portal_id] if one.portal_id else [p for a, p in portals if a == one.account_id]:
            yield _undeliverable(portal_id, one)


def _undeliverable(portal_id: UUID, mail: _UndeliverableMail) -> Event:
    data = {"email_id": str(mail.id), "mail": mail.kind, "code": mail.state, "account_id": str(mail.account_id)}
    data |= {"reason": mail.reason} if mail.reason else {}
    data |= {"enrollment_id": str(mail.enrollment_id)} if mail.enrollment_id else {}
    resource = enrollment_resource(mail.enrollment_id) if mail.enrollment_id else account_resource(mail.account_id)
    return Event(portal_id, WebhookEvent.EMAIL_UNDELIVERABLE, resource, data)


def enrollment_resource(enrollment_id: UUID) -> str:
    """Returns the resource of what happens to a participant: mails and certificates of an enrollment, too."""
    return f"enrollment:{enrollment_id}"


def account_resource(account_id: UUID) -> str:
    """Returns the resource of what happens to an account."""
    return f"account:{account_id}"


__all__ = [
    "EnrollmentNews",
    "Event",
    "HeldSeats",
    "account_resource",
    "defer",
    "enrollment_resource",
    "owe",
    "tell_activated",
    "tell_of_enrollments",
    "tell_undeliverable",
    "watch_seats",
]
