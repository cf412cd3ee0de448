"""One mail over one connection, against a relay that answers, drops or hangs at any step, and against real ones."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd import smtp as aiosmtpd_smtp
from aiosmtpd.handlers import Message as MessageHandler

from models.delivery import Fault, Outcome, Phase, Reason, Trouble, judge
from workers.errors import NotConfigured
from workers.mail import transport
from workers.mail.outcomes import DeliveryFault, fault_from, masked
from workers.mail.relay import Relay, Security, parse_smtp_url
from workers.mail.transport import Connection, Connections, Timeouts

MESSAGE = b"Subject: test\r\n\r\n.one\r\n..two\r\nend\r\n"
PERSON = "anne@client.example"
DROP, HANG = "drop", "hang"


@dataclass
class ScriptedRelay:
    """An SMTP server that says what its script tells, each answer once, then the usual one."""

    script: dict[str, list[str]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("8BITMIME",)
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    sessions: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # set when a hang begins
    released: asyncio.Event = field(default_factory=asyncio.Event)  # ends a hang; the usual answer follows, late
    port: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["ScriptedRelay"]:
        server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            yield self
        finally:
            self.released.set()
            server.close()
            await server.wait_closed()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.sessions += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._answer("GREETING", "220 relay.test", writer):
            return
        while line := await reader.readline():
            command = line.decode().rstrip()
            self.commands.append(command)
            verb = command.split(" ", 1)[0].upper()
            usual = {"DATA": "354 go on", "QUIT": "221 bye", "EHLO": self._hello()}.get(verb, "250 2.0.0 ok")
            if not await self._answer(verb, usual, writer):
                return
            if verb == "DATA" and self._last.startswith("354"):
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                if not await self._answer("BODY", "250 2.0.0 queued as X1", writer):
                    return

    async def _answer(self, step: str, usual: str, writer: asyncio.StreamWriter) -> bool:
        planned = self.script.get(step)
        self._last = planned.pop(0) if planned else usual
        if self._last == DROP:
            return False
        if self._last == HANG:
            self.reached.set()
            await self.released.wait()
            self._last = usual
        writer.write(self._last.encode() + b"\r\n")
        await writer.drain()
        return not self._last.startswith(("421", "221", "554 greeting"))

    def _hello(self) -> str:
        lines = ["relay.test", *self.extensions]
        return "\r\n".join(f"250{'-' if line != lines[-1] else ' '}{line}" for line in lines)


def connection_to(relay: ScriptedRelay, *, security: Security = Security.OFF, **timeouts: float) -> Connection:
    return Connection(
        Relay("127.0.0.1", relay.port, security, *(("user", "secret") if "AUTH PLAIN" in relay.extensions else ())),
        local_hostname="worker.test",
        timeouts=Timeouts(**timeouts),
        tls_context=None,
    )


async def send(connection: Connection, before_data: Callable[[], Awaitable[None]] | None = None) -> str:
    return await connection.deliver(
        envelope_from="bounce@app.example", to_address=PERSON, message=MESSAGE, before_data=before_data
    )


async def faulty(connection: Connection) -> Fault:
    with pytest.raises(DeliveryFault) as caught:
        await send(connection)
    return caught.value.fault


def run_faulty(relay: ScriptedRelay, *, command: float = 60, body: float = 60) -> tuple[Fault, bool]:
    """The fault of one delivery, and whether the next mail goes through on the same place of the pool."""

    async def scenario() -> tuple[Fault, bool]:
        async with relay.listening():
            connection = connection_to(relay, command=command, body=body)
            fault = await faulty(connection)
            stayed = connection.is_open
            relay.released.set()
            assert await send(connection) == "2.0.0 queued as X1"
            connection.close()
            return fault, stayed

    return asyncio.run(scenario())


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


@pytest.mark.parametrize(
    ("step", "answer", "phase", "reason", "stays_open"),
    [
        ("GREETING", "421 busy", Phase.CONNECT, Reason.RELAY_BUSY, False),
        ("GREETING", "554 greeting", Phase.CONNECT, Reason.RELAY_REFUSED, False),
        ("GREETING", DROP, Phase.CONNECT, Reason.CONNECTION_LOST, False),
        ("EHLO", "550 no", Phase.HELLO, Reason.RELAY_REFUSED, False),
        ("EHLO", DROP, Phase.HELLO, Reason.CONNECTION_LOST, False),
        ("MAIL", "451 4.3.0 later", Phase.MAIL, Reason.DEFERRED, True),
        ("MAIL", "421 4.7.0 too many", Phase.MAIL, Reason.RELAY_BUSY, False),
        ("MAIL", "550 5.7.1 not you", Phase.MAIL, Reason.SENDER_REFUSED, True),
        ("MAIL", DROP, Phase.MAIL, Reason.CONNECTION_LOST, False),
        ("RCPT", "450 4.7.1 greylisted", Phase.RCPT, Reason.DEFERRED, True),
        ("RCPT", f"550 5.1.1 <{PERSON}>: User unknown", Phase.RCPT, Reason.ADDRESS_REJECTED, True),
        ("RCPT", "421 bye", Phase.RCPT, Reason.RELAY_BUSY, False),
        ("RCPT", "503 5.5.1 sequence", Phase.RCPT, Reason.PROTOCOL_ERROR, False),
        ("RCPT", "what?", Phase.RCPT, Reason.PROTOCOL_ERROR, False),
        ("RCPT", DROP, Phase.RCPT, Reason.CONNECTION_LOST, False),
        ("DATA", "451 later", Phase.DATA, Reason.DEFERRED, True),
        ("DATA", "250 what", Phase.DATA, Reason.PROTOCOL_ERROR, False),
        ("DATA", DROP, Phase.DATA, Reason.CONNECTION_LOST, False),
        ("BODY", "452 4.3.1 full", Phase.BODY, Reason.DEFERRED, True),
        ("BODY", "554 5.7.1 spam", Phase.BODY, Reason.POLICY, True),
        ("BODY", "421 4.3.2 closing", Phase.BODY, Reason.RELAY_BUSY, False),
        ("BODY", DROP, Phase.BODY, Reason.LOST_AFTER_BODY, False),
    ],
)
def test_each_fault_at_each_step(step: str, answer: str, phase: Phase, reason: Reason, stays_open: bool) -> None:
    fault, stayed = run_faulty(ScriptedRelay({step: [answer]}))
    assert (fault.phase, judge(fault).reason, stayed) == (phase, reason, stays_open)
    assert PERSON not in fault.text


@pytest.mark.parametrize(
    ("step", "phase", "outcome"),
    [
        ("GREETING", Phase.CONNECT, Outcome.RELAY_DOWN),
        ("RCPT", Phase.RCPT, Outcome.RETRY),
        ("DATA", Phase.DATA, Outcome.RETRY),
        ("BODY", Phase.BODY, Outcome.UNCERTAIN),
    ],
)
def test_silence_ends_in_a_timeout_and_a_late_answer_is_heard_by_nobody(
    step: str, phase: Phase, outcome: Outcome
) -> None:
    fault, stayed = run_faulty(ScriptedRelay({step: [HANG]}), command=0.5, body=0.5)
    assert (fault.phase, fault.trouble, judge(fault).outcome, stayed) == (phase, Trouble.TIMEOUT, outcome, False)


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


@pytest.mark.parametrize(("step", "phase"), [("MAIL", Phase.MAIL), ("DATA", Phase.DATA), ("BODY", Phase.BODY)])
def test_a_cancelled_delivery_leaves_no_reusable_client(step: str, phase: Phase) -> None:
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


def test_an_address_that_would_inject_a_command_is_refused_and_not_repeated() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            connection = connection_to(relay)
            for address in ("a@b.fr>\r\nRCPT TO:<evil@x.fr", "élodie@b.fr", "A <a@b.fr>", "a@b.fr SIZE=1", ""):
                with pytest.raises(DeliveryFault) as caught:
                    await connection.deliver(envelope_from="b@app.example", to_address=address, message=MESSAGE)
                assert judge(caught.value.fault).reason is Reason.ADDRESS_UNSENDABLE
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


def test_starttls_is_required_and_nothing_is_said_without_it() -> None:
    async def scenario() -> None:
        async with ScriptedRelay(extensions=("AUTH PLAIN",)).listening() as relay:
            connection = connection_to(relay, security=Security.STARTTLS)
            fault = await faulty(connection)
            assert (fault.phase, judge(fault).outcome) == (Phase.TLS, Outcome.CONFIGURATION)
            assert [command.split(" ")[0] for command in relay.commands] == ["EHLO"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "reason", "extensions"),
    [
        ("535 5.7.8 Authentication failed", Reason.AUTH_REFUSED, ("AUTH PLAIN",)),
        ("454 4.7.0 Throttling failure: too many logins", Reason.THROTTLED, ("AUTH PLAIN",)),
    ],
)
def test_a_refused_login_never_blames_the_mail(answer: str, reason: Reason, extensions: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with ScriptedRelay({"AUTH": [answer]}, extensions=extensions).listening() as relay:
            fault = await faulty(connection_to(relay))
            assert (fault.phase, judge(fault).reason) == (Phase.AUTH, reason)
            assert "secret" not in str(fault)

    asyncio.run(scenario())


def test_no_relay_at_all_is_relay_down() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            pass
        fault = await faulty(connection_to(relay))
        assert (fault.phase, judge(fault).reason) == (Phase.CONNECT, Reason.CONNECTION_LOST)

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
            assert judge(await faulty(connection)).reason is Reason.ADDRESS_REJECTED
            await send(connection)
            assert relay.sessions == 2
            connection.close()

    asyncio.run(scenario())


def test_leases_bound_what_is_open_at_once_and_reuse_it() -> None:
    async def scenario() -> None:
        async with ScriptedRelay().listening() as relay:
            pool = Connections(Relay("127.0.0.1", relay.port, Security.OFF), size=2, local_hostname="worker.test")
            leased: list[Connection] = []

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


class Inbox(MessageHandler):
    """Keeps what a real server (aiosmtpd) received."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[str] = []

    def handle_message(self, message: object) -> None:
        self.received.append(str(message).replace("\r\n", "\n"))


