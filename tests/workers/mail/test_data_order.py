"""DATA waits for both: the relay's word that it takes the recipient, and what the sender must have done before."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from models.delivery import SmtpPhase
from tests.kit.relay.relay import HANG
from tests.kit.relay.scripted import ScriptedRelay, connection_to, faulty, send
from workers.mail.faults import DeliveryFault
from workers.mail.transport import SmtpConnection

OFFERS = [("8BITMIME", "PIPELINING"), ("8BITMIME",)]


@pytest.fixture(params=OFFERS, ids=["pipelining", "one by one"])
def offer(request: pytest.FixtureRequest) -> tuple[str, ...]:
    offer: tuple[str, ...] = request.param
    return offer


def play(relay: ScriptedRelay, scenario: Callable[[SmtpConnection], Awaitable[None]]) -> None:
    async def run() -> None:
        async with relay.listening():
            connection = connection_to(relay)
            try:
                await scenario(connection)
            finally:
                connection.close()

    asyncio.run(run())


def test_a_commit_that_lasts_holds_data_back(offer: tuple[str, ...]) -> None:
    relay = ScriptedRelay(extensions=offer)

    async def scenario(connection: SmtpConnection) -> None:
        begun, committed = asyncio.Event(), asyncio.Event()

        async def commit() -> None:
            begun.set()
            await committed.wait()

        sending = asyncio.create_task(send(connection, commit))
        await begun.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert relay.commands[-1].startswith("RCPT")
        committed.set()
        await sending
        assert relay.commands[-1] == "DATA"

    play(relay, scenario)


def test_a_recipient_that_is_looked_up_holds_the_last_check_back(offer: tuple[str, ...]) -> None:
    relay = ScriptedRelay({"RCPT": [HANG]}, extensions=offer)
    checks: list[bool] = []

    async def scenario(connection: SmtpConnection) -> None:
        async def check() -> None:
            checks.append(relay.released.is_set())

        sending = asyncio.create_task(send(connection, check))
        await relay.reached.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert checks == []
        relay.released.set()
        await sending
        assert checks == [True]

    play(relay, scenario)


@pytest.mark.parametrize("error", [ConnectionError("database"), TimeoutError("database"), ValueError("a bug")])
def test_an_error_of_ours_is_not_taken_for_the_relay_s(offer: tuple[str, ...], error: Exception) -> None:
    relay = ScriptedRelay(extensions=offer)

    async def fail() -> None:
        raise error

    async def scenario(connection: SmtpConnection) -> None:
        with pytest.raises(type(error)) as caught:
            await send(connection, fail)
        assert caught.value is error
        assert not connection.is_open
        assert "DATA" not in relay.commands
        await send(connection)
        assert relay.sessions == 2

    play(relay, scenario)


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
def test_a_refused_envelope_is_not_checked_any_more(offer: tuple[str, ...], step: str) -> None:
    relay = ScriptedRelay({step: ["451 4.3.0 later"]}, extensions=offer)
    checks: list[str] = []

    async def scenario(connection: SmtpConnection) -> None:
        async def check() -> None:
            checks.append("checked")

        with pytest.raises(DeliveryFault) as caught:
            await send(connection, check)
        assert caught.value.fault.phase is SmtpPhase(step.lower())
        assert checks == []
        assert "DATA" not in relay.commands
        assert connection.is_open

    play(relay, scenario)


def test_a_connection_that_broke_during_the_commit_gets_no_data(offer: tuple[str, ...]) -> None:
    relay = ScriptedRelay({"RCPT": ["250 ok\r\n421 4.3.2 closing"]}, extensions=offer)

    async def scenario(connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, fault.code) == (SmtpPhase.DATA, 421)
        assert "DATA" not in relay.commands

    play(relay, scenario)
