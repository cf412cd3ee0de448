"""The queues. Each has its own process line in the Procfile, because dramatiq cannot prioritise waiting messages."""

from enum import StrEnum
from typing import Final


class Queue(StrEnum):
    """The queues work waits in."""

    ENROLLMENTS = "enrollments"  # requests of up to ROSTER_SIZE people: somebody is waiting
    ROSTERS = "rosters"  # larger ones
    EMAILS = "emails"  # mails a person waits for
    EMAILS_BULK = "emails_bulk"  # the others
    CERTIFICATES = "certificates"  # certificates of completed trainings, and duplicates of a few
    CERTIFICATES_BULK = "certificates_bulk"  # duplicates of many, as one zip
    MAINTENANCE = "maintenance"  # reconciliation, retention, what is known of one person


ROSTER_SIZE: Final = 1_000
"""Above this many people a request goes to `rosters`."""

FEW_DUPLICATES: Final = 10
"""Up to this many duplicates in a request, somebody is waiting for them: `certificates`; else `certificates_bulk`."""

URGENT_MAILS: Final = 10
"""Up to this many people in a request, somebody is waiting for the mails: `emails`; else `emails_bulk`."""


def wake_actor(queue: str) -> str:
    """The actor that takes the wake-ups of this queue."""
    return f"answer_{queue}"
