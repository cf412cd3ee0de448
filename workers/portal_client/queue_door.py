"""The door over Redis: a request is added to the stream of its portal, and the stream of answers says how it went."""

import time
from typing import Final
from uuid import UUID

import redis

from models.words import Code
from workers.portal_client.errors import CLASSES, NotAccepted, Unanswered
from workers.portal_client.http_door import check_header_key
from workers.portal_client.messages import PortalClient, SentAnswer
from workers.portal_client.repeating import repeat
from workers.portal_client.results import Job
from workers.requests.base import Request

SECONDS: Final = 10.0
"""Seconds to wait for the answer to a message before it is sent again under the same key."""

MARGIN_MS: Final = 1_000
"""Answers are read from so long before the message: one Redis gives both their times."""


class QueueDoor:
    """Sends requests through the stream of a portal.

    Parameters:
      client: sends and reads answers.
      patience: seconds within which a request is repeated.
    """

    def __init__(self, client: PortalClient, *, patience: float) -> None:
        self._client = client
        self._patience = patience

    def submit(self, request: Request, key: str) -> Job:
        """Sends a request until it is answered; returns its job."""
        check_header_key(key)
        return repeat(lambda: self._submit_once(request, key), self._patience)

    def _submit_once(self, request: Request, key: str) -> Job:
        try:
            answer = self._answer_to(self._client.send(request, key=key))
        except redis.RedisError as error:
            raise Unanswered(type(error).__name__) from error
        if answer.outcome in ("accepted", "repeated"):
            return Job(id=UUID(answer.job_id), kind=request.kind, repeated=answer.outcome == "repeated")
        code = answer.code or Code.IDEMPOTENCY_CONFLICT
        raise CLASSES.get(code, NotAccepted)(code, "refused at the queue, which has taken the key")

    def _answer_to(self, message_id: str) -> SentAnswer:
        """Waits for the answer to a message.

        Raises: Unanswered when it does not come in time: no process reads the queue, or the answer was lost.
        """
        milliseconds = int(message_id.partition("-")[0])
        place, until = f"{max(0, milliseconds - MARGIN_MS)}-0", time.monotonic() + min(SECONDS, self._patience)
        while (left := until - time.monotonic()) > 0:
            answers = self._client.read_answers(place, seconds=min(1.0, left))
            for answer in answers:
                if answer.message_id == message_id:
                    return answer
                place = answer.place
        raise Unanswered("sent, and not answered yet")

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()
