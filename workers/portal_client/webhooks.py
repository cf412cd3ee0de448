"""Checks the webhooks that Matricule sends to a portal, as Standard Webhooks 1.0.0 writes it.

webhook = verify_webhook("whsec_…", headers, body)   # the body as it arrived, before anything reads it
if webhook.type == "participant.enrolled": ...
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from workers.portal_client.errors import WebhookRefused
from workers.portal_client.results import Answered

PREFIX: Final = "whsec_"

TOLERANCE_SECONDS: Final = 300
"""The most seconds between the clock of the sender and ours."""


class ReceivedWebhook(Answered):
    """A webhook with a right signature.

    Parameters:
      id: the same at every try: a webhook that was seen before needs nothing.
      type: such as `participant.enrolled`.
      data: identifiers, codes and counters; `sequence` grows with each event of one resource.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]


def verify_webhook(secrets: str | Sequence[str], headers: Mapping[str, str], body: bytes | str) -> ReceivedWebhook:
    """Checks the signature of a webhook and reads it.

    Parameters:
      secrets: the secret of the endpoint; during a rotation the old and the new one, or either of them.
      headers: of the request; the case of their names does not matter.
      body: exactly as it arrived.

    Raises:
      WebhookRefused: `missing_header`, `stale` (over five minutes from our clock), `wrong_signature` or `unreadable`.
      ValueError: a secret is none.
    """
    keys = [_key(one) for one in ([secrets] if isinstance(secrets, str) else secrets)]
    given = {name.lower(): value for name, value in headers.items()}
    webhook_id, sent_at, signatures = (_header(given, name) for name in ("id", "timestamp", "signature"))
    _check_time(sent_at)
    content = body.encode() if isinstance(body, str) else bytes(body)
    signed = f"{webhook_id}.{sent_at}.".encode() + content
    expected = [_signature(key, signed) for key in keys]
    matches = [
        hmac.compare_digest(one, given_one.encode("utf-8", "replace"))
        for one in expected
        for given_one in signatures.split()
    ]  # all are compared: the time does not tell which of them was nearly right
    if not any(matches):
        raise WebhookRefused("wrong_signature", "no signature was made with this secret")
    return _read(webhook_id, content)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a secret of a webhook is whsec_ and base64") from None


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(f"webhook-{name}", "")
    if not value:
        raise WebhookRefused("missing_header", f"webhook-{name}")
    return value


def _check_time(sent_at: str) -> None:
    seconds = int(sent_at) if sent_at.isascii() and sent_at.isdecimal() and len(sent_at) < 16 else 0
    if abs(time.time() - seconds) > TOLERANCE_SECONDS:
        raise WebhookRefused("stale", f"webhook-timestamp is more than {TOLERANCE_SECONDS} s from this clock")


def _signature(key: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))


def _read(webhook_id: str, content: bytes) -> ReceivedWebhook:
    try:
        read = _Payload.model_validate_json(content)
    except ValidationError:
        raise WebhookRefused("unreadable", "signed, yet no event") from None
    return ReceivedWebhook(id=webhook_id, type=read.type, timestamp=read.timestamp, data=read.data)


class _Payload(Answered):
    type: str
    timestamp: datetime
    data: Mapping[str, Any]
