"""Portals keep their webhook endpoints with these functions, over HTTP alone; the key needs the scope `admin`."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from models.words import WebhookEvent
from workers.portal_client.addresses import path_of
from workers.portal_client.http_door import HttpDoor, read
from workers.portal_client.reading import Reading
from workers.portal_client.repeating import repeat
from workers.portal_client.results import Endpoint, Page


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

    def _change(self, method: str, path: str, body: Mapping[str, Any] | None) -> Endpoint:
        http: HttpDoor = self._http
        content = None if body is None else json.dumps(body).encode()
        return read(Endpoint, repeat(lambda: http.call(method, path, content=content), http.patience))


def _path(reference: str) -> str:
    return path_of("/webhook-endpoints/{ref}", ref=reference)
