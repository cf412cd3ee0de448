"""Over TLS the receiver proves the name of the URL, though the connection goes to an address that was judged."""

import ssl
from pathlib import Path

import pytest

from tests.kit.system import run
from tests.kit.webhooks.endpoints import add_endpoint, attempts, make_due, owe, send_due
from tests.kit.webhooks.receiver import Receiver
from workers.webhooks import posting

pytestmark = pytest.mark.usefixtures("fresh_database", "loopback")


@pytest.fixture
def server_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Makes a certificate for localhost that this process trusts; returns the server's side."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    run("openssl", *made.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    monkeypatch.setenv("WEBHOOK_PRIVATE_NETWORKS", "127.0.0.0/8,::1/128")
    posting.trusted.cache_clear()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def test_webhooks_travel_over_tls_on_connections_that_stay_open(server_side: ssl.SSLContext) -> None:
    with Receiver(tls=server_side) as receiver:
        owe(add_endpoint(receiver.url), *(f"enrollment:{n}" for n in range(60)))
        send_due()
    assert attempts() == [(204, None)] * 60
    assert receiver.connections <= 8


def test_a_receiver_with_another_name_is_told_nothing(server_side: ssl.SSLContext) -> None:
    with Receiver(tls=server_side) as receiver:
        owe(add_endpoint(receiver.url.replace("localhost", "127.0.0.1")), "enrollment:1")
        send_due()
    assert attempts() == [(None, "not_connected")]
    assert receiver.received == []


def test_a_certificate_that_nothing_vouches_for_is_refused(
    server_side: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    posting.trusted.cache_clear()
    with Receiver(tls=server_side) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
        make_due()
        send_due()
    assert attempts() == [(None, "not_connected")] * 2
    assert receiver.received == []
