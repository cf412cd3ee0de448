"""The settings name the relay, and mails go to it under TLS, logged in, or not at all; with real servers too."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd import smtp as aiosmtpd_smtp
from aiosmtpd.handlers import Message as MessageHandler

from models.delivery import DeliveryOutcome, DeliveryReason, SmtpPhase, judge_fault
from tests.kit.relay.scripted import (
    PERSON,
    ScriptedRelay,
    connection_to,
    faulty,
    send,
)
from workers.errors import NotConfigured
from workers.mail.pool import SmtpConnections
from workers.mail.relay import Relay, RelaySecurity, parse_smtp_url


def test_starttls_is_required_and_nothing_is_said_without_it() -> None:
    async def scenario() -> None:
        async with ScriptedRelay(extensions=("AUTH PLAIN",)).listening() as relay:
            connection = connection_to(relay, security=RelaySecurity.STARTTLS)
            fault = await faulty(connection)
            assert (fault.phase, judge_fault(fault).outcome) == (SmtpPhase.TLS, DeliveryOutcome.CONFIGURATION)
            assert [command.split(" ")[0] for command in relay.commands] == ["EHLO"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "reason", "extensions"),
    [
        ("535 5.7.8 Authentication failed", DeliveryReason.AUTH_REFUSED, ("AUTH PLAIN",)),
        ("454 4.7.0 Throttling failure: too many logins", DeliveryReason.THROTTLED, ("AUTH PLAIN",)),
    ],
)
def test_a_refused_login_never_blames_the_mail(
    answer: str, reason: DeliveryReason, extensions: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        async with ScriptedRelay({"AUTH": [answer]}, extensions=extensions).listening() as relay:
            fault = await faulty(connection_to(relay))
            assert (fault.phase, judge_fault(fault).reason) == (SmtpPhase.AUTH, reason)
            assert "secret" not in str(fault)

    asyncio.run(scenario())


class Inbox(MessageHandler):
    """Keeps the mails that a real server (aiosmtpd) received."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[str] = []

    def handle_message(self, message: object) -> None:
        self.received.append(str(message).replace("\r\n", "\n"))


@asynccontextmanager
async def real_server(inbox: Inbox, **options: Any) -> AsyncIterator[int]:
    """Runs an aiosmtpd on this loop and yields its port; ``ssl`` is TLS from the start, ``tls_context`` is STARTTLS."""
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
            pool = SmtpConnections(Relay("127.0.0.1", port, RelaySecurity.OFF), size=1, local_hostname="worker.test")
            async with pool.lease() as connection:
                await send(connection)
                await send(connection)
            pool.close()
        assert len(inbox.received) == 2
        assert f"X-RcptTo: {PERSON}" in inbox.received[0]
        assert "\n.one\n..two\nend\n" in inbox.received[0]

    asyncio.run(scenario())


@pytest.mark.parametrize("security", [RelaySecurity.IMPLICIT, RelaySecurity.STARTTLS])
@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_used_and_its_certificate_verified(certificate: Path, security: RelaySecurity, trusted: bool) -> None:
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    ours = ssl.create_default_context(cafile=str(certificate) if trusted else None)
    option = "ssl" if security is RelaySecurity.IMPLICIT else "tls_context"

    async def scenario() -> None:
        inbox = Inbox()
        async with real_server(inbox, **{option: server_side}) as port:
            relay = Relay("localhost", port, security)
            pool = SmtpConnections(relay, size=1, local_hostname="worker.test", tls_context=ours)
            async with pool.lease() as connection:
                if trusted:
                    await send(connection)
                else:
                    fault = await faulty(connection)
                    assert judge_fault(fault).reason is DeliveryReason.TLS_FAILED
            pool.close()
        assert len(inbox.received) == trusted

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtps://u:p@h.example", Relay("h.example", 465, RelaySecurity.IMPLICIT, "u", "p")),
        ("smtp://u:p@h.example:2587", Relay("h.example", 2587, RelaySecurity.STARTTLS, "u", "p")),
        ("smtp://h.example", Relay("h.example", 587, RelaySecurity.STARTTLS)),
        ("smtp://localhost:25?tls=off", Relay("localhost", 25, RelaySecurity.OFF)),
        ("smtp://localhost?tls=off", Relay("localhost", 25, RelaySecurity.OFF)),
        ("smtp://[::1]:2525?tls=off", Relay("::1", 2525, RelaySecurity.OFF)),
        ("smtps://a%40b.fr:p%3A%2F%C3%A9@h", Relay("h", 465, RelaySecurity.IMPLICIT, "a@b.fr", "p:/é")),
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
