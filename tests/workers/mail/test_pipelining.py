"""MAIL and RCPT leave in one write where the relay offers PIPELINING, and relays that do odd things with it.

Each scenario runs on an open connection, under TLS from the first byte and under STARTTLS.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from models.delivery import DeliveryOutcome, DeliveryReason, FaultKind, SmtpPhase, judge_fault
from tests.kit.relay.relay import DROP, HANG
from tests.kit.relay.scripted import CUT, PERSON, ScriptedRelay, connection_to, faulty, send
from tests.workers.mail.conftest import TlsSides
from workers.mail import transport
from workers.mail.pipeline import SENT_AT_ONCE
from workers.mail.relay import RelaySecurity
from workers.mail.transport import SmtpConnection

MAIL, RCPT = "MAIL FROM:<bounce@app.example>", f"RCPT TO:<{PERSON}>"
OFFERED = ("8BITMIME", "PIPELINING")
TAKEN = "2.0.0 queued as X1"

Scenario = Callable[[ScriptedRelay, SmtpConnection], Awaitable[None]]


@pytest.fixture(params=list(RelaySecurity))
def security(request: pytest.FixtureRequest) -> RelaySecurity:
    security: RelaySecurity = request.param
    return security


def play(scenario: Scenario, relay: ScriptedRelay, tls: TlsSides, *, command: float = 30.0, noop: float = 10.0) -> None:
    """Runs a scenario with a connection to the relay, which offers PIPELINING unless it says otherwise."""
    if relay.extensions == ("8BITMIME",):
        relay.extensions = OFFERED
    relay.tls = tls.server

    async def run() -> None:
        async with relay.listening():
            trusted = None if relay.security is RelaySecurity.OFF else tls.client
            connection = connection_to(relay, trusted=trusted, command=command, body=30.0, noop=noop)
            try:
                await scenario(relay, connection)
            finally:
                connection.close()

    asyncio.run(run())


def test_sender_and_recipient_leave_together_where_that_is_offered(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert await send(connection) == TAKEN
        assert await send(connection) == TAKEN
        assert relay.commands[-6:] == [MAIL, RCPT, "DATA", MAIL, RCPT, "DATA"]
        assert relay.with_more == [MAIL, MAIL]
        assert (relay.sessions, connection.phase, connection.is_open) == (1, None, True)

    play(scenario, ScriptedRelay(security=security), tls)


def test_they_leave_one_by_one_where_it_is_not_offered(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert await send(connection) == TAKEN
        assert relay.commands[-3:] == [MAIL, RCPT, "DATA"]
        assert relay.with_more == []

    play(scenario, ScriptedRelay(security=security, extensions=("SIZE",)), tls)


@pytest.mark.parametrize("within", [True, False])
def test_only_what_is_offered_under_tls_counts(tls: TlsSides, within: bool) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        await send(connection)
        assert [command.split()[0] for command in relay.commands[:3]] == ["EHLO", "STARTTLS", "EHLO"]
        assert relay.with_more == ([MAIL] if within else [])

    offers = (("SIZE",), OFFERED) if within else (OFFERED, ("SIZE",))
    play(scenario, ScriptedRelay(security=RelaySecurity.STARTTLS, extensions=offers[0], in_tls=offers[1]), tls)


def test_what_was_said_before_tls_is_forgotten(tls: TlsSides) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert await send(connection) == TAKEN
        assert relay.sessions == 1

    injected = "220 go on\r\n250-evil.example\r\n250 PIPELINING\r\n250 taken"
    relay = ScriptedRelay({"STARTTLS": [injected]}, security=RelaySecurity.STARTTLS, extensions=("SIZE",))
    play(scenario, relay, tls)


def test_replies_that_are_kept_to_leave_together_are_both_read(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert [await send(connection), await send(connection)] == [TAKEN, TAKEN]

    play(scenario, ScriptedRelay(security=security, keeps=frozenset({"MAIL"})), tls)


def test_replies_are_read_however_packets_cut_them(tls: TlsSides, security: RelaySecurity) -> None:
    script = {
        "MAIL": [CUT.join("250-2.1.0 first\r\n250-\r\n250 2.1.0 ok")],
        "RCPT": [f"25{CUT}0-a\r{CUT}\n250{CUT} b"],
        "DATA": [f"354{CUT}"],
        "BODY": [CUT.join("250-2.0.0 taken\n250 as X9")],
    }

    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert await send(connection) == "2.0.0 taken as X9"
        assert await send(connection) == TAKEN
        assert relay.sessions == 1

    play(scenario, ScriptedRelay(script, security=security), tls)


def test_a_refused_sender_is_the_fault_whatever_is_said_of_the_recipient(
    tls: TlsSides, security: RelaySecurity
) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, fault.code) == (SmtpPhase.MAIL, 550)
        assert judge_fault(fault).reason is DeliveryReason.SENDER_REFUSED
        assert connection.is_open
        assert await send(connection) == TAKEN
        assert relay.commands[-6:] == [MAIL, RCPT, "RSET", MAIL, RCPT, "DATA"]
        assert relay.sessions == 1

    for answer in ("503 5.5.1 need MAIL", "550 5.1.1 no such user", "250 ok", "451 later"):
        script = {"MAIL": ["550 5.7.1 not you"], "RCPT": [answer]}
        play(scenario, ScriptedRelay(script, security=security), tls)


@pytest.mark.parametrize("answer", [DROP, HANG, "what?", "421 4.7.0 bye"])
def test_a_refused_sender_stays_the_fault_if_the_rest_goes_wrong(
    tls: TlsSides, security: RelaySecurity, answer: str
) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, fault.code) == (SmtpPhase.MAIL, 451)
        assert not connection.is_open
        relay.released.set()
        assert await send(connection) == TAKEN
        assert relay.sessions == 2

    script = {"MAIL": ["451 4.3.0 later"], "RCPT": [answer]}
    play(scenario, ScriptedRelay(script, security=security), tls, noop=0.5 if answer == HANG else 10.0)


@pytest.mark.parametrize(
    ("step", "answer", "trouble"),
    [
        ("MAIL", DROP, FaultKind.LOST),
        ("RCPT", DROP, FaultKind.LOST),
        ("MAIL", HANG, FaultKind.TIMEOUT),
        ("RCPT", HANG, FaultKind.TIMEOUT),
        ("RCPT", "what?", FaultKind.GARBLED),
    ],
)
def test_silence_after_the_recipient_was_named_stops_no_other_mail(
    tls: TlsSides, security: RelaySecurity, step: str, answer: str, trouble: FaultKind
) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, fault.trouble) == (SmtpPhase.RCPT, trouble)
        assert judge_fault(fault).outcome is DeliveryOutcome.RETRY
        assert not connection.is_open

    # The relay keeps its answer to MAIL until it has looked the recipient up: nothing tells the two apart.
    kept = frozenset({"MAIL"} if step == "RCPT" and answer != "what?" else ())
    play(scenario, ScriptedRelay({step: [answer]}, security=security, keeps=kept), tls, command=0.5)


@pytest.mark.parametrize("answer", [DROP, HANG, "what?", "503 5.5.0 improper pipelining"])
def test_a_relay_that_cannot_do_what_it_offers_gets_mails_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tls: TlsSides, answer: str
) -> None:
    monkeypatch.setattr(transport, "MAILS_PER_CONNECTION", 2)

    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert (await faulty(connection)).phase is SmtpPhase.RCPT
        relay.released.set()
        assert [await send(connection) for _ in range(2)] == [TAKEN, TAKEN]
        assert (relay.sessions, relay.with_more) == (2, [MAIL])
        await send(connection)
        assert (relay.sessions, relay.with_more) == (3, [MAIL, MAIL])

    play(scenario, ScriptedRelay({"RCPT": [answer]}), tls, command=0.5)


def test_a_refused_recipient_leaves_the_connection_as_it_was(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, judge_fault(fault).reason) == (SmtpPhase.RCPT, DeliveryReason.ADDRESS_REJECTED)
        assert await send(connection) == TAKEN
        assert relay.commands[-6:] == [MAIL, RCPT, "RSET", MAIL, RCPT, "DATA"]
        assert (relay.sessions, relay.with_more) == (1, [MAIL, MAIL])

    play(scenario, ScriptedRelay({"RCPT": ["550 5.1.1 User unknown"]}, security=security), tls)


def test_a_relay_that_closes_between_mails_costs_no_attempt(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        assert await send(connection) == "2.0.0 taken"
        assert not connection.is_open
        assert await send(connection) == TAKEN
        assert relay.sessions == 2

    play(scenario, ScriptedRelay({"BODY": ["250 2.0.0 taken\r\n421 4.4.2 idle"]}, security=security), tls)


def test_a_relay_that_closes_before_data_is_heard_and_gets_no_data(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, fault.code) == (SmtpPhase.DATA, 421)
        assert judge_fault(fault).reason is DeliveryReason.RELAY_BUSY
        assert "DATA" not in relay.commands

    play(scenario, ScriptedRelay({"RCPT": ["250 ok\r\n421 4.3.2 closing"]}, security=security), tls)


@pytest.mark.parametrize(
    ("step", "extra"),
    [
        ("MAIL", "250 ok"),
        ("MAIL", "354 go on"),
        ("RCPT", "250 ok"),
        ("RCPT", "550 5.1.1 no such user"),
        ("RCPT", "354 go on"),
        ("DATA", "250 taken"),
        ("DATA", "550 5.1.1 no such user"),
    ],
)
def test_a_reply_too_many_blames_no_recipient_and_sends_no_body(
    tls: TlsSides, security: RelaySecurity, step: str, extra: str
) -> None:
    usual = "354 go on" if step == "DATA" else "250 ok"

    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert judge_fault(fault).outcome is DeliveryOutcome.RETRY
        assert relay.messages == []
        assert await send(connection) == TAKEN

    play(scenario, ScriptedRelay({step: [f"{usual}\r\n{extra}"]}, security=security), tls)


@pytest.mark.parametrize("answer", ["250 " + "x" * 50_000, "250-more\r\n" * 5_000 + "250 end", "2" * 50_000])
@pytest.mark.parametrize(
    ("step", "phase", "outcome"),
    [
        ("RCPT", SmtpPhase.RCPT, DeliveryOutcome.RETRY),
        ("DATA", SmtpPhase.DATA, DeliveryOutcome.RETRY),
        ("BODY", SmtpPhase.BODY, DeliveryOutcome.UNCERTAIN),
    ],
)
def test_a_reply_without_end_ends_the_connection(
    tls: TlsSides, step: str, phase: SmtpPhase, outcome: DeliveryOutcome, answer: str
) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection)
        assert (fault.phase, fault.trouble, judge_fault(fault).outcome) == (phase, FaultKind.GARBLED, outcome)
        assert not connection.is_open

    play(scenario, ScriptedRelay({step: [answer]}), tls)


def test_a_body_refused_before_it_was_read_ends_the_connection(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        fault = await faulty(connection, message=b"\r\n" * 10_000_000)
        assert (fault.phase, fault.code) == (SmtpPhase.BODY, 552)
        assert not connection.is_open
        assert await send(connection) == TAKEN
        assert "RSET" not in relay.commands

    early = "354 go on\r\n" + CUT + "552 5.3.4 too big"
    play(scenario, ScriptedRelay({"DATA": [early]}, security=security), tls)


def test_a_short_body_that_is_refused_leaves_the_connection(tls: TlsSides, security: RelaySecurity) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        await faulty(connection, message=b"\r\n" * (SENT_AT_ONCE // 2 - 10))
        assert await send(connection) == TAKEN
        assert (relay.sessions, relay.commands.count("RSET")) == (1, 1)

    play(scenario, ScriptedRelay({"BODY": ["554 5.7.1 spam"]}, security=security), tls)


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "BODY"])
def test_a_delivery_cancelled_at_any_step_leaves_no_connection(
    tls: TlsSides, security: RelaySecurity, step: str
) -> None:
    async def scenario(relay: ScriptedRelay, connection: SmtpConnection) -> None:
        sending = asyncio.create_task(send(connection))
        await relay.reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.is_open
        assert (connection.phase is SmtpPhase.BODY) == (step == "BODY")
        relay.released.set()
        assert await send(connection) == TAKEN
        assert relay.sessions == 2

    play(scenario, ScriptedRelay({step: [HANG]}, security=security), tls)
