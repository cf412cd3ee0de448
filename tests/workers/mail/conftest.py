"""Fixtures: a certificate for TLS with relays, and the two sides of TLS that use it."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.system import run


@dataclass(frozen=True)
class TlsSides:
    """The settings of the server, and of a client that trusts its certificate."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creates a key and a certificate for ``localhost`` that no other program trusts."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(path) + ".crt"]
    run("openssl", *made.split(), *names)
    path.write_text(path.read_text() + Path(str(path) + ".crt").read_text())
    return path


@pytest.fixture(scope="session")
def tls(certificate: Path) -> TlsSides:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    return TlsSides(server, ssl.create_default_context(cafile=str(certificate)))
