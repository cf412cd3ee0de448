"""Shows what an endpoint was told, try by try, and tells it again; for `matricule portal webhook`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.words import Code
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.database import transaction
from workers.engine.acceptance import find_portal
from workers.engine.wake import waking_transaction
from workers.errors import InvalidRequest, Problem
from workers.portals.endpoints import get_endpoint
from workers.sql import as_json
from workers.webhooks.replaying import FIRST_ID, list_attempts, list_webhooks, replay_range, replay_webhook

Shown = dict[str, Any]


def read_deliveries(portal: str, reference: str, limit: int) -> list[Shown]:
    """Returns what an endpoint was told and is owed, the latest first."""
    with transaction() as session:
        portal_id = find_portal(session, portal)
        endpoint = get_endpoint(session, portal_id, reference)
        return [as_json(one) for one in list_webhooks(session, portal_id, endpoint.id, limit=limit)]


def read_tries(portal: str, reference: str, webhook_id: UUID) -> list[Shown]:
    """Returns the tries of a webhook of an endpoint, in their order."""
    with transaction() as session:
        portal_id = find_portal(session, portal)
        endpoint = get_endpoint(session, portal_id, reference)
        return [as_json(one) for one in list_attempts(session, portal_id, endpoint.id, webhook_id)]


def replay_one(portal: str, reference: str, webhook_id: UUID) -> Shown:
    """Tells an endpoint one event again.

    Raises: InvalidRequest with `not_found` when it has no such webhook that has ended.
    """
    with waking_transaction() as session:
        portal_id = find_portal(session, portal)
        endpoint = get_endpoint(session, portal_id, reference)
        if not replay_webhook(session, portal_id, endpoint.id, webhook_id, requested_by=asker()):
            raise InvalidRequest(Problem(Code.NOT_FOUND, "replay", "the endpoint has no such webhook that has ended"))
    return {"reference": reference, "replayed": 1}


def replay_since(portal: str, reference: str, since: datetime) -> Shown:
    """Tells an endpoint again what happened from a moment until now, in as many transactions as that takes."""
    number, after, until = 0, FIRST_ID, datetime.now(UTC)
    while True:
        with waking_transaction() as session:
            portal_id = find_portal(session, portal)
            endpoint = get_endpoint(session, portal_id, reference)
            told = replay_range(
                session, portal_id, endpoint.id, since=since, until=until, after=after, requested_by=asker()
            )
        if told.last is None:
            return {"reference": reference, "replayed": number}
        number, after = number + told.number, told.last


def print_deliveries(found: Sequence[Mapping[str, Any]]) -> None:
    """Prints one line for each webhook, with its last try."""
    names = ("id", "event", "resource", "sequence", "state", "created_at", "tried_at", "failures", "status", "error")
    print_columns([name.replace("_", " ") for name in names], [[one[name] for name in names] for one in found])


def print_tries(found: Sequence[Mapping[str, Any]]) -> None:
    """Prints one line for each try, with the beginning of its answer."""
    names = ("at", "status", "milliseconds", "error", "answer")
    print_columns(names, [[one[name] for name in names] for one in found])
