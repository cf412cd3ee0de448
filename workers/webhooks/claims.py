"""Claims what endpoints are owed, under leases and a fencing token, as ``workers/engine/ledger.py`` does for jobs.

The statements are others than those of jobs, because what must not wait for each other here is endpoints: a claim is
made for one endpoint, under the lock of its row, so that two processes never hold webhooks of one lane. Why so:
``docs/decisions/0038-webhooks-are-claimed-by-endpoint.md``.

Lock order: the row of an endpoint, then its webhooks. While it holds the row of an endpoint no transaction waits for a
webhook that another may have locked: it leaves those out (SKIP LOCKED), or they are its own by their claim.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.job import WAITING_IN_TIME
from models.webhook_delivery import FAILURES_TO_REST
from models.words import WebhookState
from workers.database import Session, array
from workers.requests.queues import WEBHOOKS
from workers.sql import fetch, fetch_one, fetch_value, fetch_values

FIRST_LANE: Final = UUID(int=0)

UUID_LENGTH: Final = 36

MOST_OF_LANE: Final = 20
"""The most webhooks of one lane that are claimed together; they are sent one after the other."""

OPEN: Final = "e.disabled_at IS NULL AND coalesce(e.next_try_at <= now(), true)"
"""The condition of an endpoint that may be sent something now."""

DUE: Final = f"endpoint_id = :endpoint AND {WAITING_IN_TIME} AND due_at <= now()"
"""The condition of what an endpoint is owed and is due, in statements that find it by its time and not by its lane."""

FEW_DUE: Final = 5_000
"""Due webhooks of an endpoint up to which their lanes are read from them; where more are due, the lanes are walked."""

SETTLED_AT_ONCE: Final = 5_000
"""The most webhooks of which one transaction moves the time to that of the first one in their lane."""

# Finds the endpoints that are owed something that is due, other than those that are set aside.
FIND_DUE_ENDPOINTS = text(f"""
    SELECT e.id FROM webhook_endpoint e CROSS JOIN LATERAL (
      SELECT FROM webhook WHERE endpoint_id = e.id AND {WAITING_IN_TIME} AND due_at <= now() LIMIT 1) due
    WHERE {OPEN} AND NOT e.id = ANY(CAST(:aside AS uuid[]))""")

# Tells in how many seconds the next webhook is due, or the next endpoint has rested.
READ_NEXT_TIME = text(f"""
    SELECT extract(epoch FROM least(
      (SELECT w.due_at FROM webhook w
       WHERE w.queue = '{WEBHOOKS}' AND w.due_at IS NOT NULL AND w.leased_until IS NULL AND w.due_at > now()
       ORDER BY w.due_at LIMIT 1),
      (SELECT min(e.next_try_at) FROM webhook_endpoint e WHERE e.next_try_at > now() AND e.disabled_at IS NULL))
      - now())::float8""")

# Locks an endpoint that may be sent something, so that no other process claims for it, and reads how to send to it.
LOCK_ENDPOINT = text(f"""
    SELECT e.id, e.portal_id, e.url, e.master_id, e.secret_version,
      coalesce(e.previous_until > now(), false) AS previous_signs, e.failures
    FROM webhook_endpoint e WHERE e.id = :endpoint AND {OPEN} FOR NO KEY UPDATE OF e""")


def _free(lane: str) -> str:
    """Returns the SQL condition of a lane in which nothing is being sent, and of which the first webhook is due."""
    return f"""((SELECT true FROM webhook r WHERE r.endpoint_id = :endpoint AND r.lane = {lane}
          AND r.leased_until IS NOT NULL LIMIT 1) IS NULL
        AND coalesce((SELECT h.due_at <= now() FROM webhook h
          WHERE h.endpoint_id = :endpoint AND h.lane = {lane} AND h.due_at IS NOT NULL AND h.leased_until IS NULL
          ORDER BY h.sequence LIMIT 1), false))"""


def _next_lane(after: str) -> str:
    """Returns the SQL of the first lane after this one in which something waits, due or not.

    It reads one row, however many wait in a lane: all of a lane wait for its first.
    """
    return f"""(SELECT w.lane FROM webhook w
      WHERE w.endpoint_id = :endpoint AND w.due_at IS NOT NULL AND w.leased_until IS NULL
        AND w.lane > {after} ORDER BY w.lane LIMIT 1)"""


# Counts what is due of an endpoint, up to a bound.
COUNT_DUE = text(f"SELECT count(*)::int FROM (SELECT FROM webhook WHERE {DUE} LIMIT {FEW_DUE}) due")

# Finds lanes of an endpoint that are free, in their order after one, of those in which something is due.
FIND_FREE_LANES = text(f"""
    SELECT l.lane FROM (
      SELECT DISTINCT due.lane FROM (SELECT lane FROM webhook WHERE {DUE} LIMIT {FEW_DUE}) due
      WHERE due.lane > :cursor ORDER BY due.lane) l
    WHERE {_free("l.lane")} LIMIT :size""")

# The same of all lanes in which something waits, one after the other.
WALK_FREE_LANES = text(f"""
    WITH RECURSIVE walk (lane, passed, free) AS (
      (SELECT f.lane, 0, {_free("f.lane")} FROM {_next_lane(":cursor")} f)
      UNION ALL
      SELECT n.lane, passed + CAST(walk.free AS int), {_free("n.lane")}
      FROM walk CROSS JOIN LATERAL {_next_lane("walk.lane")} n
      WHERE passed + CAST(walk.free AS int) < :size)
    SELECT walk.lane FROM walk WHERE walk.free""")

_EXTERNAL_ID: Final = f"""(SELECT n.external_id FROM enrollment n
      WHERE n.id = CASE WHEN event LIKE 'participant.%' AND length(split_part(resource, ':', 2)) = {UUID_LENGTH}
        THEN CAST(split_part(resource, ':', 2) AS uuid) END)"""
"""The company's own number of a participant, as it is now: an erasure empties it, so it is stored with no webhook."""

