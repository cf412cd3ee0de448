"""A portal verifies webhooks with the client: those of Matricule pass, and nothing else does."""

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from workers.portal_client import WebhookRefused, verify_webhook

OLD, NEW = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
BODY = json.dumps({"type": "job.finished", "timestamp": "2026-11-30T08:00:00Z", "data": {"sequence": 1}})


def headers(*secrets: str, age: float = 0.0, webhook_id: str = "evt-1") -> dict[str, str]:
    """Signs the body with these secrets, as the library of Standard Webhooks does."""
    at = datetime.fromtimestamp(int(time.time() - age), UTC)
    signatures = " ".join(Webhook(secret).sign(webhook_id, at, BODY) for secret in secrets)
    return {
        "Webhook-Id": webhook_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": signatures,
    }


def test_a_webhook_that_was_signed_is_read() -> None:
    found = verify_webhook(NEW, headers(NEW), BODY.encode())
    assert (found.id, found.type, found.data) == ("evt-1", "job.finished", {"sequence": 1})


def test_during_a_rotation_either_secret_verifies() -> None:
    both = headers(NEW, OLD)
    for secrets in (OLD, NEW, [OLD, NEW]):
        assert verify_webhook(secrets, both, BODY).id == "evt-1"
    assert verify_webhook([NEW, OLD], headers(OLD), BODY).id == "evt-1"


@pytest.mark.parametrize("age", [-301, 301, 1e9])
def test_a_webhook_of_another_time_is_refused(age: float) -> None:
    with pytest.raises(WebhookRefused) as refused:
        verify_webhook(NEW, headers(NEW, age=age), BODY)
    assert refused.value.code == "stale"
    assert verify_webhook(NEW, headers(NEW, age=-290 if age < 0 else 290), BODY)


@pytest.mark.parametrize("changed", ["v1", "v1,", "v2,AAAA", "é", "v1a,x v1,y", "v1," + "A" * 44])
def test_another_signature_is_refused(changed: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        verify_webhook(NEW, headers(NEW) | {"Webhook-Signature": changed}, BODY)
    assert refused.value.code == "wrong_signature"


def test_a_changed_body_or_id_and_a_foreign_secret_are_refused() -> None:
    for secret, given, body in (
        (NEW, headers(NEW), BODY + " "),
        (NEW, headers(NEW) | {"Webhook-Id": "evt-2"}, BODY),
        (NEW, headers(OLD), BODY),
    ):
        with pytest.raises(WebhookRefused) as refused:
            verify_webhook(secret, given, body)
        assert refused.value.code == "wrong_signature"


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_webhook_without_its_headers_is_refused(name: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        verify_webhook(NEW, {one: value for one, value in headers(NEW).items() if one != name}, BODY)
    assert refused.value.code == "missing_header"


def test_a_secret_that_is_none_says_so_and_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="whsec_ and base64") as refused:
        verify_webhook("whsec_not base64", headers(NEW), BODY)
    assert "not base64" not in str(refused.value)
