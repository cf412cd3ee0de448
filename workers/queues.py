"""The queues. Each has its own process line in the Procfile, because dramatiq cannot prioritise waiting messages."""

from enum import StrEnum
from typing import Final


class Queue(StrEnum):
    """Where work waits."""

    ENROLLMENTS = "enrollments"  # requests of up to ROSTER_SIZE people: somebody is waiting
    ROSTERS = "rosters"  # larger ones
    EMAILS = "emails"  # mails a person waits for
    EMAILS_BULK = "emails_bulk"  # the others
    CERTIFICATES = "certificates"  # what is owed for completed trainings
    MAINTENANCE = "maintenance"  # reconciliation, retention, what is known of one person


UNSERVED: Final = frozenset({Queue.CERTIFICATES})
"""Queues whose actor is still to come. What is owed there stays in the ledger without a due time, so that no bell rings
for it and nobody is alarmed. Whoever brings the actor takes the queue out of here and makes those rows due.
"""

ROSTER_SIZE: Final = 1_000
"""Above this many people a request goes to `rosters`."""

URGENT_MAILS: Final = 10
"""Up to this many people in a request, somebody is waiting for the mails: `emails`; else `emails_bulk`."""


def bell_name(queue: str) -> str:
    """The actor that answers a bell of this queue."""
    return f"answer_{queue}"