# Claims the first webhooks of free lanes of an endpoint, the lanes in their order. An endpoint that rests gets one, if
# none of its webhooks is being sent.
CLAIM_WEBHOOKS = text(f"""
    WITH found AS MATERIALIZED (
      SELECT p.id FROM unnest(CAST(:lanes AS uuid[])) WITH ORDINALITY walk (lane, place) CROSS JOIN LATERAL (
        SELECT w.id FROM webhook w
        WHERE w.endpoint_id = :endpoint AND w.lane = walk.lane AND w.due_at IS NOT NULL AND w.leased_until IS NULL
        ORDER BY w.sequence LIMIT :of_lane FOR NO KEY UPDATE SKIP LOCKED) p
      WHERE NOT CAST(:alone AS bool) OR (
        SELECT true FROM webhook r WHERE r.endpoint_id = :endpoint AND r.leased_until IS NOT NULL LIMIT 1) IS NULL
      ORDER BY walk.place LIMIT :size)
    UPDATE webhook SET claim = claim + 1, worker = :worker, leased_until = now() + make_interval(secs => :lease)
    WHERE id IN (SELECT id FROM found)
    RETURNING id, lane, claim, sequence, failures,
      coalesce(extract(epoch FROM now() - started_at), 0)::float8 AS tried_for, CAST(payload AS text) AS payload,
      {_EXTERNAL_ID} AS external_id""")

# Makes what waits behind a webhook that is tried later due with it, so that its endpoint is not looked at in vain.
SETTLE_LANES = text(f"""
    UPDATE webhook t SET due_at = behind.due_at FROM (
      SELECT w.id, (SELECT h.due_at FROM webhook h
        WHERE h.endpoint_id = :endpoint AND h.lane = w.lane AND h.due_at IS NOT NULL AND h.leased_until IS NULL
        ORDER BY h.sequence LIMIT 1) AS due_at
      FROM (SELECT id, lane FROM webhook WHERE {DUE}
        ORDER BY due_at LIMIT {SETTLED_AT_ONCE} FOR NO KEY UPDATE SKIP LOCKED) w) behind
    WHERE t.id = behind.id AND behind.due_at > now()""")

_PAIRS: Final = "m AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim))"

OURS: Final = """ours AS MATERIALIZED (
      SELECT m.* FROM (SELECT * FROM m ORDER BY id) m CROSS JOIN LATERAL (
        SELECT FROM webhook t WHERE t.id = m.id AND t.claim = m.claim AND num_nulls(t.leased_until) = 0
        FOR NO KEY UPDATE) held)"""