@asynccontextmanager
async def real_server(inbox: Inbox, **options: Any) -> AsyncIterator[int]:
    """The port of an aiosmtpd on this loop; ``ssl`` is TLS from the start, ``tls_context`` is STARTTLS."""
    implicit: ssl.SSLContext | None = options.pop("ssl", None)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: aiosmtpd_smtp.SMTP(inbox, **options), "127.0.0.1", 0, ssl=implicit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def test_a_real_server_gets_the_mail() -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with real_server(inbox) as port:
            pool = Connections(Relay("127.0.0.1", port, Security.OFF), size=1, local_hostname="worker.test")
            async with pool.lease() as connection:
                await send(connection)
                await send(connection)
            pool.close()
        assert len(inbox.received) == 2
        assert f"X-RcptTo: {PERSON}" in inbox.received[0]
        assert "\n.one\n..two\nend\n" in inbox.received[0]

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for ``localhost`` nobody else trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run([*made.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(str(path) + ".crt").read_text())
    return path


@pytest.mark.parametrize("security", [Security.IMPLICIT, Security.STARTTLS])
@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_used_and_its_certificate_verified(certificate: Path, security: Security, trusted: bool) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    ours = ssl.create_default_context(cafile=str(certificate) if trusted else None)
    option = "ssl" if security is Security.IMPLICIT else "tls_context"

    async def scenario() -> None:
        inbox = Inbox()
        async with real_server(inbox, **{option: server_side}) as port:
            relay = Relay("localhost", port, security)
            pool = Connections(relay, size=1, local_hostname="worker.test", tls_context=ours)
            async with pool.lease() as connection:
                if trusted:
                    await send(connection)
                else:
                    fault = await faulty(connection)
                    assert judge(fault).reason is Reason.TLS_FAILED
            pool.close()
        assert len(inbox.received) == trusted

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtps://u:p@h.example", Relay("h.example", 465, Security.IMPLICIT, "u", "p")),
        ("smtp://u:p@h.example:2587", Relay("h.example", 2587, Security.STARTTLS, "u", "p")),
        ("smtp://h.example", Relay("h.example", 587, Security.STARTTLS)),
        ("smtp://localhost:25?tls=off", Relay("localhost", 25, Security.OFF)),
        ("smtp://localhost?tls=off", Relay("localhost", 25, Security.OFF)),
        ("smtp://[::1]:2525?tls=off", Relay("::1", 2525, Security.OFF)),
        ("smtps://a%40b.fr:p%3A%2F%C3%A9@h", Relay("h", 465, Security.IMPLICIT, "a@b.fr", "p:/é")),
    ],
)
def test_smtp_url(url: str, relay: Relay) -> None:
    parsed = parse_smtp_url(url)
    assert parsed == relay
    assert parsed.password == relay.password
    assert (relay.password or "-no-") not in repr(parsed).partition("username")[2].replace(
        "'u'", ""
    ) or not relay.password


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@h",
        "smtp://",
        "smtp://u:hunter2@",
        "smtp://u:hunter2@h:port",
        "smtp://u:hunter2@h:99999",
        "smtp://u:hunter2@h/path",
        "smtp://u:hunter2@h#x",
        "smtp://u:hun/ter2@h",
        "smtp://u:hunter2@h?tls=maybe",
        "smtps://u:hunter2@h?tls=off",
        "smtp://u:hunter2@h?tsl=off",
        "smtp://hunter2@h",
        "smtp://u:hunter2@[h",
    ],
)
def test_a_wrong_smtp_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(NotConfigured) as caught:
        parse_smtp_url(url)
    assert "SMTP_URL" in str(caught.value)
    assert "hun" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_addresses_in_answers_are_masked() -> None:
    answer = "5.1.1 <Anne.Lefevre@client.example>: unknown\r\n(see anne@x.fr)\x1b[31m " + "x" * 400
    shown = masked(answer)
    assert "@" not in shown
    assert "\x1b" not in shown
    assert shown.startswith("5.1.1 <(address)>: unknown (see (address))")
    assert len(shown) == 300


def test_what_is_neither_the_relay_nor_the_network_is_a_bug() -> None:
    assert fault_from(KeyError("x"), Phase.RCPT) is None
    assert fault_from(ValueError("another loop"), Phase.MAIL) is None
    certificate = fault_from(ssl.SSLCertVerificationError("expired"), Phase.TLS)
    assert certificate is not None
    assert certificate.trouble is Trouble.TLS
