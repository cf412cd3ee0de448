"""The receiver of the portal's webhooks: it takes all of them, and remembers of each its identifier, lane and place."""

import json

from tests.chaos.harness.history import History
from tests.kit.webhooks.receiver import Received, Receiver, answer


class HookReceiver(Receiver):
    """A receiver that answers 204 to everything.

    Parameters:
      history: keeps each webhook as an event `webhook`: its identifier, the participant or job it is about, and its
        number among the events of that.
    """

    def __init__(self, history: History) -> None:
        super().__init__(script=self._keep)
        self._history = history

    def _keep(self, request: Received) -> bytes:
        told = json.loads(request.body)
        self.received.clear()  # the history has what counts
        self._history.add("webhook", id=request.id, type=told["type"], sequence=told["data"]["sequence"])
        return answer(204)