"""Locks the claims in ``m`` that are still ours, in the order of their id: the only check of the fence.

``Ledger`` argues why it is enough: a webhook that was rescued or claimed again is not ours, and one that passed is
locked until this transaction ends.
"""

BY_ID: Final = "t.id = ANY(ARRAY[m.id])"

# Renews leases that are still ours.
RENEW_LEASES = text(f"""
    WITH {_PAIRS}, {OURS}
    UPDATE webhook t SET leased_until = now() + make_interval(secs => :lease) FROM ours m WHERE {BY_ID}
    RETURNING t.id""")

# Holds endpoints against being enabled or disabled, so that what is given back is owed, or held.
HOLD_ENDPOINTS = text("""
    SELECT e.id FROM webhook_endpoint e WHERE e.id = ANY(CAST(:endpoints AS uuid[])) ORDER BY e.id
    FOR KEY SHARE OF e""")

_OWED_OR_HELD: Final = f"""leased_until = NULL, due_at = CASE WHEN e.disabled_at IS NULL THEN t.due_at END,
      state = CASE WHEN e.disabled_at IS NULL THEN t.state ELSE '{WebhookState.HELD}' END"""

# Gives back webhooks that were not sent, as if they had never been claimed; those of a disabled endpoint are held.
GIVE_BACK_WEBHOOKS = text(f"""
    WITH {_PAIRS}, {OURS}
    UPDATE webhook t SET {_OWED_OR_HELD}
    FROM ours m, webhook_endpoint e WHERE {BY_ID} AND e.id = t.endpoint_id""")

# Finds the endpoints of which lost senders hold webhooks.
FIND_LOST = text("""
    SELECT DISTINCT w.endpoint_id FROM (
      SELECT l.endpoint_id FROM webhook l WHERE l.leased_until < now() ORDER BY l.leased_until LIMIT 1000) w""")

# Takes back what lost senders held. What is inside a live transaction is locked, and not lost.
RESCUE_WEBHOOKS = text(f"""
    WITH lost AS MATERIALIZED (
      SELECT l.id FROM webhook l WHERE l.leased_until < now() AND l.endpoint_id = ANY(CAST(:endpoints AS uuid[]))
      ORDER BY l.leased_until LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE webhook t SET rescues = t.rescues + 1, {_OWED_OR_HELD}
    FROM lost m, webhook_endpoint e WHERE {BY_ID} AND e.id = t.endpoint_id
    RETURNING t.id""")


class TargetEndpoint(NamedTuple):
    """The facts of an endpoint that a sender needs.

    Parameters:
      previous_signs: the secret before the present one signs too, because it was replaced a short while ago.
      failures: its failed tries since the last that was accepted.
    """

    id: UUID
    portal_id: UUID
    url: str
    master_id: str
    secret_version: int
    previous_signs: bool
    failures: int


class _ClaimedColumns(NamedTuple):
    id: UUID
    lane: UUID
    claim: int
    sequence: int
    failures: int
    tried_for: float
    payload: str
    external_id: str | None

    @property
    def told(self) -> str:
        """The text that is sent: what was owed, and the company's own number of the participant if there is one."""
        if self.external_id is None:
            return self.payload
        told = json.loads(self.payload)
        told["data"]["external_id"] = self.external_id
        return json.dumps(told, ensure_ascii=False)


@dataclass(slots=True)
class ClaimedWebhook:
    """A webhook that this process holds.

    Parameters:
      claim: the fencing token.
      failures, tried_for: its failed tries, and the seconds since the first of them.
      payload: the text that is sent.
      held_until: the end of its lease, on the monotonic clock of this process; it moves as the lease is renewed.
    """

    id: UUID
    lane: UUID
    claim: int
    failures: int
    tried_for: float
    payload: str
    endpoint: TargetEndpoint
    held_until: float

    @property
    def is_held(self) -> bool:
        """Whether the lease lasts, by the clock of this process, which runs while the process is frozen."""
        return time.monotonic() < self.held_until


def find_due_endpoints(session: Session, aside: Iterable[UUID] = ()) -> list[UUID]:
    """Finds the endpoints that are owed something, other than those that this process has set aside."""
    return fetch_values(session, UUID, FIND_DUE_ENDPOINTS, {"aside": array(aside)})


