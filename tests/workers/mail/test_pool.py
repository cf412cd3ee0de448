"""A relay that takes only a few connections: all mails leave over those, none fails and the circuit stays closed."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dramatiq.asyncio import EventLoopThread

from models import connection_limit
from tests.kit.actors.mailers import (
    QUEUES,
    close_connections,
    each_came_once,
    many_names,
    owe_invitations,
    states,
    wait_for_states,
)
from tests.kit.builders import letters
from tests.kit.processes.support import Processes, forget, rows, wait_until
from tests.kit.relay.postfix import postfix
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail.faults import DeliveryFault
from workers.mail.mailer import Mailer
from workers.mail.pool import SmtpConnections
from workers.mail.relay import parse_smtp_url
from workers.mail.transport import SmtpConnection
from workers.requests.queues import Queue

FEW = 4


def claim() -> list[ClaimedRow[MailColumns]]:
    """Claims all mails; those to many people are in the queue of bulk mails."""
    with transaction() as session:
        return letters.claim(session, EMAILS, Queue.EMAILS, Queue.EMAILS_BULK)


def no_mail_was_set_back() -> bool:
    return rows("SELECT 1 FROM job_attempt") == rows("SELECT 1 FROM email WHERE failures > 0 OR claim > 1") == []


def test_mails_leave_over_the_connections_that_a_relay_takes(relay: Relay, loop: EventLoopThread) -> None:
    relay.takes, relay.room = FEW, 0
    owe_invitations(*many_names(40))
    mailer = Mailer()
    assert mailer.places > FEW
    rows_claimed = claim()
    running = asyncio.run_coroutine_threadsafe(asyncio.to_thread(mailer.do_batch, rows_claimed), loop.loop)
    wait_until(lambda: relay.holding == FEW and relay.refused == mailer.places - FEW)
    relay.admit(None)
    running.result(60)
    assert states() == {"sent": 40}
    each_came_once(relay, 40)
    assert no_mail_was_set_back()
    assert mailer.may_send()
    assert mailer.connections.limit.allowed == FEW - 1
    wait_until(lambda: len(relay.open) == FEW - 1)  # one place is left to another mailer
    close_connections(mailer)


def test_another_mailer_finds_the_place_that_was_left(relay: Relay, loop: EventLoopThread) -> None:
    relay.takes, relay.room = FEW, 0
    owe_invitations(*many_names(40))
    busy, other = Mailer(), Mailer()
    mine = claim()
    running = asyncio.run_coroutine_threadsafe(asyncio.to_thread(busy.do_batch, mine[1:]), loop.loop)
    wait_until(lambda: relay.holding == FEW and relay.refused == busy.places - FEW)
    relay.admit(None)
    running.result(60)
    wait_until(lambda: len(relay.open) == FEW - 1)
    other.do_batch(mine[:1])
    assert states() == {"sent": 40}
    assert no_mail_was_set_back()
    for mailer in (busy, other):
        close_connections(mailer)


def test_a_relay_that_takes_no_connection_at_all_opens_the_circuit(relay: Relay, loop: EventLoopThread) -> None:
    relay.takes = 0
    owe_invitations(*many_names(20))
    mailer = Mailer()
    mailer.do_batch(claim())
    assert not mailer.may_send()
    assert states() == {"owed": 20}
    assert rows("SELECT DISTINCT outcome FROM job_attempt") == [("postponed",)]
    assert rows("SELECT 1 FROM email WHERE failures > 0") == []
    assert mailer.connections.limit.allowed == mailer.places
    close_connections(mailer)


def test_more_connections_are_tried_later(relay: Relay, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limit, "FIRST_PAUSE", 0.0)
    relay.takes = FEW
    owe_invitations(*many_names(40))
    mailer, mine = Mailer(), claim()
    mailer.do_batch(mine[:20])
    assert relay.refused > 0
    relay.takes = None
    for row in mine[20:]:
        mailer.do_batch([row])
    assert mailer.connections.limit.allowed == mailer.places
    assert states() == {"sent": 40}
    assert no_mail_was_set_back()
    close_connections(mailer)


def test_two_batches_wait_for_the_same_few_connections(relay: Relay, loop: EventLoopThread) -> None:
    relay.takes = 1
    owe_invitations(*many_names(30))
    mailer, mine = Mailer(), claim()
    both = [
        asyncio.run_coroutine_threadsafe(asyncio.to_thread(mailer.do_batch, some), loop.loop)
        for some in (mine[:15], mine[15:])
    ]
    for batch in both:
        batch.result(60)
    assert states() == {"sent": 30}
    each_came_once(relay, 30)
    assert no_mail_was_set_back()
    close_connections(mailer)


def test_microsoft_refuses_a_connection_with_the_end_of_its_mail(relay: Relay, loop: EventLoopThread) -> None:
    refusal = "432 4.3.2 Concurrent connections limit exceeded"
    relay.script, relay.room = {"BODY": [refusal] * 5}, 0
    owe_invitations(*many_names(20))
    mailer = Mailer()
    mine = claim()
    running = asyncio.run_coroutine_threadsafe(asyncio.to_thread(mailer.do_batch, mine), loop.loop)
    wait_until(lambda: relay.holding == mailer.places)
    relay.admit(None)
    running.result(60)
    assert states() == {"sent": 20}
    assert no_mail_was_set_back()
    assert len([one for one in relay.mails if one.answer == refusal]) == 5
    close_connections(mailer)


def test_a_refused_connection_that_stays_open_is_not_used_again(relay: Relay) -> None:
    async def deliver(connection: SmtpConnection) -> None:
        await connection.deliver(
            envelope_from="f@portal.example", to_address="a@example.com", message=b"A: b\r\n\r\nc\r\n"
        )

    async def run() -> None:
        pool = SmtpConnections(parse_smtp_url(relay.url), size=2, local_hostname="worker.test")
        async with pool.lease() as working, pool.lease() as refused:
            await deliver(working)
            relay.script = {"MAIL": ["432 4.3.2 Concurrent connections limit exceeded"]}
            with pytest.raises(DeliveryFault) as failed:
                await deliver(refused)
            assert pool.is_refused(refused, failed.value.fault)
            assert not pool.keeps(refused)
            assert pool.keeps(working)
        pool.close()

    asyncio.run(run())


def test_a_waiter_that_is_cancelled_loses_no_connection(relay: Relay) -> None:
    async def run() -> None:
        pool = SmtpConnections(parse_smtp_url(relay.url), size=1, local_hostname="worker.test")
        async with AsyncExitStack() as held:
            await held.enter_async_context(pool.lease())
            waiting = asyncio.create_task(held.enter_async_context(pool.lease()))
            await asyncio.sleep(0)
            waiting.cancel()
        async with asyncio.timeout(30), pool.lease():
            pass
        first = pool.lease()
        await first.__aenter__()
        late = asyncio.create_task(pool.lease().__aenter__())
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # hands the connection over
        late.cancel()  # before it has taken it
        async with asyncio.timeout(30), pool.lease():
            pass

    asyncio.run(run())


@pytest.fixture
def few() -> Iterator[str]:
    """Runs a Postfix that takes four connections of a client, and gives its address."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        limits = {"smtpd_client_connection_count_limit": str(FEW), "smtpd_client_event_limit_exceptions": ""}
        with postfix(Path(folder), **limits) as server:
            yield server.url


@pytest.mark.serial
def test_a_postfix_that_takes_four_connections_gets_every_mail(
    few: str, fresh_database: str, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_URL", few)
    forget()
    owe_invitations(*many_names(100))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=100)
    assert no_mail_was_set_back()
    assert "relay.connection_refused" in processes.logs()
    assert "relay.circuit_open" not in processes.logs()
