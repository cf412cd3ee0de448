"""Shows portals what they were told, try by try, and tells it again on demand."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import WebhookState
from workers.audit import record
from workers.database import Session
from workers.engine.ledger import wake_after_commit
from workers.requests.queues import WEBHOOKS
from workers.sql import change, fetch, fetch_value

MOST_REPLAYED: Final = 10_000
"""The most webhooks that one call tells again; the caller asks again from where it ended."""

REPLAYED: Final = "replay_webhooks"
"""The name of a replay in the audit trail."""

FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)

# Holds an endpoint of a portal against being enabled or disabled.
HOLD_ENDPOINT = text("""
    SELECT e.id FROM webhook_endpoint e WHERE e.id = :endpoint AND e.portal_id = :portal FOR KEY SHARE OF e""")

_AGAIN: Final = f"""UPDATE webhook t SET failures = 0, started_at = NULL, finished_at = NULL,
      state = CASE WHEN e.disabled_at IS NULL THEN '{WebhookState.OWED}' ELSE '{WebhookState.HELD}' END,
      due_at = CASE WHEN e.disabled_at IS NULL THEN now() END
    FROM webhook_endpoint e, found WHERE t.id = ANY(ARRAY[found.id]) AND e.id = t.endpoint_id"""

# Owes a webhook of an endpoint again that has ended; it is held if its endpoint is disabled.
REPLAY_WEBHOOK = text(f"""
    WITH found AS MATERIALIZED (
      SELECT id FROM webhook
      WHERE id = :webhook AND endpoint_id = :endpoint AND finished_at IS NOT NULL FOR NO KEY UPDATE)
    {_AGAIN}""")

# The same for what happened in a time, the oldest first.
REPLAY_RANGE = text(f"""
    WITH found AS MATERIALIZED (
      SELECT w.id FROM webhook w
      WHERE w.endpoint_id = :endpoint AND w.finished_at IS NOT NULL AND w.created_at >= :since
        AND w.created_at < :until AND w.id > :after
      ORDER BY w.id LIMIT {MOST_REPLAYED} FOR NO KEY UPDATE),
    again AS ({_AGAIN} RETURNING t.id)
    SELECT count(*)::int AS number, (array_agg(id ORDER BY id DESC))[1] AS last FROM again""")

# Reads what an endpoint was told, the latest first, with the number of tries and the status of the last.
READ_WEBHOOKS = text("""
    SELECT w.id, w.event, w.resource, w.sequence, w.state, w.created_at, w.finished_at, w.due_at, w.failures,
      last.at AS tried_at, last.status, last.error
    FROM webhook w LEFT JOIN LATERAL (
      SELECT a.at, a.status, a.error FROM webhook_attempt a WHERE a.webhook_id = w.id ORDER BY a.id DESC LIMIT 1
    ) last ON true
    WHERE w.endpoint_id = :endpoint AND w.portal_id = :portal AND w.id < :before
    ORDER BY w.id DESC LIMIT :limit""")

# Reads the tries of a webhook of an endpoint, in their order.
READ_ATTEMPTS = text("""
    SELECT a.at, a.status, a.milliseconds, a.error, a.answer
    FROM webhook w JOIN webhook_attempt a ON a.webhook_id = w.id
    WHERE w.id = :webhook AND w.endpoint_id = :endpoint AND w.portal_id = :portal ORDER BY a.id""")


class ReplayedRange(NamedTuple):
    """Webhooks that are told again: how many, and the last of them, after which a next call goes on; None: none."""

    number: int
    last: UUID | None


class LoggedWebhook(NamedTuple):
    """A webhook as its portal sees it; `tried_at`, `status` and `error` are those of its last try."""

    id: UUID
    event: str
    resource: str
    sequence: int
    state: str
    created_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    failures: int
    tried_at: datetime | None
    status: int | None
    error: str | None


class LoggedAttempt(NamedTuple):
    """One try, and the beginning of the answer."""

    at: datetime
    status: int | None
    milliseconds: int
    error: str | None
    answer: str | None


def replay_webhook(
    session: Session, portal_id: UUID, endpoint_id: UUID, webhook_id: UUID, *, requested_by: str = ""
) -> bool:
    """Owes an endpoint one webhook again, under the same id; returns False when it has none that has ended."""
    if not _hold(session, portal_id, endpoint_id):
        return False
    wake_after_commit(session, WEBHOOKS)
    again = change(session, REPLAY_WEBHOOK, {"webhook": webhook_id, "endpoint": endpoint_id}) == 1
    if again:
        told = {"webhook": str(webhook_id)}
        record(session, REPLAYED, portal_id=portal_id, requested_by=requested_by, subject_id=endpoint_id, detail=told)
    return again


def replay_range(
    session: Session,
    portal_id: UUID,
    endpoint_id: UUID,
    *,
    since: datetime,
    until: datetime,
    after: UUID = FIRST_ID,
    requested_by: str = "",
) -> ReplayedRange:
    """Owes an endpoint again what happened in a time, at most 10,000 at once; in each lane the order is kept.

    Parameters:
      after: the last webhook of the call before.
    """
    if not _hold(session, portal_id, endpoint_id):
        return ReplayedRange(0, None)
    wake_after_commit(session, WEBHOOKS)
    asked = {"endpoint": endpoint_id, "since": since, "until": until, "after": after}
    again = fetch(session, ReplayedRange, REPLAY_RANGE, asked)[0]
    if again.number:
        told = {"since": since.isoformat(), "number": again.number}
        record(session, REPLAYED, portal_id=portal_id, requested_by=requested_by, subject_id=endpoint_id, detail=told)
    return again


def list_webhooks(
    session: Session, portal_id: UUID, endpoint_id: UUID, *, before: UUID = LAST_ID, limit: int = 50
) -> Sequence[LoggedWebhook]:
    """Lists what an endpoint was told and is owed, the latest first; `before` is the last one of the page before."""
    asked = {"endpoint": endpoint_id, "portal": portal_id, "before": before, "limit": limit}
    return fetch(session, LoggedWebhook, READ_WEBHOOKS, asked)


def list_attempts(session: Session, portal_id: UUID, endpoint_id: UUID, webhook_id: UUID) -> Sequence[LoggedAttempt]:
    """Lists the tries of a webhook of an endpoint, in their order; they are kept for 30 days."""
    asked = {"webhook": webhook_id, "endpoint": endpoint_id, "portal": portal_id}
    return fetch(session, LoggedAttempt, READ_ATTEMPTS, asked)


def _hold(session: Session, portal_id: UUID, endpoint_id: UUID) -> bool:
    held = fetch_value(session, UUID, HOLD_ENDPOINT, {"endpoint": endpoint_id, "portal": portal_id})
    return held is not None
