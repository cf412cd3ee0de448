"""Posts one webhook: one request with a total deadline; a kilobyte of its answer is read and no more.

It uses httpcore2 below httpx2: no redirection is followed, no proxy of the environment used, no cookie kept, and no
answer is decompressed, because nothing here can do so.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

import httpcore2

from models.webhook_delivery import WebhookAnswer
from workers.engine.rollout import this_release
from workers.webhooks.claims import ClaimedWebhook, TargetEndpoint
from workers.webhooks.guard import (
    AddressRules,
    GuardedBackend,
    RefusedTarget,
    Resolve,
    is_private_only,
    private_networks,
    read_url,
)
from workers.webhooks.recording import WebhookTry
from workers.webhooks.signing import signature

DEADLINE_SECONDS: Final = 15.0
"""Seconds for everything: name, connection, TLS, request and answer. A timeout per read would let a drip feed on."""

KEPT_BYTES: Final = 1_024
"""Bytes of an answer that are read and kept; the connection of a longer one is closed."""

KEEP_ALIVE_SECONDS: Final = 4.0

ERRORS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (httpcore2.TimeoutException, "timeout"),
    (httpcore2.ConnectError, "not_connected"),
    (httpcore2.NetworkError, "connection_lost"),
    (httpcore2.ProtocolError, "bad_answer"),
)
"""The word for each class of error of httpcore2."""

logging.getLogger("httpcore2").setLevel(logging.WARNING)  # its debug lines hold signatures


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Returns what TLS connections trust. It is made once, because it reads all the certificates of the system."""
    return httpcore2.default_ssl_context()


class EndpointConnections:
    """The connections to one endpoint, kept open while it is sent webhooks.

    Parameters:
      url: the URL of the endpoint.
      most: the most connections at once.
      resolve: finds the addresses of a name.

    Raises: RefusedTarget when the URL is one that no endpoint may have.
    """

    def __init__(self, url: str, most: int, resolve: Resolve) -> None:
        parsed = read_url(url)
        self.url = url
        self._target = httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        self._headers = [
            (b"Host", parsed.netloc),
            (b"User-Agent", f"Matricule/{this_release()}".encode()),
            (b"Content-Type", b"application/json"),
            (b"Accept-Encoding", b"identity"),
        ]
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trusted() if parsed.scheme == "https" else None,
            max_connections=most,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=GuardedBackend(AddressRules(private_networks(), is_private_only(parsed)), resolve),
        )

    async def post(self, webhook: ClaimedWebhook) -> WebhookTry:
        """Sends a webhook once, and returns how that ended; it raises nothing that an answer could cause.

        Raises: NotConfigured when the secret of the endpoint cannot be derived.
        """
        body = webhook.payload.encode()
        headers = [*self._headers, *_signed(webhook, body, int(time.time())), (b"Content-Length", b"%d" % len(body))]
        began = time.monotonic()
        answer, kept = await self._answer(headers, body)
        return WebhookTry(webhook, answer, round((time.monotonic() - began) * 1000), kept)

    async def _answer(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> tuple[WebhookAnswer, str | None]:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._exchange(headers, body)
        except TimeoutError:
            return WebhookAnswer(None, f"timeout: no whole answer within {DEADLINE_SECONDS:.0f} seconds"), None
        except RefusedTarget as refused:
            return WebhookAnswer(None, refused.reason), None
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            return WebhookAnswer(None, _words(error)), None

    async def _exchange(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> tuple[WebhookAnswer, str]:
        async with self._pool.stream("POST", self._target, headers=headers, content=body) as response:
            kept = b""
            async with aclosing(response.aiter_stream()) as parts:
                async for part in parts:
                    kept += part[: KEPT_BYTES - len(kept)]
                    if len(kept) >= KEPT_BYTES:
                        break
            return WebhookAnswer(response.status, retry_after=_retry_after(response.headers)), _storable(kept)

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()


def _signed(webhook: ClaimedWebhook, body: bytes, now: int) -> list[tuple[bytes, bytes]]:
    """Returns the headers of Standard Webhooks; the time is that of this try, the id the same at each."""
    endpoint = webhook.endpoint
    signed = signature(
        body,
        webhook_id=str(webhook.id),
        timestamp=str(now),
        master_id=endpoint.master_id,
        endpoint_id=endpoint.id,
        versions=_versions(endpoint),
    )
    return [
        (b"webhook-id", str(webhook.id).encode()),
        (b"webhook-timestamp", str(now).encode()),
        (b"webhook-signature", signed.encode()),
    ]


def _versions(endpoint: TargetEndpoint) -> tuple[int, ...]:
    newest = endpoint.secret_version
    return (newest, newest - 1) if endpoint.previous_signs and newest > 1 else (newest,)


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> float | None:
    """Reads the header Retry-After, which holds seconds or a date."""
    given = next((value for name, value in headers if name.lower() == b"retry-after"), b"").decode("latin-1").strip()
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        at = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _storable(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace("\x00", "")


def _words(error: Exception) -> str:
    word = next(word for kind, word in ERRORS if isinstance(error, kind))
    told = str(error).replace("\x00", "").encode("utf-8", "replace").decode()
    return f"{word}: {told}" if told else word
