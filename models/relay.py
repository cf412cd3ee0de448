"""The register of mail relays: when each last accepted a mail, and when and why it last refused one that we may have
to answer for.

All mailers share it. A refusal that names no cause is held against a recipient only after the relay accepted another
mail (``models.delivery.blame``); one that speaks of us is shown to operators until the relay accepts mails again.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Field

from models.base import Record, instant

REFUSAL_COUNTS: Final = timedelta(hours=2)
"""A refusal is shown for this long: while mails wait, each is tried again within an hour, and refused again."""

ACCEPTED_EVERY: Final = timedelta(seconds=5)
"""The time of the last accepted mail is written this seldom while nothing is refused, because all mailers write it."""


class MailRelay(Record, table=True):
    """A relay of SMTP_URL, by host and port."""

    __tablename__ = "mail_relay"

    name: str = Field(primary_key=True)
    accepted_at: datetime | None = instant(nullable=True)
    refused_at: datetime | None = instant(nullable=True)
    refused_reason: str | None = None  # a word of ``DeliveryReason``
    refused_words: str | None = None  # the answer of the relay, without mail addresses
