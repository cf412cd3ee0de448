"""Finds the webhook endpoints that need a person, and webhooks that were given up or that no process sends."""

from typing import Any, Final, NamedTuple

from sqlalchemy import text

from models.webhook_delivery import DisabledReason
from models.words import WebhookState
from workers.database import Session
from workers.engine.rollout import ALIVE_SECONDS
from workers.ops.capped import CAPS, CappedNumber, StatusCaps, first_rows, problem_of
from workers.requests.queues import WEBHOOKS
from workers.sql import fetch, fetch_one

FAILING_SECONDS: Final = 300.0
"""Seconds of failures, and of nothing else, after which an endpoint is a problem."""

GIVEN_UP_DAYS: Final = 7
"""Days for which a webhook that was given up is told of, unless it is told again."""

LATE_SECONDS: Final = 60.0
MOST_ENDPOINTS: Final = 50
"""The most endpoints that are told of one by one."""

_WAITING: Final = "w.endpoint_id = e.id AND w.due_at IS NOT NULL AND w.leased_until IS NULL"

_GIVEN_UP: Final = f"""w.endpoint_id = e.id AND w.state = '{WebhookState.FAILED}' AND w.started_at IS NOT NULL
        AND w.finished_at > now() - make_interval(days => {GIVEN_UP_DAYS})"""

# Finds endpoints that were disabled for failing, or fail, with the number of webhooks that wait for them. What is held
# is counted by an index of its own, and the rest by that of what waits.
FIND_TROUBLED = text(f"""
    SELECT p.name AS portal, e.reference, e.disabled_reason,
      CASE WHEN e.disabled_at IS NULL THEN {first_rows("webhook w", _WAITING)}
        ELSE {first_rows("webhook w", f"w.endpoint_id = e.id AND w.state = '{WebhookState.HELD}'")} END AS waiting
    FROM webhook_endpoint e JOIN portal p ON p.id = e.portal_id
    WHERE (e.disabled_at IS NOT NULL AND e.disabled_reason IS DISTINCT FROM '{DisabledReason.ASKED}')
      OR (e.disabled_at IS NULL AND e.failing_since < now() - make_interval(secs => {FAILING_SECONDS}))
    ORDER BY p.name, e.reference LIMIT {MOST_ENDPOINTS}""")

# Counts the webhooks that failed for a day while their endpoint took others. What was held and is not wanted has no
# first failure.
FIND_GIVEN_UP = text(f"""
    SELECT * FROM (
      SELECT p.name AS portal, e.reference, {first_rows("webhook w", _GIVEN_UP)} AS number
      FROM webhook_endpoint e JOIN portal p ON p.id = e.portal_id WHERE e.disabled_at IS NULL) one
    WHERE number > 0 ORDER BY portal, reference LIMIT {MOST_ENDPOINTS}""")

# Counts webhooks that have been due for long, at endpoints at which nothing fails, and tells whether a process sends.
FIND_LATE = text(f"""
    SELECT coalesce(sum(late.number), 0)::int AS number, max(late.seconds)::float8 AS seconds,
      EXISTS (SELECT 1 FROM process pr WHERE pr.kind = '{WEBHOOKS}'
        AND pr.drain_asked_at IS NULL AND pr.seen_at > now() - make_interval(secs => {ALIVE_SECONDS})) AS served
    FROM webhook_endpoint e CROSS JOIN LATERAL (
      SELECT count(*) AS number, extract(epoch FROM now() - min(l.due_at)) AS seconds FROM (
        SELECT w.due_at FROM webhook w
        WHERE {_WAITING} AND w.due_at < now() - make_interval(secs => {LATE_SECONDS})
        LIMIT CAST(:rows AS bigint) + 1) l) late
    WHERE e.disabled_at IS NULL AND e.failing_since IS NULL""")


class TroubledEndpoint(NamedTuple):
    """An endpoint that fails, or was disabled for it, and the number of webhooks that wait for it."""

    portal: str
    reference: str
    disabled_reason: str | None
    waiting: int


class GivenUpWebhooks(NamedTuple):
    """Webhooks of an endpoint that were given up."""

    portal: str
    reference: str
    number: int


class LateWebhooks(NamedTuple):
    """Webhooks that no process sends though nothing fails, the age of the oldest, and whether a process is there."""

    number: int
    seconds: float | None
    served: bool


def find_webhooks(session: Session, caps: StatusCaps = CAPS) -> list[dict[str, Any]]:
    """Lists the endpoints that fail or were disabled, and webhooks that were given up or are late, as problems."""
    found = fetch(session, TroubledEndpoint, FIND_TROUBLED, {"rows": caps.rows})
    lost = fetch(session, GivenUpWebhooks, FIND_GIVEN_UP, {"rows": caps.rows})
    return [
        *(_of_endpoint(one, caps) for one in found),
        *(_of_given_up(one, caps) for one in lost),
        *_of_late(session, caps),
    ]


def _of_given_up(lost: GivenUpWebhooks, caps: StatusCaps) -> dict[str, Any]:
    number = CappedNumber.of(lost.number, caps.rows)
    return problem_of("webhooks_given_up", f"{lost.portal}/{lost.reference}", number)


def _of_endpoint(endpoint: TroubledEndpoint, caps: StatusCaps) -> dict[str, Any]:
    subject, number = f"{endpoint.portal}/{endpoint.reference}", CappedNumber.of(endpoint.waiting, caps.rows)
    if endpoint.disabled_reason is None:
        return problem_of("webhooks_failing", subject, number)
    return problem_of("webhooks_disabled", subject, number, **{"class": endpoint.disabled_reason})


def _of_late(session: Session, caps: StatusCaps) -> list[dict[str, Any]]:
    late = fetch_one(session, LateWebhooks, FIND_LATE, {"rows": caps.rows})
    if late is None or not late.number:
        return []
    number = CappedNumber.of(late.number, caps.rows)
    if not late.served:
        return [problem_of("no_process", WEBHOOKS, number)]
    return [problem_of("late", WEBHOOKS, number, seconds=late.seconds)]
