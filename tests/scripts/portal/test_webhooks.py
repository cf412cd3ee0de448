"""Webhooks make the pages of their contract fresh; only those that Matricule has signed do."""

import base64
import json
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from tests.scripts.portal.conftest import WEBHOOK_SECRET, Browser


def sign(webhook_id: str, contract: str | None, secret: str = WEBHOOK_SECRET) -> tuple[bytes, dict[str, str]]:
    """Returns the body and the headers of a webhook."""
    data = {"sequence": 1} | ({} if contract is None else {"contract": contract})
    now = datetime.now(UTC)
    body = json.dumps({"type": "participant.enrolled", "timestamp": now.isoformat(), "data": data})
    signature = Webhook(secret).sign(webhook_id, now, body)
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return body.encode(), headers


def told(browser: Browser, webhook_id: str, contract: str | None, **more: str) -> int:
    body, headers = sign(webhook_id, contract, **more)
    status = browser.client.post("/webhooks", content=body, headers=headers).status_code
    assert isinstance(status, int)
    return status


def version(browser: Browser) -> str:
    return str(browser.get("/fraicheur").json()["version"])


def test_an_event_of_the_contract_makes_its_page_old(manager: Browser) -> None:
    before = version(manager)
    assert f'data-fresh="{before}"' in manager.get("/participants").text
    assert told(manager, "one", "C-1") == 204
    after = version(manager)
    assert after != before
    assert told(manager, "one", "C-1") == 204  # the same webhook again
    assert told(manager, "two", "C-2") == 204  # another company's
    assert version(manager) == after
    assert told(manager, "three", None) == 204  # of no contract: it may concern any
    assert version(manager) != after


def test_a_webhook_that_was_not_signed_by_matricule_is_refused(manager: Browser) -> None:
    before = version(manager)
    other = "whsec_" + base64.b64encode(b"another secret of 24 byte").decode()
    assert told(manager, "one", "C-1", secret=other) == 400
    body, headers = sign("one", "C-1")
    post = manager.client.post
    assert post("/webhooks", content=body + b" ", headers=headers).status_code == 400
    assert post("/webhooks", content=body, headers=headers | {"webhook-timestamp": "1"}).status_code == 400
    assert post("/webhooks", content=body).status_code == 400
    assert post("/webhooks", content=b"x" * 300_000, headers=headers).status_code == 400
    assert manager.get("/webhooks").status_code == 405
    assert version(manager) == before


def test_freshness_is_told_to_people_who_are_signed_in(browser: Browser) -> None:
    assert browser.get("/fraicheur").url.path == "/connexion"
