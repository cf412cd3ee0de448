"""A portal, as its programs see Matricule."""

from types import TracebackType
from typing import Self

from workers.portal_client.asking import Asking, PortalDoor
from workers.portal_client.endpoints import EndpointKeeping
from workers.portal_client.http_door import HttpDoor
from workers.portal_client.messages import PortalClient
from workers.portal_client.queue_door import QueueDoor
from workers.portal_client.uploading import Uploading


class Portal(Asking, EndpointKeeping, Uploading):
    """Asks Matricule for one portal, over HTTP or through the queue. Threads may share it; processes may not.

    Parameters:
      url: ``http(s)://host/v1``, or the address of Redis in any form of the setting ``REDIS_URL``.
      key: over HTTP, the portal's key (`mtr_…`).
      portal, key_id, secret: through the queue, the name of the portal, the id of its key, and the queue secret
        (`mqs_…`).
      namespace: through the queue, the prefix of Matricule's keys in Redis.
      timeout: seconds of each step of a call over HTTP.
      patience: seconds within which a call that was not answered is repeated, under the same key; after them the caller
        gets the error.
      proxy: over HTTP, the address of a proxy.

    Raises: ValueError for an address or key that cannot be one, and when one is missing. Its text quotes none.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        portal: str = "",
        key_id: str = "",
        secret: str = "",
        namespace: str = "matricule",
        timeout: float = 30.0,
        patience: float = 60.0,
        proxy: str | None = None,
    ) -> None:
        self._door: PortalDoor
        if url.startswith(("http://", "https://")):
            self._door = HttpDoor(url, key, timeout=timeout, patience=patience, proxy=proxy)
            return
        if not (portal and key_id and secret):
            raise ValueError("the queue needs the name of the portal, the id of its key, and its queue secret")
        client = PortalClient(url, portal=portal, key_id=key_id, secret=secret, namespace=namespace)
        self._door = QueueDoor(client, patience=patience)

    def close(self) -> None:
        """Closes the connections."""
        self._door.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
