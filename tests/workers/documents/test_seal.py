"""The seal is valid, one changed byte breaks it, and the document stays the same; with a key in a file
or on a device.
"""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pikepdf
import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from pkcs11.util.x509 import decode_x509_certificate
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from models.document import Document
from tests.kit.builders.documents import AT, OUTLOUD, printed
from tests.kit.system import need, run
from workers.documents import seal as seals
from workers.documents.renderer import render
from workers.documents.seal import Sealer
from workers.errors import NotConfigured
from workers.settings import Settings

SOFTHSM = next(
    (path for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"))
     if path.exists()), None
)  # fmt: skip
PASSWORD = "secret de test"


@cache
def key() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Formation Pro, cachet")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(True, True, False, False, False, True, False, False, False), critical=True)
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    return private, certificate


@pytest.fixture
def file(tmp_path: Path) -> Path:
    private, certificate = key()
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    path = tmp_path / "cachet.p12"
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"cachet", private, certificate, None, encryption))
    return path


def settings(**more: str) -> Settings:
    return Settings(database_url="x", redis_url="redis://localhost", **more)  # type: ignore[arg-type]


def document() -> bytes:
    return render(printed(), Document.ATTESTATION, "fr", logos={}, timestamp=AT)


def sealed(**configured: str) -> bytes:
    sealer = Sealer.from_settings(settings(**configured))
    assert sealer is not None
    return sealer.seal(document())


def judge(pdf: bytes) -> Any:
    [root] = load_certs_from_pemder_data(key()[1].public_bytes(serialization.Encoding.DER))
    signature = PdfFileReader(io.BytesIO(pdf)).embedded_signatures[0]
    return validate_pdf_signature(signature, ValidationContext(trust_roots=[root], allow_fetching=False))


def test_a_seal_is_valid_and_covers_everything(file: Path) -> None:
    judged = judge(sealed(seal_pkcs12=str(file), seal_password=PASSWORD))
    assert judged.intact
    assert judged.valid
    assert judged.trusted
    assert judged.docmdp_ok
    assert judged.coverage.name == "ENTIRE_FILE"


def test_one_changed_byte_breaks_it(file: Path) -> None:
    pdf = bytearray(sealed(seal_pkcs12=str(file), seal_password=PASSWORD))
    place = pdf.index(b"/Producer") if b"/Producer" in pdf else 200
    pdf[place + 1] ^= 1
    assert not judge(bytes(pdf)).intact


def test_it_is_still_pdf_a_and_pdf_ua(file: Path, tmp_path: Path) -> None:
    plain, pdf = document(), sealed(seal_pkcs12=str(file), seal_password=PASSWORD)
    assert pdf.startswith(plain + b"\n")  # the appended part begins on a new line (ISO 19005-2, 6.1.9)
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf)
    run("qpdf", "--check", path)
    with pikepdf.open(path) as opened, opened.open_metadata() as metadata:
        assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"], metadata["pdfuaid:part"]) == ("2", "A", "1")
        field = opened.Root.AcroForm.Fields[0]
        left, bottom, right, top = (float(side) for side in field.Rect)
        crop = [float(side) for side in opened.pages[0].cropbox]
        assert int(field.F) & 0b100111 == 0b100  # printable, and not hidden: ISO 19005-2, 6.3.2
        assert right < crop[0] or left > crop[2] or top < crop[1] or bottom > crop[3]
    # ISO 14289-1, 7.18.1 requires no tag for an annotation outside the page, like this one; the checker reads all.
    asked = f"{OUTLOUD} --no-info --skip FRM-003 {path}".split()
    checked = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("configured", "named"),
    [
        ({"seal_pkcs12": "/nowhere/cachet.p12"}, "SEAL_PKCS12"),
        ({"seal_pkcs12": "{file}", "seal_password": "wrong"}, "SEAL_PKCS12"),
        ({"seal_pkcs12": "{file}", "seal_pkcs11_module": "/x.so"}, "SEAL_PKCS12 and SEAL_PKCS11_MODULE"),
        ({"seal_pkcs11_module": "/x.so", "seal_pkcs11_token": "t"}, "SEAL_PKCS11_KEY, SEAL_PKCS11_PIN"),
        (
            {"seal_pkcs11_module": "/x.so", "seal_pkcs11_token": "t", "seal_pkcs11_key": "k", "seal_pkcs11_pin": "1"},
            "SEAL_PKCS11_MODULE",
        ),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(file: Path, configured: dict[str, str], named: str) -> None:
    given = {name: value.format(file=file) for name, value in configured.items()}
    with pytest.raises(NotConfigured, match=named) as refused:
        sealed(**given)
    assert "wrong" not in str(refused.value)


def test_without_a_key_there_is_no_seal() -> None:
    assert Sealer.from_settings(settings()) is None


def test_a_package_that_is_missing_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyhanko.sign", None)
    with pytest.raises(NotConfigured, match=r"matricule\[seal\]"):
        sealed(seal_pkcs12=str(file), seal_password=PASSWORD)
    assert seals.FIELD == "Matricule"


def test_a_key_in_a_device_seals_as_one_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("softhsm2-util")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    run("softhsm2-util", "--init-token", "--free", "--label", "matricule", "--pin", "1234", "--so-pin", "5678")
    private, certificate = key()
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    run("softhsm2-util", "--import", pem, "--token", "matricule", "--label", "cachet", "--id", "01", "--pin", "1234")
    token = pkcs11.lib(str(SOFTHSM)).get_token(token_label="matricule")
    with token.open(user_pin="1234", rw=True) as session:
        attributes = decode_x509_certificate(certificate.public_bytes(serialization.Encoding.DER))
        session.create_object(
            attributes | {pkcs11.Attribute.TOKEN: True, pkcs11.Attribute.LABEL: "cachet", pkcs11.Attribute.ID: b"\x01"}
        )
    pdf = sealed(
        seal_pkcs11_module=str(SOFTHSM), seal_pkcs11_token="matricule", seal_pkcs11_key="cachet", seal_pkcs11_pin="1234"
    )
    assert judge(pdf).valid
