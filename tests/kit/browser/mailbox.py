"""The mails of a whole system, read from its local mailbox as the people read them."""

import email
import email.policy
import re
from typing import Any, Final, NamedTuple

import httpx2

from tests.kit.processes.support import wait_until

LINK: Final = re.compile(r"https?://\S+/links/[A-Za-z0-9_.~-]+")


class ReceivedMail(NamedTuple):
    """A mail that has arrived; `text` is its plain part."""

    subject: str
    text: str

    @property
    def link(self) -> str:
        """The link that it wants to be followed."""
        found = LINK.search(self.text)
        assert found is not None, self.text
        return found[0]


class Mailbox:
    """The local mailbox."""

    def __init__(self, url: str) -> None:
        self._url = url

    def mails(self, to: str) -> list[ReceivedMail]:
        """Returns the mails to an address, the newest first."""
        with httpx2.Client(timeout=30, trust_env=False) as client:
            listed: list[dict[str, Any]] = client.get(f"{self._url}/mails.json", params={"to": to}).json()
            return [_read(client.get(f"{self._url}/mails/{one['id']}.eml").content) for one in listed]

    def wait_for(self, to: str, subject: str) -> ReceivedMail:
        """Waits for a mail to an address with these words in its subject, and returns the newest one."""
        wait_until(lambda: self._find(to, subject), seconds=60, say=lambda: f"{subject!r} in {self.mails(to)}")
        found = self._find(to, subject)
        assert found is not None
        return found

    def _find(self, to: str, subject: str) -> ReceivedMail | None:
        return next((one for one in self.mails(to) if subject in one.subject), None)


def _read(source: bytes) -> ReceivedMail:
    message = email.message_from_bytes(source, policy=email.policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    return ReceivedMail(plain(str(message["subject"])), plain(body.get_content()))


def plain(text: str) -> str:
    """Returns a text with plain spaces instead of those of French typography."""
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ")
