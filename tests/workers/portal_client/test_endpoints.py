"""The client of portals keeps webhook endpoints, checks passwords, and shows the progress of a participant."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.kit.processes.support import Processes, change
from workers.access.passwords import hash_password
from workers.portal_client import NotFound, Portal, reading

PASSWORD = "correct horse battery staple"


def test_an_endpoint_is_kept_tried_and_deleted(by_http: Portal) -> None:
    made = by_http.put_webhook_endpoint("hook", url="https://lms.example/hook", events=["job.finished"])
    assert (made.events, made.enabled, (made.secret or "")[:6]) == (("job.finished",), True, "whsec_")
    assert by_http.put_webhook_endpoint("hook", url="https://lms.example/hook").events is None
    turned = by_http.rotate_webhook_secret("hook", secret_version=made.secret_version)
    assert (turned.secret_version, turned.secret != made.secret) == (made.secret_version + 1, True)
    assert [one.reference for one in by_http.webhook_endpoints()] == ["hook"]
    assert by_http.try_webhook_endpoint("hook").secret is None
    by_http.delete_webhook_endpoint("hook")
    with pytest.raises(NotFound):
        by_http.webhook_endpoint("hook")


def test_what_an_endpoint_was_told_is_listed_and_told_again(by_http: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    by_http.put_webhook_endpoint("hook", url="https://lms.example/hook")
    for _ in range(3):
        by_http.try_webhook_endpoint("hook")
    monkeypatch.setattr(reading, "PAGE", 2)
    told = list(by_http.webhooks("hook"))
    assert [(one.event, one.state, one.sequence) for one in told] == [("webhook.test", "owed", at) for at in (3, 2, 1)]
    change("UPDATE webhook SET state = 'delivered', finished_at = now(), due_at = NULL")
    change(
        "INSERT INTO webhook_attempt (webhook_id, status, milliseconds, answer) VALUES (:one, 204, 7, 'ok')",
        one=told[0].id,
    )
    [tried] = by_http.webhook("hook", told[0].id).tries
    assert (tried.status, tried.milliseconds, tried.answer) == (204, 7, "ok")
    assert (by_http.replay_webhook("hook", told[0].id), by_http.replay_webhook("hook", told[0].id)) == (True, False)
    day = timedelta(days=1)
    assert by_http.replay_webhooks("hook", since=datetime.now(UTC) - day, until=datetime.now(UTC) + day) == 2
    assert [one.state for one in by_http.webhooks("hook")] == ["owed"] * 3
    assert by_http.replay_webhooks("hook", since=datetime.now(UTC) + day) == 0
    with pytest.raises(NotFound):
        by_http.webhook("hook", "0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77")


def test_a_participant_signs_in_and_their_progress_is_shown(by_http: Portal, workers: Processes) -> None:
    by_http.wait_for(by_http.put_company("DUBOIS", name="Atelier Dubois"))
    by_http.wait_for(by_http.put_training("SEC-1", title="Sécurité au travail"))
    by_http.wait_for(by_http.put_contract("C-1", company="DUBOIS", training="SEC-1", planned_seats=2))
    zoe = {"email": "zoe@example.com", "first_name": "Zoë", "last_name": "Müller"}
    [person] = by_http.wait_for(by_http.enroll("C-1", [zoe], key="one")).result.people  # type: ignore[list-item]
    change("UPDATE account SET activated_at = now(), password_hash = :hash", hash=hash_password(PASSWORD))
    assert by_http.sign_in("zoe@example.com", PASSWORD).account_id == person.account_id
    wrong = by_http.sign_in("zoe@example.com", "another")
    assert (wrong.account_id, wrong.code, wrong.state) == (None, "wrong_credentials", "refused")
    assert person.enrollment_id is not None
    shown = by_http.progress(person.enrollment_id)
    assert (shown.progress, shown.certificates) == ("not_started", ())
