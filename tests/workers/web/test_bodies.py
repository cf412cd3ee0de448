"""Bodies posted to pages are read within a time limit, and no file stays open."""

import socket
import tempfile
from typing import Any

import httpx
import pytest
from starlette import formparsers

from models.certificate import group_code
from tests.kit.builders.accounts import make_account, make_link
from tests.kit.builders.certificates import certificate, graduates
from tests.kit.builders.contracts import someone
from workers.database import transaction
from workers.web import forms

PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
MULTIPART = "multipart/form-data; boundary=x"


def page_of_a_certificate() -> str:
    with transaction() as session:
        [zoe] = graduates(session, someone("zoe"))
        return f"/certificates/{group_code(certificate(session, zoe)[2])}"


def page_of_a_link() -> str:
    with transaction() as session:
        return f"/links/{make_link(session, make_account(session))[1]}"


def half_sent(site: httpx.Client, path: str, kind: str, beginning: bytes) -> bytes:
    """Sends the beginning of a body and then nothing; returns the answer until the server closes the connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 9000\r\n\r\n"
    with socket.create_connection((str(site.base_url.host), site.base_url.port or 0), timeout=20) as connection:
        connection.sendall(head.encode() + beginning)
        answered = b""
        while piece := connection.recv(1 << 16):
            answered += piece
    return answered


@pytest.mark.parametrize("of_a_link", [True, False])
def test_a_client_that_sends_half_gets_an_answer_and_is_disconnected(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch, *, of_a_link: bool
) -> None:
    monkeypatch.setattr(forms, "READ_SECONDS", 0.2)
    if of_a_link:
        answer = half_sent(site, page_of_a_link(), forms.FORM_TYPE, b"password=")
    else:
        answer = half_sent(site, page_of_a_certificate(), MULTIPART, PART + b"%PDF")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert "L’envoi n’est pas arrivé à temps".encode() in answer


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (PART + b"cut off", 400),
        (PART + b"a\r\n" + PART + b"b\r\n--x--\r\n", 400),
        (PART.replace(b'"file"', b'"other"') + b"a\r\n--x--\r\n", 400),
        (PART + b"x" * 10_100_000, 413),
        (PART + b"x" * 2_000_000 + b"\r\n--x--\r\n", 200),
    ],
)
def test_no_file_is_left_open(site: httpx.Client, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int) -> None:
    opened: list[tempfile.SpooledTemporaryFile[bytes]] = []

    def remember(**given: Any) -> tempfile.SpooledTemporaryFile[bytes]:
        opened.append(tempfile.SpooledTemporaryFile(**given))  # noqa: SIM115 - whether it is closed is the question
        return opened[-1]

    path = page_of_a_certificate()
    monkeypatch.setattr(formparsers, "SpooledTemporaryFile", remember)
    answer = site.post(path, content=body, headers={"Content-Type": MULTIPART})
    assert answer.status_code == status
    assert [file.closed for file in opened] == [True]
