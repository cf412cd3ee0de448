"""`matricule portal webhook` records, shows, tries, enables and deletes the endpoints of a portal."""

import pytest

from models.words import WebhookEvent
from tests.kit.builders.portal_events import add_endpoint, add_portal, owed
from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.database import transaction
from workers.engine.events import Event, owe

URL = "https://portal.example/hook"
NO_WEBHOOK = "01a22b84-f712-72cc-bbe8-75473320d4d5"


def test_an_endpoint_is_recorded_and_its_secret_shown_once(fresh_database: str, call: Call) -> None:
    add_portal("acme")
    asked = ("portal", "webhook", "acme", "lms", "--url", URL, "--events", "job.finished,contract.full", "--json")
    first, second = call(*asked).json, call(*asked).json
    assert (first["created"], second["created"]) == (True, False)
    assert first["secret"].startswith("whsec_")
    assert ("secret" in second, first["events"]) == (False, ["contract.full", "job.finished"])
    assert first["secret"] not in call("portal", "webhook", "acme", "lms").out
    listed = call("portal", "webhook", "acme", "--json").json
    assert [(one["reference"], one["enabled"], one["held"]) for one in listed] == [("lms", True, 0)]
    assert URL in call("portal", "webhook", "acme").out
    assert rows("SELECT DISTINCT action, requested_by <> '' FROM audit WHERE action LIKE '%webhook%'") == [
        ("put_webhook_endpoint", True)
    ]


def test_a_rotation_shows_another_secret(fresh_database: str, call: Call) -> None:
    add_portal("acme")
    first = call("portal", "webhook", "acme", "lms", "--url", URL, "--json").json
    second = call("portal", "webhook", "acme", "lms", "--rotate", "--json").json
    assert second["secret"] not in (None, first["secret"])
    assert second["previous_until"] is not None
    assert "Keep the secret now" in call("portal", "webhook", "acme", "lms", "--rotate").out


@pytest.mark.parametrize(("since", "state"), [("all", "owed"), ("now", "failed")])
def test_a_disabled_endpoint_goes_on(fresh_database: str, call: Call, since: str, state: str) -> None:
    acme = add_portal("acme")
    add_endpoint(acme, "lms", disabled=True)
    change("UPDATE webhook_endpoint SET disabled_reason = 'failing'")
    with transaction() as session:
        owe(session, [Event(acme, WebhookEvent.CONTRACT_FULL, "contract:1", {})])
    assert call("portal", "webhook", "acme", "lms", "--json").json["held"] == 1
    assert "failing" in call("portal", "webhook", "acme").out
    enabled = call("portal", "webhook", "acme", "lms", "--enable", since, "--json").json
    assert (enabled["enabled"], enabled["held"], enabled["sent" if since == "all" else "given_up"]) == (True, 0, 1)
    assert [one.state for one in owed()] == [state]


def test_an_endpoint_is_tried_and_deleted(fresh_database: str, call: Call) -> None:
    acme = add_portal("acme")
    add_endpoint(acme, "lms", "job.finished")
    assert call("portal", "webhook", "acme", "lms", "--test", "--json").json["test"] == "owed"
    assert [one.event for one in owed()] == ["webhook.test"]
    assert call("portal", "webhook", "acme", "lms", "--delete", "--json").json == {"reference": "lms", "deleted": True}
    assert rows("SELECT count(*) FROM webhook_endpoint") == [(0,)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nowhere",), 65),
        (("local", "lms", "--url", URL), 65),
        (("acme", "absent"), 65),
        (("acme", "absent", "--test"), 65),
        (("acme", "lms", "--url", "http://portal.example/"), 65),
        (("acme", "lms", "--url", "https://me:secret@portal.example/"), 65),
        (("acme", "lms", "--url", URL, "--events", "job.done"), 65),
        (("acme", "--test"), 2),
        (("acme", "lms", "--test", "--delete"), 2),
        (("acme", "lms", "--events", "job.finished"), 2),
        (("acme", "lms", "--enable", "later"), 2),
        (("acme", "lms", "--deliveries"), 65),
        (("acme", "lms", "--replay", NO_WEBHOOK), 65),
        (("acme", "lms", "--replay-since", "2d"), 65),
        (("acme", "lms", "--replay", "one"), 2),
        (("acme", "--deliveries"), 2),
        (("acme", "lms", "--deliveries", "--replay-since", "2d"), 2),
    ],
)
def test_wrong_uses_change_nothing(fresh_database: str, call: Call, words: tuple[str, ...], code: int) -> None:
    add_portal("acme")
    called = call("portal", "webhook", *words)
    assert (called.code, "secret@" in called.out + called.err) == (code, False)
    assert rows("SELECT count(*) FROM webhook_endpoint") == [(0,)]


def test_what_was_told_is_listed_and_told_again(fresh_database: str, call: Call) -> None:
    acme = add_portal("acme")
    add_endpoint(acme, "lms")
    add_endpoint(acme, "other")
    with transaction() as session:
        owe(session, [Event(acme, WebhookEvent.CONTRACT_FULL, f"contract:{number}", {}) for number in range(3)])
    change("UPDATE webhook SET state = 'delivered', due_at = NULL, finished_at = now()")
    change(
        "INSERT INTO webhook_attempt (webhook_id, status, milliseconds, answer) SELECT id, 418, 7, 'tea' FROM webhook"
    )
    listed = call("portal", "webhook", "acme", "lms", "--deliveries", "--limit", "2", "--json").json
    assert [(one["resource"], one["state"], one["status"]) for one in listed] == [
        ("contract:2", "delivered", 418), ("contract:1", "delivered", 418)
    ]  # fmt: skip
    latest = listed[0]["id"]
    assert latest in call("portal", "webhook", "acme", "lms", "--deliveries").out
    assert "tea" in call("portal", "webhook", "acme", "lms", "--tries", latest).out
    assert call("portal", "webhook", "acme", "other", "--tries", latest, "--json").json == []
    assert call("portal", "webhook", "acme", "other", "--replay", latest).code == 65
    assert call("portal", "webhook", "acme", "lms", "--replay", latest, "--json").json["replayed"] == 1
    assert call("portal", "webhook", "acme", "lms", "--replay", latest).code == 65  # it is owed already
    assert rows("SELECT id::text FROM webhook WHERE state = 'owed'") == [(latest,)]
    assert call("portal", "webhook", "acme", "lms", "--replay-since", "1h", "--json").json["replayed"] == 2
    assert [one.endpoint for one in owed() if one.state == "owed"] == ["lms"] * 3
    assert rows("SELECT action, detail ->> 'number' FROM audit WHERE action = 'replay_webhooks' ORDER BY at") == [
        ("replay_webhooks", None), ("replay_webhooks", "2")
    ]  # fmt: skip
