"""The endpoints of a portal, at which it is told of events: recorded, changed, given new secrets, enabled again.

Lock order: an endpoint, then its webhooks. What enables or deletes an endpoint locks it FOR UPDATE first, so that it
meets no transaction that is about to write a webhook for it (``workers/engine/events.py``).
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col

from models.base import new_id
from models.label import clean_reference
from models.portal import LOCAL_PORTAL_ID
from models.webhook import WebhookEndpoint
from models.webhook_url import WrongUrl
from models.words import Code, WebhookEvent, WebhookState
from workers.audit import record
from workers.database import Session
from workers.engine.events import TRIED_FOR, Event, owe
from workers.engine.ledger import wake_after_commit
from workers.errors import InvalidRequest, Problem
from workers.portals.secrets import master_secrets, webhook_secret
from workers.portals.webhook_urls import read_webhook_url
from workers.requests.queues import WEBHOOKS
from workers.sql import change, fetch, fetch_one, fetch_value, select_record

MOST_ENDPOINTS: Final = 20
"""The most endpoints of a portal: each event is written once for every one of them."""

BOTH_SIGN_FOR: Final = timedelta(hours=24)
"""The time for which the earlier secret signs too, after another was made."""

# Locks an endpoint against all that is owed to it or sent from it at this moment.
LOCK_ENDPOINT = text("""
    SELECT w.id FROM webhook_endpoint w WHERE w.portal_id = :portal AND w.reference = :reference FOR UPDATE""")

# Endpoints of one portal are counted one transaction after the other.
LOCK_PORTAL = text("SELECT p.id FROM portal p WHERE p.id = :portal FOR NO KEY UPDATE")

# A URL that was changed is tried at once, and its failures count from now on.
CHANGE_ENDPOINT = text("""
    UPDATE webhook_endpoint SET url = CAST(:url AS text), events = CAST(:events AS json), updated_at = now(),
      failures = CASE WHEN url = CAST(:url AS text) THEN failures ELSE 0 END,
      failing_since = CASE WHEN url = CAST(:url AS text) THEN failing_since END,
      next_try_at = CASE WHEN url = CAST(:url AS text) THEN next_try_at END
    WHERE id = :id""")

# Makes the next secret of an endpoint; the earlier one signs too until that moment.
ROTATE_SECRET = text("""
    UPDATE webhook_endpoint SET secret_version = secret_version + 1, previous_until = now() + :both, updated_at = now()
    WHERE id = :id""")

# Lets an endpoint be told of events again.
ENABLE_ENDPOINT = text("""
    UPDATE webhook_endpoint SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL, failures = 0,
      next_try_at = NULL, updated_at = now()
    WHERE id = :id""")

# What was held for an endpoint is owed from now on, with a whole day of attempts.
OWE_HELD = text(f"""
    UPDATE webhook SET state = '{WebhookState.OWED}', due_at = now(), expires_at = now() + :tried_for, failures = 0,
      started_at = NULL
    WHERE endpoint_id = :id AND state = '{WebhookState.HELD}'""")

# What was held for an endpoint is given up, because its portal wants to be told only what happens from now on. It has
# not failed, so it loses the time of its first failure, by which the status finds what did.
GIVE_UP_HELD = text(f"""
    UPDATE webhook SET state = '{WebhookState.FAILED}', finished_at = now(), started_at = NULL
    WHERE endpoint_id = :id AND state = '{WebhookState.HELD}'""")

# Nothing more is owed to an endpoint that is gone.
DELETE_ENDPOINT = text("DELETE FROM webhook_endpoint WHERE id = :id")

# What a sender holds of a deleted endpoint; the purge deletes the rest in parts.
DELETE_CLAIMED = text("DELETE FROM webhook WHERE endpoint_id = :id AND leased_until IS NOT NULL")

# Counts what is held for an endpoint, up to ten thousand.
COUNT_HELD = text(f"""
    SELECT count(*) FROM (SELECT FROM webhook h WHERE h.endpoint_id = :id AND h.state = '{WebhookState.HELD}'
      LIMIT 10000) held""")


class PortalEndpoint(NamedTuple):
    """An endpoint as its portal sees it, but for its secret.

    Parameters:
      previous_until: until then the earlier secret signs too.
    """

    id: UUID
    reference: str
    url: str
    events: Sequence[str] | None
    master_id: str
    secret_version: int
    previous_until: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    failures: int
    next_try_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def secret(self) -> str:
        """The secret that signs, for the portal alone: it derives from ``PORTAL_KEYS`` and is not stored."""
        return webhook_secret(self.master_id, self.id, self.secret_version)

    def as_json(self) -> dict[str, Any]:
        """Returns the endpoint as it is shown, without its secret."""
        hidden = {"id", "master_id", "secret_version"}
        shown = {name: value for name, value in self._asdict().items() if name not in hidden}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in (shown | {"enabled": self.disabled_at is None}).items()
        }


class PutEndpoint(NamedTuple):
    """An endpoint that was recorded; `created` tells that it is new, and only then its secret is shown."""

    endpoint: PortalEndpoint
    created: bool


def put_endpoint(
    session: Session,
    portal_id: UUID,
    reference: str,
    url: str,
    events: Collection[str] | None = None,
    *,
    private: bool = False,
    requested_by: str = "",
) -> PutEndpoint:
    """Records an endpoint of a portal, or changes its URL and its events; it stays enabled or disabled.

    Parameters:
      reference: the portal's own name for it.
      events: the types it is told of; None for all, also those that a later release adds.
      private: its URL may lead into private networks (``check_webhook_url``).

    Raises:
      InvalidRequest: the reference, the URL or a type cannot be used, or the portal has too many endpoints.
      NotConfigured: ``PORTAL_KEYS`` is missing.
    """
    _check(portal_id, reference, url, events, private=private)
    fetch_value(session, UUID, LOCK_PORTAL, {"portal": portal_id})
    known = fetch_value(session, UUID, LOCK_ENDPOINT, {"portal": portal_id, "reference": reference})
    wanted = None if events is None else sorted(set(events))
    if known is None:
        _insert(session, portal_id, reference, url, wanted)
    else:
        _change(session, known, url, wanted)
    found = get_endpoint(session, portal_id, reference)
    _record(session, "put_webhook_endpoint", portal_id, found, requested_by)
    return PutEndpoint(found, created=known is None)


def _check(portal_id: UUID, reference: str, url: str, events: Collection[str] | None, *, private: bool) -> None:
    problems = []
    if portal_id == LOCAL_PORTAL_ID:
        problems.append(Problem(Code.INVALID_REQUEST, "portal", "requests of a shell are told to no program"))
    if isinstance(wrong := clean_reference(reference), Code):
        problems.append(Problem(wrong, "reference", "1 to 100 printable ASCII characters, without a space"))
    if isinstance(refused := read_webhook_url(url, private=private), WrongUrl):
        problems.append(Problem(Code.INVALID_URL, "url", f"{refused}: https, a host, port 443 or 8443, no user"))
    unknown = sorted(set(events or ()) - set(WebhookEvent))
    if unknown or (events is not None and not events):
        problems.append(Problem(Code.INVALID_REQUEST, "events", f"not among {', '.join(WebhookEvent)}"))
    if problems:
        raise InvalidRequest(*problems)


def _insert(session: Session, portal_id: UUID, reference: str, url: str, events: Sequence[str] | None) -> None:
    if len(list_endpoints(session, portal_id)) >= MOST_ENDPOINTS:
        problem = Problem(Code.INVALID_REQUEST, "reference", f"the portal has {MOST_ENDPOINTS} endpoints, the most")
        raise InvalidRequest(problem)
    master_id = master_secrets().newest
    endpoint = WebhookEndpoint(
        id=new_id(), portal_id=portal_id, reference=reference, url=url, events=events, master_id=master_id
    )
    session.add(endpoint)
    session.flush()


def _change(session: Session, endpoint_id: UUID, url: str, events: Sequence[str] | None) -> None:
    given = None if events is None else json.dumps(events)
    session.execute(CHANGE_ENDPOINT, {"id": endpoint_id, "url": url, "events": given})


def get_endpoint(session: Session, portal_id: UUID, reference: str) -> PortalEndpoint:
    """Finds an endpoint of this portal.

    Raises: InvalidRequest with `not_found`.
    """
    asked = select_record(PortalEndpoint, WebhookEndpoint).where(
        col(WebhookEndpoint.portal_id) == portal_id, col(WebhookEndpoint.reference) == reference
    )
    found = fetch_one(session, PortalEndpoint, asked)
    if found is None:
        raise InvalidRequest(Problem(Code.NOT_FOUND, "reference", "the portal has no such endpoint"))
    return found


def list_endpoints(session: Session, portal_id: UUID) -> list[PortalEndpoint]:
    """Lists the endpoints of a portal by their references."""
    asked = select_record(PortalEndpoint, WebhookEndpoint).where(col(WebhookEndpoint.portal_id) == portal_id)
    return fetch(session, PortalEndpoint, asked.order_by(col(WebhookEndpoint.reference)))


def delete_endpoint(session: Session, portal_id: UUID, reference: str, *, requested_by: str = "") -> None:
    """Deletes an endpoint: it is told of nothing any more, and what it is still owed is never sent.

    Raises: InvalidRequest with `not_found`.
    """
    found = _hold(session, portal_id, reference)
    session.execute(DELETE_ENDPOINT, {"id": found.id})
    session.execute(DELETE_CLAIMED, {"id": found.id})
    _record(session, "delete_webhook_endpoint", portal_id, found, requested_by)


def rotate_secret(
    session: Session, portal_id: UUID, reference: str, *, replacing: int | None = None, requested_by: str = ""
) -> PortalEndpoint:
    """Gives an endpoint another secret; for 24 hours the earlier one signs too, so that receivers change in peace.

    Parameters:
      replacing: the version of the secret that is replaced. A repeat, which finds the next version, changes nothing:
        twice in a row would end the secret that receivers still have.

    Raises: InvalidRequest with `not_found`, or when the endpoint has another version.
    """
    held = _hold(session, portal_id, reference)
    if replacing is not None and held.secret_version == replacing + 1:
        return held
    if replacing is not None and held.secret_version != replacing:
        problem = Problem(Code.INVALID_REQUEST, "secret_version", "the endpoint has another version")
        raise InvalidRequest(problem)
    session.execute(ROTATE_SECRET, {"id": held.id, "both": BOTH_SIGN_FOR})
    _record(session, "rotate_webhook_secret", portal_id, held, requested_by)
    return get_endpoint(session, portal_id, reference)


def enable_endpoint(
    session: Session, portal_id: UUID, reference: str, *, all_since: bool, requested_by: str = ""
) -> int:
    """Lets a disabled endpoint be told of events again.

    Parameters:
      all_since: what was held for it meanwhile is sent; else it is given up, and the endpoint is told from here on.

    Returns: the number of webhooks that were held.

    Raises: InvalidRequest with `not_found`.
    """
    held = _hold(session, portal_id, reference)
    session.execute(ENABLE_ENDPOINT, {"id": held.id})
    # A new statement sees what was held before the lock was given.
    if all_since:
        moved = change(session, OWE_HELD, {"id": held.id, "tried_for": TRIED_FOR})
        wake_after_commit(session, WEBHOOKS)
    else:
        moved = change(session, GIVE_UP_HELD, {"id": held.id})
    _record(session, "enable_webhook_endpoint", portal_id, held, requested_by, all_since=all_since, held=moved)
    return moved


def send_test(session: Session, portal_id: UUID, reference: str) -> None:
    """Owes an endpoint the event ``webhook.test``, whatever events it wants; no other endpoint is told.

    Raises: InvalidRequest with `not_found`.
    """
    found = get_endpoint(session, portal_id, reference)
    data = {"endpoint": found.reference}
    owe(session, [Event(portal_id, WebhookEvent.WEBHOOK_TEST, f"endpoint:{found.id}", data, found.id)])


def count_held(session: Session, endpoint_id: UUID) -> int:
    """Counts what is held for an endpoint, up to 10,000."""
    return fetch_value(session, int, COUNT_HELD, {"id": endpoint_id}) or 0


def _hold(session: Session, portal_id: UUID, reference: str) -> PortalEndpoint:
    """Locks an endpoint, and returns it.

    Raises: InvalidRequest with `not_found`.
    """
    fetch_value(session, UUID, LOCK_ENDPOINT, {"portal": portal_id, "reference": reference})
    return get_endpoint(session, portal_id, reference)


def _record(
    session: Session, action: str, portal_id: UUID, endpoint: PortalEndpoint, requested_by: str, **detail: object
) -> None:
    """Records a change in the audit trail, without the URL: it may hold a secret of the receiver."""
    told = {"reference": endpoint.reference, **detail}
    record(session, action, portal_id=portal_id, requested_by=requested_by, subject_id=endpoint.id, detail=told)
