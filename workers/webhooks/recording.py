"""Records how tries ended: one statement for all that ended together, and what follows for their endpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import random
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.webhook import WebhookAttempt
from models.webhook_delivery import EndpointHealth, NextStep, WebhookAnswer, next_step
from models.words import WebhookState
from workers.database import Session, array, autocommit
from workers.engine.wake import waking_transaction
from workers.logs import get_logger
from workers.sql import Unnest, fetch, fetch_values
from workers.webhooks.claims import BY_ID, OURS, ClaimedWebhook
from workers.webhooks.telling import tell_contact

log = get_logger()

LONGEST_ERROR: Final = 300


@dataclass(frozen=True, slots=True)
class WebhookTry:
    """One try that has ended.

    Parameters:
      milliseconds: how long it took.
      body: the beginning of the answer's body.
    """

    webhook: ClaimedWebhook
    answer: WebhookAnswer
    milliseconds: int
    body: str | None = None


class _TryRow(NamedTuple):
    id: UUID
    claim: int
    state: str
    seconds: float | None
    status: int | None
    milliseconds: int
    error: str | None
    answer: str | None


_TRIES: Final = Unnest(
    _TryRow,
    WebhookAttempt,
    alias="m",
    others={"id": "uuid", "claim": "integer", "state": "text", "seconds": "float"},
)

# Records tries of exactly the claims given, with a line in the log of attempts for each. It commits by itself: a
# webhook that another process holds by now is left to it, and the others are recorded.
RECORD_TRIES = text(f"""
    WITH m AS MATERIALIZED (SELECT * FROM {_TRIES}), {OURS},
    moved AS (
      UPDATE webhook t SET state = m.state, leased_until = NULL, started_at = coalesce(t.started_at, now()),
        failures = t.failures + CAST(m.state <> '{WebhookState.DELIVERED}' AS int),
        due_at = now() + make_interval(secs => m.seconds),
        finished_at = CASE WHEN m.state IN ('{WebhookState.DELIVERED}', '{WebhookState.FAILED}') THEN now() END
      FROM ours m WHERE {BY_ID} RETURNING t.id),
    logged AS (
      INSERT INTO webhook_attempt (webhook_id, status, milliseconds, error, answer)
      SELECT id, status, milliseconds, error, answer FROM ours)
    SELECT id FROM moved""")

# Locks endpoints, in one order, and reads how they did until now.
LOCK_HEALTH = text("""
    SELECT e.id, e.portal_id, e.url, e.failures,
      extract(epoch FROM now() - e.failing_since)::float8 AS failing_for, e.disabled_at IS NOT NULL AS is_disabled
    FROM webhook_endpoint e WHERE e.id = ANY(CAST(:ids AS uuid[])) ORDER BY e.id FOR NO KEY UPDATE OF e""")

# Waits for what is just being owed to an endpoint, and keeps more from being owed before it is disabled.
LOCK_AGAINST_EVENTS = text("SELECT e.id FROM webhook_endpoint e WHERE e.id = :id FOR UPDATE OF e")

# Records how an endpoint does from now on.
RECORD_HEALTH = text("""
    UPDATE webhook_endpoint SET failures = :failures, updated_at = now(),
      failing_since = now() - make_interval(secs => :failing_for),
      next_try_at = now() + make_interval(secs => :rest),
      disabled_at = CASE WHEN CAST(:disabled AS text) IS NULL THEN disabled_at ELSE coalesce(disabled_at, now()) END,
      disabled_reason = coalesce(disabled_reason, :disabled)
    WHERE id = :id""")

# Holds what a disabled endpoint is still owed. What another process is sending is held when that is recorded.
HOLD_WEBHOOKS = text(f"""
    UPDATE webhook SET state = '{WebhookState.HELD}', due_at = NULL WHERE id IN (
      SELECT id FROM webhook WHERE endpoint_id = :endpoint AND due_at IS NOT NULL AND leased_until IS NULL
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id""")

# Makes due what waits for a later try, spread over half a minute: its endpoint works again.
BRING_FORWARD = text("""
    UPDATE webhook SET due_at = now() + random() * interval '30 seconds' WHERE id IN (
      SELECT id FROM webhook WHERE endpoint_id = :endpoint AND due_at IS NOT NULL AND leased_until IS NULL
        AND due_at > now() + interval '30 seconds'
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)""")


class _Health(NamedTuple):
    id: UUID
    portal_id: UUID
    url: str
    failures: int
    failing_for: float | None
    is_disabled: bool


def record_tries(tries: Sequence[WebhookTry]) -> set[UUID]:
    """Commits tries that ended together; returns the endpoints that are to be left alone for now.

    Raises: errors of the database; nothing was recorded then.
    """
    if all(one.answer.accepted and not one.webhook.endpoint.failures for one in tries):
        with autocommit() as session:
            _record(session, [(one, next_step(one.answer, 0, 0.0, 0.0)) for one in tries])
        return set()
    with waking_transaction() as session:
        return _record_judged(session, tries)


def _record_judged(session: Session, tries: Sequence[WebhookTry]) -> set[UUID]:
    """Records tries of which some failed, or are the first to be accepted after failures."""
    by_endpoint: dict[UUID, list[WebhookTry]] = {}
    for one in tries:
        by_endpoint.setdefault(one.webhook.endpoint.id, []).append(one)
    known = fetch(session, _Health, LOCK_HEALTH, {"ids": array(by_endpoint)})
    judged = [(before, _judge(before, there)) for before in known if (there := _at_its_url(by_endpoint, before))]
    disabled = {before.id for before in known if before.is_disabled}
    disabled |= {before.id for before, after in judged if after.disabled}
    gone = by_endpoint.keys() - {before.id for before in known}  # deleted meanwhile
    _record(session, [(one, _step(one, held=one.webhook.endpoint.id in disabled | gone)) for one in tries])
    for before, after in judged:
        _follow_up(session, before, after, by_endpoint[before.id][-1].webhook.id)
    return disabled | gone | {before.id for before, after in judged if after.rest}


def _at_its_url(tries: Mapping[UUID, Sequence[WebhookTry]], health: _Health) -> list[WebhookTry]:
    """Returns the tries that were made where the endpoint is now: what a former receiver answers is no news of it."""
    return [one for one in tries[health.id] if one.webhook.endpoint.url == health.url]


def _judge(before: _Health, tries: Iterable[WebhookTry]) -> EndpointHealth:
    health = EndpointHealth(before.failures, before.failing_for)
    for one in tries:
        health = health.after(one.answer)
    return health


def _step(one: WebhookTry, *, held: bool) -> NextStep:
    if held and not one.answer.accepted:
        return NextStep(WebhookState.HELD)
    return next_step(one.answer, one.webhook.failures, one.webhook.tried_for, random())  # noqa: S311 - spreads load


def _record(session: Session, steps: Sequence[tuple[WebhookTry, NextStep]]) -> None:
    rows = [
        _TryRow(
            one.webhook.id,
            one.webhook.claim,
            step.state,
            step.seconds,
            one.answer.status,
            one.milliseconds,
            None if one.answer.error is None else one.answer.error[:LONGEST_ERROR],
            one.body,
        )
        for one, step in steps
    ]
    recorded = set(fetch_values(session, UUID, RECORD_TRIES, _TRIES.parameters(rows)))
    taken = [str(row.id) for row in rows if row.id not in recorded]
    if taken:
        log.warning("webhook.taken_back", rows=taken)
    for one, step in steps:
        if not one.answer.accepted:
            log.warning(
                "webhook.not_delivered",
                rows=[str(one.webhook.id)],
                endpoint=str(one.webhook.endpoint.id),
                status=one.answer.status,
                state=step.state,
            )


def _follow_up(session: Session, before: _Health, after: EndpointHealth, last: UUID) -> None:
    """Records how an endpoint does, and does what follows from it.

    Parameters:
      last: the webhook that was tried last.
    """
    if after.disabled:
        session.execute(LOCK_AGAINST_EVENTS, {"id": before.id})
    session.execute(
        RECORD_HEALTH,
        {
            "id": before.id,
            "failures": after.failures,
            "failing_for": after.failing_for,
            "rest": after.rest,
            "disabled": after.disabled,
        },
    )
    if after.disabled or before.is_disabled:
        held = fetch_values(session, UUID, HOLD_WEBHOOKS, {"endpoint": before.id})
        log.error("webhook_endpoint.disabled", endpoint=str(before.id), reason=after.disabled, held=len(held))
        if after.disabled and not before.is_disabled:
            tell_contact(session, before.portal_id, before.id, last, disabled=after.disabled)
    elif after.is_news:
        tell_contact(session, before.portal_id, before.id, last, disabled=None)
    elif not after.failures and EndpointHealth(before.failures).rests:
        session.execute(BRING_FORWARD, {"endpoint": before.id})


__all__ = ["WebhookTry", "record_tries"]
