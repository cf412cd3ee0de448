"""One mail over one connection, and connections that are reused: the commands a relay gets, and when a
new one opens.
"""

import asyncio

import pytest

from models.delivery import DeliveryReason, judge_fault
from tests.kit.relay.relay import DROP, HANG
from tests.kit.relay.scripted import (
    MESSAGE,
    PERSON,
    ScriptedRelay,
    connection_to,
    faulty,
    send,
)
from workers.mail import transport
from workers.mail.faults import DeliveryFault
from workers.mail.pool import SmtpConnections
from workers.mail.relay import Relay, RelaySecurity
from workers.mail.transport import SmtpConnection


def test_a_mail_arrives_as_it_was_given() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            connection = connection_to(relay)
            assert await send(connection) == "2.0.0 queued as X1"
            assert await send(connection) == "2.0.0 queued as X1"
            assert relay.commands[0] == "EHLO worker.test"
            assert relay.commands[1:4] == ["MAIL FROM:<bounce@app.example>", f"RCPT TO:<{PERSON}>", "DATA"]
            assert relay.messages[0].replace(b"\r\n..", b"\r\n.") == MESSAGE + b".\r\n"
            assert relay.sessions == 1
            assert connection.phase is None
            connection.close()

    asyncio.run(scenario())


def test_the_last_check_comes_just_before_data_and_can_stop_the_mail() -> None:
    class LeaseLost(Exception):
        pass

    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            connection = connection_to(relay)
            seen: list[str] = []

            async def check() -> None:
                seen.append(relay.commands[-1])

            async def lost() -> None:
                raise LeaseLost

            await send(connection, check)
            assert seen == [f"RCPT TO:<{PERSON}>"]
            with pytest.raises(LeaseLost):
                await send(connection, lost)
            assert relay.commands.count("DATA") == 1
            assert not connection.is_open

    asyncio.run(scenario())


def test_an_address_that_would_inject_a_command_is_refused_for_good() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            connection = connection_to(relay)
            for address in ("a@b.fr>\r\nRCPT TO:<evil@x.fr", "élodie@b.fr", "A <a@b.fr>", "a@b.fr SIZE=1", ""):
                with pytest.raises(DeliveryFault) as caught:
                    await connection.deliver(envelope_from="b@app.example", to_address=address, message=MESSAGE)
                assert judge_fault(caught.value.fault).reason is DeliveryReason.ADDRESS_UNSENDABLE
                assert "b.fr" not in str(caught.value)
            assert relay.commands == []

    asyncio.run(scenario())


def test_a_message_whose_end_the_relay_would_not_see_is_refused() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            with pytest.raises(ValueError, match="CRLF"):
                await connection_to(relay).deliver(envelope_from="b@a.fr", to_address=PERSON, message=b"x")
            assert relay.commands == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "value", "sessions"),
    [("MAILS_PER_CONNECTION", 2, 2), ("CONNECTION_SECONDS", 0.0, 3), ("MAILS_PER_CONNECTION", 100, 1)],
)
def test_connections_are_renewed(monkeypatch: pytest.MonkeyPatch, name: str, value: float, sessions: int) -> None:
    monkeypatch.setattr(transport, name, value)

    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            connection = connection_to(relay)
            for _ in range(3):
                await send(connection)
            assert relay.sessions == sessions
            assert relay.commands.count("QUIT") == sessions - 1
            connection.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("answer", "sessions"), [("250 ok", 1), ("421 idle", 2), (DROP, 2), (HANG, 2)])
def test_an_idle_connection_is_asked_before_it_is_trusted(
    monkeypatch: pytest.MonkeyPatch, answer: str, sessions: int
) -> None:
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.0)

    async def scenario() -> None:
        async with ScriptedRelay({"NOOP": [answer]}).listening() as relay:
            connection = connection_to(relay, noop=0.5)
            await send(connection)
            await send(connection)
            assert (relay.sessions, relay.commands.count("NOOP")) == (sessions, 1)
            connection.close()

    asyncio.run(scenario())


def test_a_connection_the_relay_closed_meanwhile_is_opened_again() -> None:
    async def scenario() -> None:
        async with ScriptedRelay({"RSET": [DROP], "RCPT": ["550 5.1.1 no"]}).listening() as relay:
            connection = connection_to(relay)
            assert judge_fault(await faulty(connection)).reason is DeliveryReason.ADDRESS_REJECTED
            await send(connection)
            assert relay.sessions == 2
            connection.close()

    asyncio.run(scenario())


def test_leases_bound_what_is_open_at_once_and_reuse_it() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            pool = SmtpConnections(
                Relay("127.0.0.1", relay.port, RelaySecurity.OFF), size=2, local_hostname="worker.test"
            )
            leased: list[SmtpConnection] = []

            async def mail() -> None:
                async with pool.lease() as connection:
                    leased.append(connection)
                    await send(connection)

            await asyncio.gather(*(mail() for _ in range(10)))
            assert len(relay.messages) == 10
            assert relay.sessions == len(set(leased)) == 2
            pool.close()
            assert not any(connection.is_open for connection in leased)

    asyncio.run(scenario())
