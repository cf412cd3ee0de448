"""Events that portals are told of: rows in the transaction of their cause, one for each endpoint that wants the event.

A capability asks for events with ``owe`` or ``defer`` while it works; they are written once, at the very end of its
transaction. So a portal without an endpoint costs one look per transaction, and the facts of an event are those that
the transaction commits.

Lock order: after everything else, endpoints by id, then the sequences of resources by portal and resource. These are
the last locks of every transaction, taken by one statement each, so no transaction that holds one waits for another
lock, and none of them deadlock. A sequence is held until its transaction ends: the next event of the same resource
waits for this commit, so the order of the numbers is the order of the commits.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.webhook import Webhook
from models.words import WebhookEvent, WebhookState
from workers.database import Session, array, before_commit
from workers.engine.ledger import wake_after_commit
from workers.requests.queues import WEBHOOKS
from workers.sql import JsonRows, fetch, fetch_value

TRIED_FOR: Final = timedelta(hours=24)
"""The time for which a webhook is tried; then its endpoint is disabled."""

PART: Final = 5_000
"""Webhooks that one statement writes: all people of a large request are enrolled in one transaction."""

_DEFERRED: Final = "deferred events"


class Event(NamedTuple):
    """Something that happened to a resource of a portal.

    Parameters:
      resource: what it is about, as kind and identifier: `enrollment:<id>`; its events are told in order.
      data: identifiers, references, codes and counters as JSON; no name, no address.
      endpoint_id: the only endpoint that is told, whatever events it wants; None: all that want it.
    """

    portal_id: UUID
    type: WebhookEvent
    resource: str
    data: Mapping[str, Any]
    endpoint_id: UUID | None = None


FindEvents = Callable[[Session], Iterable[Event]]
"""Finds events at the end of the transaction that caused them; it locks and changes nothing."""


class _Deferred(NamedTuple):
    """Events that are found only when a portal with an endpoint may want them; portals None: not known yet."""

    portals: frozenset[UUID] | None
    types: frozenset[WebhookEvent]
    find: FindEvents


class _HeldEndpoint(NamedTuple):
    """An endpoint that stays enabled or disabled until this transaction ends."""

    id: UUID
    portal_id: UUID
    portal: str
    events: Sequence[str] | None
    disabled: bool

    def wants(self, event: WebhookEvent) -> bool:
        """Tells whether it is told of events of this type."""
        return self.events is None or event in self.events

    def may_want(self, types: Collection[WebhookEvent]) -> bool:
        """Tells whether it is told of an event of one of these types; a test is for any endpoint."""
        return WebhookEvent.WEBHOOK_TEST in types or any(self.wants(event) for event in types)


class _NewWebhook(NamedTuple):
    """An event for one endpoint.

    Parameters:
      place: the event's place among those of its statement, which it has at each endpoint.
      payload: its data, to which its number is added.
    """

    place: int
    id: UUID
    endpoint_id: UUID
    portal_id: UUID
    event: str
    resource: str
    lane: UUID
    state: str
    payload: Mapping[str, Any]


_ROWS: Final = JsonRows(_NewWebhook, Webhook, alias="given", others={"place": "int"})

# Whether any portal has an endpoint: for what is not known to be of a certain portal.
CHECK_ENDPOINTS = text("SELECT EXISTS (SELECT FROM webhook_endpoint)")

# The endpoints of these portals. Whatever enables, disables or deletes an endpoint locks it FOR UPDATE first: it waits
# until what was owed here is committed, or what is owed here waits and sees the endpoint as it left it. What merely
# counts failures of an endpoint does not wait.
HOLD_ENDPOINTS = text("""
    SELECT w.id, w.portal_id, p.name AS portal, w.events, w.disabled_at IS NOT NULL AS disabled
    FROM webhook_endpoint w JOIN portal p ON p.id = w.portal_id
    WHERE w.portal_id = ANY(CAST(:portals AS uuid[])) ORDER BY w.id FOR KEY SHARE OF w""")

# Gives each event the next number of its resource, and records a webhook for each endpoint that is told of it. Events
# of one resource are numbered in their order; an event has the same number at each endpoint.
INSERT_WEBHOOKS = text(f"""
    WITH given AS MATERIALIZED (SELECT * FROM {_ROWS}),
    happened AS MATERIALIZED (SELECT DISTINCT portal_id, resource, place FROM given),
    raised AS (
      INSERT INTO resource_sequence AS r (portal_id, resource, sequence)
      SELECT portal_id, resource, count(*) FROM happened
      GROUP BY portal_id, resource ORDER BY portal_id, resource COLLATE "C"
      ON CONFLICT (portal_id, resource) DO UPDATE SET sequence = r.sequence + excluded.sequence
      RETURNING portal_id, resource, sequence AS last),
    numbered AS (
      SELECT h.place, r.last + 1 - row_number() OVER (
        PARTITION BY h.portal_id, h.resource ORDER BY h.place DESC) AS sequence
      FROM happened h JOIN raised r USING (portal_id, resource))
    INSERT INTO webhook (id, endpoint_id, portal_id, event, resource, lane, state, sequence, payload, queue, due_at,
      expires_at)
    SELECT g.id, g.endpoint_id, g.portal_id, g.event, g.resource, g.lane, g.state, n.sequence,
      CAST('{{"type": ' || to_json(g.event) || ', "timestamp": "'
        || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '", "data": {{"sequence": '
        || n.sequence || ', ' || substr(CAST(g.payload AS text), 2) || '}}' AS json),
      :queue, CASE WHEN g.state = '{WebhookState.OWED}' THEN now() END, now() + :tried_for
    FROM given g JOIN numbered n USING (place)""")


def owe(session: Session, events: Sequence[Event]) -> None:
    """Owes events to the endpoints that want them, in the transaction that caused them; senders are woken after it.

    Events of one resource are numbered in the order in which they were owed.
    """
    if events:
        portals, types = {one.portal_id for one in events}, {one.type for one in events}
        defer(session, portals, types, lambda _: events)


def defer(
    session: Session, portals: Collection[UUID] | None, types: Collection[WebhookEvent], find: FindEvents
) -> None:
    """Owes the events that `find` will find at the end of this transaction, if an endpoint may want them.

    Parameters:
      portals: the portals they may be of; None when that is not known.
      types: the types they may have.
    """
    told = None if portals is None else frozenset(portals) - {LOCAL_PORTAL_ID}  # no program stands behind `local`
    if told is not None and not told:
        return
    waiting: list[_Deferred] = session.info.setdefault(_DEFERRED, [])
    waiting.append(_Deferred(told, frozenset(types), find))
    before_commit(session, write_events)


def write_events(session: Session) -> None:
    """Writes the events that this transaction owes; a transaction does so as its last step."""
    deferred: list[_Deferred] = session.info.pop(_DEFERRED, [])
    known = {portal for one in deferred for portal in one.portals or ()}
    found: dict[int, Sequence[Event]] = {}
    strangers = [at for at, one in enumerate(deferred) if one.portals is None]
    anyone = fetch_value(session, bool, CHECK_ENDPOINTS) if strangers else False
    if anyone:
        found = {at: list(deferred[at].find(session)) for at in strangers}
        known |= {event.portal_id for events in found.values() for event in events}
    endpoints = _hold_endpoints(session, known - {LOCAL_PORTAL_ID})
    if not endpoints:
        return
    wanted = [found.get(at, ()) if one.portals is None else _find(session, one, endpoints)
              for at, one in enumerate(deferred)]  # fmt: skip
    _write(session, (event for events in wanted for event in events), endpoints)


def _hold_endpoints(session: Session, portals: Collection[UUID]) -> dict[UUID, list[_HeldEndpoint]]:
    """Returns the endpoints of each portal that has some."""
    found: dict[UUID, list[_HeldEndpoint]] = {}
    for one in fetch(session, _HeldEndpoint, HOLD_ENDPOINTS, {"portals": array(portals)}) if portals else ():
        found.setdefault(one.portal_id, []).append(one)
    return found


def _find(session: Session, deferred: _Deferred, endpoints: Mapping[UUID, Sequence[_HeldEndpoint]]) -> Iterable[Event]:
    asked = [endpoint for portal in deferred.portals or () for endpoint in endpoints.get(portal, ())]
    return deferred.find(session) if any(one.may_want(deferred.types) for one in asked) else ()


def _write(session: Session, events: Iterable[Event], endpoints: Mapping[UUID, Sequence[_HeldEndpoint]]) -> None:
    told = [(event, askers) for event in events if (askers := _askers(event, endpoints))]
    told.sort(key=lambda one: (one[0].portal_id.int, one[0].resource))  # as their sequences are locked; it is stable
    for start in range(0, len(told), PART):
        part = enumerate(told[start : start + PART])
        rows = [_webhook(place, event, endpoint) for place, (event, askers) in part for endpoint in askers]
        session.execute(INSERT_WEBHOOKS, _ROWS.parameters(rows) | {"queue": WEBHOOKS, "tried_for": TRIED_FOR})
    if any(not endpoint.disabled for _, askers in told for endpoint in askers):
        wake_after_commit(session, WEBHOOKS)


def _askers(event: Event, endpoints: Mapping[UUID, Sequence[_HeldEndpoint]]) -> list[_HeldEndpoint]:
    """Returns the endpoints that are told of this event."""
    of_portal = endpoints.get(event.portal_id, ())
    if event.endpoint_id is not None:
        return [one for one in of_portal if one.id == event.endpoint_id]
    return [one for one in of_portal if one.wants(event.type)]


def _webhook(place: int, event: Event, endpoint: _HeldEndpoint) -> _NewWebhook:
    return _NewWebhook(
        place,
        new_id(),
        endpoint.id,
        event.portal_id,
        event.type,
        event.resource,
        webhook_lane(endpoint.id, event.resource),
        WebhookState.HELD if endpoint.disabled else WebhookState.OWED,
        {"portal": endpoint.portal} | dict(event.data),
    )


def webhook_lane(endpoint_id: UUID, resource: str) -> UUID:
    """Returns the lane of what an endpoint is told of a resource; webhooks of a lane are sent in their order."""
    return UUID(bytes=hashlib.blake2b(endpoint_id.bytes + resource.encode(), digest_size=16).digest())
