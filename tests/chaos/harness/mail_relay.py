"""The relay of the harness answers by its mood, and remembers of each mail only its identifier and its answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.chaos.harness.history import History
from tests.kit.relay.relay import DROP, Mail, Relay

MOODS: Final = {
    "relay_tempfail_greeting": {"GREETING": "421 4.3.2 not now"},
    "relay_tempfail_mail": {"MAIL": "451 4.3.0 mail server temporarily rejected"},
    "relay_tempfail_rcpt": {"RCPT": "450 4.2.0 greylisted"},
    "relay_tempfail_data": {"DATA": "451 4.3.0 no room in the queue"},
    "relay_tempfail_body": {"BODY": "451 4.3.0 could not be queued"},
    "relay_drops_after_data": {"BODY": DROP},
    "relay_closing": {"MAIL": "421 4.3.2 service shutting down"},
}
"""The answers of the relay at each step, by mood."""

SLOW_SECONDS: Final = 1.5
"""How long a slow relay takes for each body."""


class MoodyRelay(Relay):
    """A relay in one mood at a time.

    Parameters:
      history: keeps each mail as an event `mail`: its identifier, and whether the relay took it.
      unanswered: bodies that a slow relay has read and not answered yet.
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history
        self.unanswered = 0
        self._slow = threading.Event()
        self._lingering = threading.Event()
        self._woken = threading.Event()

    def be(self, mood: str) -> None:
        """Takes a mood; any other word is the good one."""
        with self.lock:
            self.always = dict(MOODS.get(mood, {}))
        (self._slow.set if mood == "relay_slow" else self._slow.clear)()

    def answer(self, step: str, recipients: list[str], usual: str) -> str:
        """Returns the answer of the present mood."""
        if step == "BODY" and (self._slow.is_set() or self._lingering.is_set()):
            with self.unanswered_body():
                self._woken.wait(SLOW_SECONDS)
        return super().answer(step, recipients, usual)

    @contextmanager
    def unanswered_body(self) -> Iterator[None]:
        """Counts a body that was read and is not answered yet."""
        with self.lock:
            self.unanswered += 1
        yield
        with self.lock:
            self.unanswered -= 1

    @contextmanager
    def lingering(self) -> Iterator[None]:
        """Lets the relay be slow in the block, in each of its moods."""
        self._lingering.set()
        try:
            yield
        finally:
            self._lingering.clear()

    def keep(self, mail: Mail) -> None:
        """Records that a body arrived. A dropped connection hides from the sender that it was taken."""
        taken = mail.answer == DROP or mail.answer.startswith("2")
        self.history.add("mail", id=mail.id, taken=taken, dropped=mail.answer == DROP)
