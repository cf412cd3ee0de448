"""A batch on its way, without a ledger: what is recorded when something goes wrong that should not."""

import asyncio
import time
from collections.abc import Sequence
from uuid import UUID

import pytest

from models.base import new_id
from tests.relay import Relay
from workers.actors.sending import Delivered, Sealed, Sending
from workers.ledger import FIRST_LANE, Claimed
from workers.mail.relay import parse_smtp_url
from workers.mail.transport import Connections

GOOD = b"Subject: test\r\n\r\nhello\r\n"
BUG = b"no end of line"


def sealed(message: bytes) -> Sealed:
    row = Claimed(new_id(), 1, 0, 0, FIRST_LANE, {"to_address": "anne@example.com"})
    return Sealed(row, message, time.monotonic() + 60)


def send(*mails: Sealed, places: int) -> list[UUID]:
    """Sends them, of which one meets a bug; returns those whose outcome was recorded."""
    recorded: list[UUID] = []

    def record(deliveries: Sequence[Delivered]) -> None:
        recorded.extend(delivered.row.id for delivered in deliveries)

    async def run() -> None:
        connections = Connections(parse_smtp_url(relay.url), size=places, local_hostname="worker.test")
        sending = Sending(
            connections,
            envelope_from="bounce@app.example",
            mails=mails,
            record=record,
            renew=lambda _: set(),
            ready=lambda: True,
            heard=lambda _: None,
            lease=60,
        )
        try:
            await sending.run(places)
        finally:
            connections.close()

    with Relay() as relay, pytest.raises(ValueError, match="CRLF"):
        asyncio.run(run())
    return recorded


def test_a_bug_met_by_one_mail_leaves_the_one_before_recorded() -> None:
    first, second, third = sealed(GOOD), sealed(GOOD), sealed(GOOD)
    assert send(first, second, sealed(BUG), third, places=1) == [first.row.id, second.row.id]


def test_a_bug_met_on_one_connection_lets_the_others_end() -> None:
    good = [sealed(GOOD) for _ in range(6)]
    assert set(send(sealed(BUG), *good, places=2)) == {mail.row.id for mail in good}
