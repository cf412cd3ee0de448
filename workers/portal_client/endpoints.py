"""Portals keep their webhook endpoints with these functions, over HTTP alone; the key needs the scope `admin`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from models.words import WebhookEvent
from workers.portal_client.addresses import path_of
from workers.portal_client.http_door import AnswerType, HttpDoor, read
from workers.portal_client.options import Identifier
from workers.portal_client.reading import Reading
from workers.portal_client.repeating import repeat
from workers.portal_client.results import Endpoint, Page, ReplayedWebhooks, ToldWebhook, WebhookTries


class EndpointKeeping(Reading):
    """The functions for endpoints. Each may be repeated: it then changes nothing more."""

    def webhook_endpoints(self) -> tuple[Endpoint, ...]:
        """Returns the endpoints of the portal, without their secrets."""
        return self._http.ask(Page[Endpoint], "/webhook-endpoints").items

    def webhook_endpoint(self, reference: str) -> Endpoint:
        """Returns an endpoint, without its secret."""
        return self._http.ask(Endpoint, _path(reference))

    def put_webhook_endpoint(
        self, reference: str, *, url: str, events: Iterable[WebhookEvent | str] | None = None
    ) -> Endpoint:
        """Records an endpoint under the portal's own reference, or changes it; without events it is told of all.

        The answer has the secret of a new endpoint, once. Where it was lost, ``rotate_webhook_secret`` makes another.
        """
        body = {"url": url} | ({} if events is None else {"events": list(events)})
        return self._change("PUT", _path(reference), body)

    def rotate_webhook_secret(self, reference: str, *, secret_version: int) -> Endpoint:
        """Gives an endpoint another secret, which the answer has; for a time both sign.

        Parameters:
          secret_version: of the secret that is replaced; a repeat then makes no further one.
        """
        return self._change("POST", f"{_path(reference)}/rotate", {"secret_version": secret_version})

    def enable_webhook_endpoint(self, reference: str, *, since: str) -> Endpoint:
        """Enables an endpoint again; `all` sends what was held meanwhile, `now` gives it up."""
        return self._change("POST", f"{_path(reference)}/enable", {"since": since})

    def delete_webhook_endpoint(self, reference: str) -> None:
        """Deletes an endpoint; what it is owed is given up.

        Raises: NotFound, also where a repeat finds that the lost call before it has deleted the endpoint.
        """
        http = self._http
        repeat(lambda: http.call("DELETE", _path(reference)), http.patience)

    def try_webhook_endpoint(self, reference: str) -> Endpoint:
        """Sends an endpoint the event `webhook.test`."""
        return self._change("POST", f"{_path(reference)}/test", None)

    def webhooks(self, reference: str) -> Iterator[ToldWebhook]:
        """Yields what an endpoint was told and is owed, the latest first, each with its last try."""
        return self._all(ToldWebhook, f"{_path(reference)}/deliveries")

    def webhook(self, reference: str, webhook_id: Identifier) -> WebhookTries:
        """Returns what an endpoint was told, with every try and the beginning of each answer."""
        return self._http.ask(WebhookTries, f"{_path(reference)}{path_of('/deliveries/{one}', one=webhook_id)}")

    def replay_webhook(self, reference: str, webhook_id: Identifier) -> bool:
        """Tells an endpoint of an event again, under the same `webhook-id`; returns whether that had ended before."""
        return self._replay(reference, {"webhook": str(webhook_id)}).number == 1

    def replay_webhooks(self, reference: str, *, since: datetime, until: datetime | None = None) -> int:
        """Tells an endpoint again of what happened in a time, under the same identifiers; returns how many events.

        Parameters:
          since, until: with their offset; without `until` it is up to now.
        """
        asked = {"since": since.isoformat(), "until": (until or datetime.now(UTC)).isoformat()}
        number, after = 0, dict[str, str]()
        while (told := self._replay(reference, asked | after)).last is not None:
            number, after = number + told.number, {"after": str(told.last)}
        return number

    def _replay(self, reference: str, body: Mapping[str, Any]) -> ReplayedWebhooks:
        return self._send(ReplayedWebhooks, "POST", f"{_path(reference)}/replay", body)

    def _change(self, method: str, path: str, body: Mapping[str, Any] | None) -> Endpoint:
        return self._send(Endpoint, method, path, body)

    def _send(self, shape: type[AnswerType], method: str, path: str, body: Mapping[str, Any] | None) -> AnswerType:
        http: HttpDoor = self._http
        content = None if body is None else json.dumps(body).encode()
        return read(shape, repeat(lambda: http.call(method, path, content=content), http.patience))


def _path(reference: str) -> str:
    return path_of("/webhook-endpoints/{ref}", ref=reference)
