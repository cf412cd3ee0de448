"""The status names endpoints that fail or were disabled, and webhooks that no process sends."""

from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.webhook import Webhook, WebhookEndpoint
from workers.database import Session
from workers.ops.capped import StatusCaps
from workers.ops.webhooks import find_webhooks

FEW = StatusCaps(rows=2)


def add_endpoint(session: Session, number: int, seconds_due: int = 0, **columns: Any) -> WebhookEndpoint:
    """Adds an endpoint with this many webhooks, due for so many seconds, or held if it is disabled."""
    now = session.execute(text("SELECT now()")).scalar_one()
    ages = {name: session.execute(text("SELECT now() - make_interval(secs => :s)"), {"s": age}).scalar_one()
            for name, age in columns.items() if isinstance(age, int)}  # fmt: skip
    endpoint = WebhookEndpoint(
        portal_id=LOCAL_PORTAL_ID, reference="hook", url="https://x.example", master_id="test", **columns | ages
    )
    session.add(endpoint)
    due = session.execute(text("SELECT now() - make_interval(secs => :s)"), {"s": seconds_due}).scalar_one()
    held = endpoint.disabled_at is not None
    for place in range(number):
        session.add(
            Webhook(
                queue="webhooks", lane=new_id(), endpoint_id=endpoint.id, portal_id=LOCAL_PORTAL_ID,
                event="webhook.test", resource=f"endpoint:{place}", sequence=1, payload={}, expires_at=now,
                state="held" if held else "owed", due_at=None if held else due,
            )
        )  # fmt: skip
    session.flush()
    return endpoint


def sender(session: Session) -> None:
    """Adds a process that sends webhooks."""
    session.execute(text("INSERT INTO process (id, kind, host, pid) VALUES (gen_random_uuid(), 'webhooks', 'ici', 1)"))


def problems(session: Session, caps: StatusCaps = FEW) -> list[tuple[str, str, int]]:
    return [(one["code"], one["subject"], one["count"]) for one in find_webhooks(session, caps)]


@pytest.mark.parametrize(
    ("columns", "due", "expected"),
    [
        ({}, 59, []),
        ({}, 61, [("no_process", "webhooks", 1)]),
        ({"failing_since": 299}, 61, []),
        ({"failing_since": 301}, 61, [("webhooks_failing", "local/hook", 1)]),
        ({"disabled_at": 5, "disabled_reason": "asked"}, 61, []),
        ({"disabled_at": 5, "disabled_reason": "gone"}, 61, [("webhooks_disabled", "local/hook", 1)]),
        ({"disabled_at": 5, "disabled_reason": "failing", "failing_since": 9_000}, 0,
         [("webhooks_disabled", "local/hook", 1)]),
    ],
)  # fmt: skip
def test_these_endpoints_are_problems(
    session: Session, columns: dict[str, Any], due: int, expected: list[tuple[str, str, int]]
) -> None:
    add_endpoint(session, 1, due, **columns)
    assert problems(session) == expected


def test_webhooks_are_late_when_a_process_does_not_send_them(session: Session) -> None:
    add_endpoint(session, 1, 61)
    sender(session)
    [late] = find_webhooks(session)
    assert (late["code"], late["subject"], late["count"]) == ("late", "webhooks", 1)
    assert late["seconds"] == pytest.approx(61, abs=2)


def test_webhooks_are_counted_to_the_cap(session: Session) -> None:
    add_endpoint(session, 5, 0, failing_since=400)
    [failing] = find_webhooks(session, FEW)
    assert (failing["count"], failing["at_least"]) == (2, True)


def test_a_webhook_that_failed_for_a_day_is_told_alone(session: Session) -> None:
    add_endpoint(session, 4)
    assert problems(session) == []
    ended = text("""
        UPDATE webhook SET state = 'failed', due_at = NULL, finished_at = now(), started_at = now()
        WHERE id = (SELECT id FROM webhook WHERE state = 'owed' ORDER BY id LIMIT 1)""")
    session.execute(ended)
    assert problems(session) == [("webhooks_given_up", "local/hook", 1)]
    session.execute(text("UPDATE webhook SET started_at = NULL WHERE state = 'failed'"))  # held, and not wanted
    assert problems(session) == []
    session.execute(ended)
    session.execute(text("UPDATE webhook SET finished_at = now() - interval '8 days' WHERE started_at IS NOT NULL"))
    assert problems(session) == []
    session.execute(ended)
    session.execute(text("UPDATE webhook_endpoint SET disabled_at = now(), disabled_reason = 'gone'"))
    assert [code for code, _, _ in problems(session)] == ["webhooks_disabled"]