def seconds_to_next(session: Session) -> float | None:
    """Returns the seconds until something is due; None when nothing will be."""
    return fetch_value(session, float, READ_NEXT_TIME)


def claim_webhooks(
    session: Session, endpoint_id: UUID, *, size: int, lease: float, worker: UUID, cursor: UUID = FIRST_LANE
) -> list[list[ClaimedWebhook]]:
    """Claims up to `size` due webhooks of an endpoint; the caller commits before it sends them.

    Parameters:
      cursor: the lane where the last claim ended, so that each lane has its turn.

    Returns: lanes; the webhooks of each are in the order of their events, and must be sent in it.
    """
    asked_at = time.monotonic()  # before the database starts the lease: a frozen process then expects a shorter one
    endpoint = fetch_one(session, TargetEndpoint, LOCK_ENDPOINT, {"endpoint": endpoint_id})
    if endpoint is None:
        return []
    rests = endpoint.failures >= FAILURES_TO_REST
    given = {
        "endpoint": endpoint_id,
        "size": 1 if rests else size,
        "of_lane": 1 if rests else MOST_OF_LANE,
        "alone": rests,
        "lease": lease,
        "worker": worker,
    }
    found: list[_ClaimedColumns] = []
    for start in dict.fromkeys((cursor, FIRST_LANE)):  # after the last lane it starts again with the first
        lanes = _free_lanes(session, {"endpoint": endpoint_id, "cursor": start, "size": given["size"]})
        found = fetch(session, _ClaimedColumns, CLAIM_WEBHOOKS, given | {"lanes": array(lanes)}) if lanes else []
        if found:
            break
    if not found:
        session.execute(SETTLE_LANES, {"endpoint": endpoint_id})
    return _by_lane(found, endpoint, asked_at + lease)


def _free_lanes(session: Session, asked: Mapping[str, Any]) -> list[UUID]:
    """Returns free lanes of an endpoint: from the little that is due, or walking all lanes where much is.

    So neither lanes that wait for a later try are walked in vain, nor a lane of a hundred thousand read to its end.
    """
    few = (fetch_value(session, int, COUNT_DUE, {"endpoint": asked["endpoint"]}) or 0) < FEW_DUE
    return fetch_values(session, UUID, FIND_FREE_LANES if few else WALK_FREE_LANES, dict(asked))


def _by_lane(
    found: Sequence[_ClaimedColumns], endpoint: TargetEndpoint, held_until: float
) -> list[list[ClaimedWebhook]]:
    lanes: dict[UUID, list[ClaimedWebhook]] = {}
    for row in sorted(found, key=lambda row: (row.lane, row.sequence)):
        webhook = ClaimedWebhook(
            row.id, row.lane, row.claim, row.failures, row.tried_for, row.told, endpoint, held_until
        )
        lanes.setdefault(row.lane, []).append(webhook)
    return list(lanes.values())


def renew_leases(session: Session, webhooks: Sequence[ClaimedWebhook], *, lease: float) -> set[UUID]:
    """Renews leases; returns the webhooks that are still ours."""
    return set(fetch_values(session, UUID, RENEW_LEASES, claims_of(webhooks) | {"lease": lease}))


def give_back(session: Session, webhooks: Sequence[ClaimedWebhook]) -> None:
    """Gives back webhooks that were not sent."""
    _hold_endpoints(session, {one.endpoint.id for one in webhooks})
    session.execute(GIVE_BACK_WEBHOOKS, claims_of(webhooks))


def rescue(session: Session) -> list[UUID]:
    """Takes back webhooks that lost senders held; returns them. However often that happens, none is given up."""
    endpoints = fetch_values(session, UUID, FIND_LOST)
    if not endpoints:
        return []
    _hold_endpoints(session, endpoints)
    return fetch_values(session, UUID, RESCUE_WEBHOOKS, {"endpoints": array(endpoints)})


def _hold_endpoints(session: Session, endpoints: Iterable[UUID]) -> None:
    session.execute(HOLD_ENDPOINTS, {"endpoints": array(endpoints)})


def claims_of(webhooks: Sequence[ClaimedWebhook]) -> dict[str, str]:
    """Returns the claims of webhooks as the parameters of a statement."""
    return {"ids": array(one.id for one in webhooks), "claims": array(one.claim for one in webhooks)}
