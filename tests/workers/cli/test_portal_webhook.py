"""`matricule portal webhook` records, shows, tries, enables and deletes the endpoints of a portal."""

import pytest

from models.words import WebhookEvent
from tests.kit.builders.portal_events import add_endpoint, add_portal, owed
from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.database import transaction
from workers.engine.events import Event, owe

URL = "https://portal.example/hook"


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
    ],
)
def test_wrong_uses_change_nothing(fresh_database: str, call: Call, words: tuple[str, ...], code: int) -> None:
    add_portal("acme")
    called = call("portal", "webhook", *words)
    assert (called.code, "secret@" in called.out + called.err) == (code, False)
    assert rows("SELECT count(*) FROM webhook_endpoint") == [(0,)]
