"""The tests of webhooks use these: endpoints, webhooks that are owed to them, and a sender in this process."""

import asyncio
import json
from uuid import UUID, uuid5

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.webhook import Webhook, WebhookEndpoint
from tests.kit.processes.support import change, rows
from workers.database import Session, transaction
from workers.webhooks.sender import WebhookSender

LANES = UUID(int=13)


def add_endpoint(url: str, reference: str = "hook", portal_id: UUID = LOCAL_PORTAL_ID) -> UUID:
    """Creates an endpoint that is told of every event."""
    with transaction() as session:
        endpoint = WebhookEndpoint(portal_id=portal_id, reference=reference, url=url, master_id="test")
        session.add(endpoint)
        return endpoint.id


def owe(endpoint_id: UUID, *resources: str) -> list[str]:
    """Owes an endpoint one webhook for each resource named, in this order; returns their ids."""
    with transaction() as session:
        return [str(_owe(session, endpoint_id, resource).id) for resource in resources]


def _owe(session: Session, endpoint_id: UUID, resource: str) -> Webhook:
    asked = {"endpoint": endpoint_id, "resource": resource}
    known = text("SELECT count(*) FROM webhook WHERE endpoint_id = :endpoint AND resource = :resource")
    sequence = session.execute(known, asked).scalar_one() + 1
    now = session.execute(text("SELECT now()")).scalar_one()
    data = {"sequence": sequence, "portal": "local", "enrollment_id": resource}
    webhook = Webhook(
        id=new_id(),
        queue="webhooks",
        lane=uuid5(LANES, f"{endpoint_id} {resource}"),
        endpoint_id=endpoint_id,
        portal_id=LOCAL_PORTAL_ID,
        event="participant.enrolled",
        resource=resource,
        sequence=sequence,
        payload={"type": "participant.enrolled", "timestamp": "2026-11-30T08:00:00Z", "data": data},
        due_at=now,
        expires_at=now,
    )
    session.add(webhook)
    session.flush()
    return webhook


def send_due(*, lease: float = 30.0, connections: int = 8) -> None:
    """Sends what is due now, and returns once all of it has ended."""

    async def send() -> None:
        sender = WebhookSender(lease, connections)
        try:
            await sender.send_due()
        finally:
            sender.close()

    asyncio.run(send())


def states() -> dict[object, object]:
    """Counts the webhooks by state."""
    return dict(rows("SELECT state, count(*) FROM webhook GROUP BY state"))  # type: ignore[arg-type]


def endpoint_row(endpoint_id: UUID) -> dict[str, object]:
    """Returns the row of an endpoint; `rest` is the seconds until it is tried again."""
    [(found,)] = rows(
        "SELECT to_jsonb(e) || jsonb_build_object('rest', round(extract(epoch FROM next_try_at - now())))"
        " FROM webhook_endpoint e WHERE id = :id",
        id=endpoint_id,
    )
    assert isinstance(found, dict)
    return found


def attempts() -> list[tuple[object, ...]]:
    """Returns status and error of each attempt, in their order."""
    return rows("SELECT status, split_part(error, ':', 1) FROM webhook_attempt ORDER BY id")


def make_due() -> None:
    """Makes what waits for a later try due now, and ends the rest of endpoints."""
    change("UPDATE webhook SET due_at = now() WHERE due_at IS NOT NULL")
    change("UPDATE webhook_endpoint SET next_try_at = NULL")


def pass_time(seconds: float) -> None:
    """Moves every time of webhooks and endpoints back, as if so much time had passed."""
    change(
        "UPDATE webhook SET due_at = due_at - make_interval(secs => :s), started_at = started_at - make_interval("
        "secs => :s), created_at = created_at - make_interval(secs => :s)",
        s=seconds,
    )
    change(
        "UPDATE webhook_endpoint SET next_try_at = next_try_at - make_interval(secs => :s),"
        " failing_since = failing_since - make_interval(secs => :s)",
        s=seconds,
    )


def pass_to_next_try() -> float:
    """Moves all times back so far that something is tried now; returns the seconds."""
    [(seconds,)] = rows(
        "SELECT greatest(0, extract(epoch FROM greatest((SELECT max(due_at) FROM webhook),"
        " (SELECT max(next_try_at) FROM webhook_endpoint)) - now()) + 0.01)::float8"
    )
    assert isinstance(seconds, float)
    pass_time(seconds)
    return seconds


def payload_of(body: bytes) -> dict[str, object]:
    """Reads the data of a webhook."""
    data = json.loads(body)["data"]
    assert isinstance(data, dict)
    return data
