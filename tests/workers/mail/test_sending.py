"""A batch of mails without a ledger: the records made after unexpected errors, and the callbacks."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from models.base import new_id
from models.delivery import DeliveryOutcome
from models.words import EmailKind
from tests.kit.relay.relay import HANG, Relay
from workers.engine.ledger import FIRST_LANE, ClaimedRow, MailColumns
from workers.mail.claimed import ClaimedMail
from workers.mail.pool import SmtpConnections
from workers.mail.recording import DeliveryAttempt, OutcomeRecorder
from workers.mail.relay import parse_smtp_url
from workers.mail.return_address import ReturnAddresses
from workers.mail.sending import MailBatch, PreparedMail

GOOD = b"Subject: test\r\n\r\nhello\r\n"
BUG = b"no end of line"


def sealed(message: bytes = GOOD, to_address: str = "anne@example.com") -> PreparedMail:
    now = datetime.now(UTC)
    columns = MailColumns(
        kind=EmailKind.INVITATION,
        to_address=to_address,
        locale="fr",
        context={},
        message_id="<1@x>",
        date=now,
        expires_at=now + timedelta(days=1),
        expired=False,
        account_id=None,
        contract_id=None,
        job_id=None,
        losses=0,
    )
    mail = ClaimedMail.of(ClaimedRow(new_id(), 1, 0, 0, FIRST_LANE, columns))
    return PreparedMail(mail, message, time.monotonic() + 60)


def send(
    relay: Relay,
    recorded: list[UUID],
    *mails: PreparedMail,
    places: int = 1,
    lease: float = 60.0,
    renew: Callable[[Sequence[ClaimedRow[MailColumns]]], set[UUID] | None] = lambda _: set(),
    ended: Callable[[DeliveryAttempt], None] = lambda _: None,
    returns: ReturnAddresses | None = None,
) -> None:
    """Sends these mails; adds each mail with a recorded outcome to `recorded`."""

    def record(deliveries: Sequence[DeliveryAttempt]) -> None:
        recorded.extend(delivered.row.id for delivered in deliveries)

    async def run() -> None:
        connections = SmtpConnections(parse_smtp_url(relay.url), size=places, local_hostname="worker.test")
        sending = MailBatch(
            connections,
            envelope_from="bounce@app.example",
            mails=mails,
            recorder=OutcomeRecorder(record),
            renew=renew,
            may_send=lambda: True,
            ended=ended,
            lease=lease,
            returns=returns,
        )
        try:
            await sending.run(places)
        finally:
            connections.close()

    asyncio.run(run())


def recorded_beside_a_bug(*mails: PreparedMail, places: int) -> list[UUID]:
    recorded: list[UUID] = []
    with Relay() as relay, pytest.raises(ValueError, match="CRLF"):
        send(relay, recorded, *mails, places=places)
    return recorded


def test_a_bug_met_by_one_mail_leaves_the_one_before_recorded() -> None:
    first, second, third = sealed(), sealed(), sealed()
    assert recorded_beside_a_bug(first, second, sealed(BUG), third, places=1) == [first.row.id, second.row.id]


def test_a_bug_met_on_one_connection_lets_the_others_end() -> None:
    good = [sealed() for _ in range(6)]
    assert set(recorded_beside_a_bug(sealed(BUG), *good, places=2)) == {mail.row.id for mail in good}


@pytest.mark.parametrize(("still_ours", "sent"), [(None, True), (set(), False)])
def test_only_a_renewal_that_was_answered_takes_a_lease_away(still_ours: set[UUID] | None, sent: bool) -> None:
    mail, recorded, renewals = sealed(), list[UUID](), 0

    def renew(_: Sequence[ClaimedRow[MailColumns]]) -> set[UUID] | None:
        nonlocal renewals
        renewals += 1
        if renewals == 3:
            relay.go_on.set()
        return still_ours

    with Relay(always={"RCPT": HANG}) as relay:
        send(relay, recorded, mail, lease=0.15, renew=renew)
    assert (recorded == [mail.row.id], len(relay.mails)) == (sent, int(sent))


def test_an_attempt_that_ended_is_told_before_the_next_one_ends() -> None:
    mails = [sealed(to_address=address) for address in ("a@x.example", "b@y.example", "c@z.example")]
    ended: list[DeliveryOutcome | None] = []
    with Relay(always={f"RCPT {word}": "421 busy" for word in ("a@x.example", "c@z.example")}) as relay:
        send(relay, [], *mails, ended=lambda one: ended.append(one.verdict.suspect if one.verdict else None))
    assert ended == [DeliveryOutcome.RELAY_DOWN, None, DeliveryOutcome.RELAY_DOWN]
