"""The queues. Each has its own process in the Procfile, because dramatiq cannot prioritise waiting messages."""

from enum import StrEnum
from typing import Final


class Queue(StrEnum):
    """The queues in which jobs and mails wait."""

    ENROLLMENTS = "enrollments"  # requests of up to ROSTER_SIZE people: a person is waiting
    ROSTERS = "rosters"  # larger requests
    EMAILS = "emails"  # mails a person waits for
    EMAILS_BULK = "emails_bulk"  # the other mails
    CERTIFICATES = "certificates"  # certificates of completed trainings, and duplicates of a few
    CERTIFICATES_BULK = "certificates_bulk"  # duplicates of many, as one zip
    MAINTENANCE = "maintenance"  # reconciliation, retention, export and erasure of one person


WEBHOOKS: Final = "webhooks"
"""The queue of webhooks, which a process of its own sends; its wake-ups are not for an actor."""

ROSTER_SIZE: Final = 1_000
"""The most people in a request on `enrollments`; a larger one goes to `rosters`."""

FEW_DUPLICATES: Final = 10
"""The most duplicates in a request on `certificates`, where a person waits; more go to `certificates_bulk`."""

URGENT_MAILS: Final = 10
"""The most people in a request with mails on `emails`, where a person waits; those of more go to `emails_bulk`."""


def wake_actor(queue: str) -> str:
    """Returns the name of the actor that receives the wake-ups of this queue."""
    return f"answer_{queue}"
