"""A relay refuses, drops or hangs at any step: the fault that results, and whether the connection stays usable."""

import asyncio
import ssl

import pytest

from models.delivery import AttemptFault, DeliveryOutcome, DeliveryReason, FaultKind, SmtpPhase, judge_fault
from tests.kit.relay.relay import DROP, HANG
from tests.kit.relay.scripted import (
    PERSON,
    ScriptedRelay,
    connection_to,
    faulty,
    send,
)
from workers.mail.faults import fault_from, masked


def run_faulty(relay: ScriptedRelay, *, command: float = 60, body: float = 60) -> tuple[AttemptFault, bool]:
    """Returns the fault of one delivery, and whether the next mail is sent on the same place of the pool."""

    async def scenario() -> tuple[AttemptFault, bool]:
        async with relay.listening():
            connection = connection_to(relay, command=command, body=body)
            fault = await faulty(connection)
            stayed = connection.is_open
            relay.released.set()
            assert await send(connection) == "2.0.0 queued as X1"
            connection.close()
            return fault, stayed

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("step", "answer", "phase", "reason", "stays_open"),
    [
        ("GREETING", "421 busy", SmtpPhase.CONNECT, DeliveryReason.RELAY_BUSY, False),
        ("GREETING", "554 greeting", SmtpPhase.CONNECT, DeliveryReason.RELAY_REFUSED, False),
        ("GREETING", DROP, SmtpPhase.CONNECT, DeliveryReason.CONNECTION_LOST, False),
        ("EHLO", "550 no", SmtpPhase.HELLO, DeliveryReason.RELAY_REFUSED, False),
        ("EHLO", DROP, SmtpPhase.HELLO, DeliveryReason.CONNECTION_LOST, False),
        ("MAIL", "451 4.3.0 later", SmtpPhase.MAIL, DeliveryReason.DEFERRED, True),
        ("MAIL", "421 4.7.0 too many", SmtpPhase.MAIL, DeliveryReason.RELAY_BUSY, False),
        ("MAIL", "550 5.7.1 not you", SmtpPhase.MAIL, DeliveryReason.SENDER_REFUSED, True),
        ("MAIL", DROP, SmtpPhase.MAIL, DeliveryReason.CONNECTION_LOST, False),
        ("RCPT", "450 4.7.1 greylisted", SmtpPhase.RCPT, DeliveryReason.DEFERRED, True),
        ("RCPT", f"550 5.1.1 <{PERSON}>: User unknown", SmtpPhase.RCPT, DeliveryReason.ADDRESS_REJECTED, True),
        ("RCPT", "421 bye", SmtpPhase.RCPT, DeliveryReason.RELAY_BUSY, False),
        ("RCPT", "503 5.5.1 sequence", SmtpPhase.RCPT, DeliveryReason.PROTOCOL_ERROR, False),
        ("RCPT", "what?", SmtpPhase.RCPT, DeliveryReason.PROTOCOL_ERROR, False),
        ("RCPT", DROP, SmtpPhase.RCPT, DeliveryReason.CONNECTION_LOST, False),
        ("DATA", "451 later", SmtpPhase.DATA, DeliveryReason.DEFERRED, True),
        ("DATA", "250 what", SmtpPhase.DATA, DeliveryReason.PROTOCOL_ERROR, False),
        ("DATA", DROP, SmtpPhase.DATA, DeliveryReason.CONNECTION_LOST, False),
        ("BODY", "452 4.3.1 full", SmtpPhase.BODY, DeliveryReason.DEFERRED, True),
        ("BODY", "554 5.7.1 spam", SmtpPhase.BODY, DeliveryReason.POLICY, True),
        ("BODY", "421 4.3.2 closing", SmtpPhase.BODY, DeliveryReason.RELAY_BUSY, False),
        ("BODY", DROP, SmtpPhase.BODY, DeliveryReason.LOST_AFTER_BODY, False),
    ],
)
def test_each_fault_at_each_step(
    step: str, answer: str, phase: SmtpPhase, reason: DeliveryReason, stays_open: bool
) -> None:
    fault, stayed = run_faulty(ScriptedRelay({step: [answer]}))
    assert (fault.phase, judge_fault(fault).reason, stayed) == (phase, reason, stays_open)
    assert PERSON not in fault.text


@pytest.mark.parametrize(
    ("step", "phase", "outcome"),
    [
        ("GREETING", SmtpPhase.CONNECT, DeliveryOutcome.RELAY_DOWN),
        ("RCPT", SmtpPhase.RCPT, DeliveryOutcome.RETRY),
        ("DATA", SmtpPhase.DATA, DeliveryOutcome.RETRY),
        ("BODY", SmtpPhase.BODY, DeliveryOutcome.UNCERTAIN),
    ],
)
def test_silence_ends_in_a_timeout_and_a_late_answer_is_ignored(
    step: str, phase: SmtpPhase, outcome: DeliveryOutcome
) -> None:
    fault, stayed = run_faulty(ScriptedRelay({step: [HANG]}), command=0.5, body=0.5)
    assert (fault.phase, fault.trouble, judge_fault(fault).outcome, stayed) == (
        phase,
        FaultKind.TIMEOUT,
        outcome,
        False,
    )


def test_a_slow_250_is_waited_for_beyond_the_time_of_a_command() -> None:
    async def scenario() -> None:
        async with ScriptedRelay({"BODY": [HANG]}).listening() as relay:
            connection = connection_to(relay, command=0.5)
            sending = asyncio.create_task(send(connection))
            await relay.reached.wait()
            asyncio.get_running_loop().call_later(1.0, relay.released.set)
            assert await sending == "2.0.0 queued as X1"
            connection.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("step", "phase"), [("MAIL", SmtpPhase.MAIL), ("DATA", SmtpPhase.DATA), ("BODY", SmtpPhase.BODY)]
)
def test_a_cancelled_delivery_leaves_no_reusable_client(step: str, phase: SmtpPhase) -> None:
    async def scenario() -> None:
        async with ScriptedRelay({step: [HANG]}).listening() as relay:
            connection = connection_to(relay)
            sending = asyncio.create_task(send(connection))
            await relay.reached.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert (connection.is_open, connection.phase) == (False, phase)
            relay.released.set()
            await send(connection)
            assert relay.sessions == 2
            connection.close()

    asyncio.run(scenario())


def test_no_relay_at_all_is_relay_down() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            pass
        fault = await faulty(connection_to(relay))
        assert (fault.phase, judge_fault(fault).reason) == (SmtpPhase.CONNECT, DeliveryReason.CONNECTION_LOST)

    asyncio.run(scenario())


def test_addresses_in_answers_are_masked() -> None:
    answer = "5.1.1 <Anne.Lefevre@client.example>: unknown\r\n(see anne@x.fr)\x1b[31m " + "x" * 400
    shown = masked(answer)
    assert "@" not in shown
    assert "\x1b" not in shown
    assert shown.startswith("5.1.1 <(address)>: unknown (see (address))")
    assert len(shown) == 300


def test_an_error_outside_relay_and_network_is_a_bug() -> None:
    assert fault_from(KeyError("x"), SmtpPhase.RCPT) is None
    assert fault_from(ValueError("another loop"), SmtpPhase.MAIL) is None
    certificate = fault_from(ssl.SSLCertVerificationError("expired"), SmtpPhase.TLS)
    assert certificate is not None
    assert certificate.trouble is FaultKind.TLS
