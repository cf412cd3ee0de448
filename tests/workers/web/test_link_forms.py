"""The form for a password shows each error beside its field; other bodies and large ones are refused."""

import re
import socket

import httpx
import pytest

from models.words import Code
from tests.kit.builders.accounts import PASSWORD
from tests.kit.pages.links import (
    GOOD,
    field,
    make,
    password_hash,
    title,
)
from workers.access import hashing
from workers.access.passwords import HASHER
from workers.web import passwords
from workers.web.forms import MAX_BODY, MAX_DISCARDED
from workers.web.rendering import TEXTS


def test_garbage_costs_no_hash(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(passwords, "hash_password", hashed.append)
    make()
    assert site.post(f"/links/{'A' * 64}", data=GOOD).status_code == 404
    assert hashed == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"password": "", "again": ""}, Code.PASSWORD_TOO_SHORT),
        ({"password": "court", "again": "court"}, Code.PASSWORD_TOO_SHORT),
        ({"password": "x" * 257, "again": "x" * 257}, Code.PASSWORD_TOO_LONG),
        ({"password": PASSWORD, "again": PASSWORD + "!"}, Code.PASSWORDS_DIFFER),
        ({"password": PASSWORD, "again": ""}, Code.PASSWORDS_DIFFER),
        ({"password": "1234567890azerty", "again": "1234567890azerty"}, Code.PASSWORD_TOO_COMMON),
        ({"password": "Élodie Durand 123", "again": "Élodie Durand 123"}, Code.PASSWORD_TOO_PERSONAL),
        ({"password": "elodie@acme.test", "again": "elodie@acme.test"}, Code.PASSWORD_TOO_PERSONAL),
    ],
)
def test_an_error_is_shown_beside_its_field(site: httpx.Client, fields: dict[str, str], code: Code) -> None:
    path = make()
    answer = site.post(path, data=fields)
    assert answer.status_code == 422
    assert title(answer).startswith("Erreur\u00a0: ")
    tag = field(answer, "password")
    assert 'aria-invalid="true" autofocus' in tag
    described = re.search('aria-describedby="([^"]*)"', tag)
    assert described
    assert described[1].split()[0] == "password-error"
    assert all(f'id="{name}"' in answer.text for name in described[1].split())
    assert '<a href="#password">' in answer.text
    assert 'role="alert"' in answer.text
    assert answer.text.count("aria-invalid") == answer.text.count("autofocus") == 1
    assert "value=" not in field(answer, "password") + field(answer, "again")
    assert PASSWORD not in answer.text
    shown = TEXTS["fr"]["errors"][code].format(shortest=15, longest=256)
    assert answer.text.count(shown) == 2
    assert password_hash() is None
    assert site.post(path, data=GOOD).status_code == 200


@pytest.mark.parametrize("bytes_", ["%ED%A0%80", "%FF", "\udcff"])
def test_characters_no_keyboard_sends_are_refused_by_name(site: httpx.Client, bytes_: str) -> None:
    encoded = f"quatre+mots+bien+longs+{bytes_}".encode("utf-8", "surrogateescape")
    body = b"password=" + encoded + b"&again=" + encoded
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    answer = site.post(make(), content=body, headers=headers)
    assert answer.status_code == 422
    assert TEXTS["fr"]["errors"]["unsafe_value"] in answer.text
    assert password_hash() is None


def test_the_longest_password_fits(site: httpx.Client) -> None:
    password = "".join(chr(0x1F300 + 3 * number) for number in range(256))
    assert site.post(make(), data={"password": password, "again": password}).status_code == 200
    assert HASHER.verify(password, str(password_hash()))


@pytest.mark.parametrize("size", [MAX_BODY + 1, 300_000, MAX_DISCARDED])
def test_an_oversized_body_is_answered(site: httpx.Client, size: int) -> None:
    path = make()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    declared = site.post(path, content=b"password=" + b"x" * (size - 9), headers=form)
    streamed = site.post(path, content=iter([b"password=", b"x" * (size - 9)]), headers=form)
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert TEXTS["fr"]["notes"]["request_too_large"]["title"] in declared.text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"password": "quatre mots bien longs"}', "application/json"),
        (b"password=x&again=x", "text/plain"),
        (b"&".join(b"f%d=1" % number for number in range(100)), "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_is_no_form_is_refused(site: httpx.Client, body: bytes, kind: str) -> None:
    assert site.post(make(), content=body, headers={"Content-Type": kind}).status_code == 400
    assert password_hash() is None


def test_when_too_many_wait_people_are_asked_to_come_back(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    monkeypatch.setattr(hashing, "HASHES_WAITING", 0)
    answer = site.post(path, data=GOOD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert password_hash() is None


def test_a_browser_that_disconnects_disturbs_no_other_client(site: httpx.Client) -> None:
    path = make()
    with socket.create_connection((site.base_url.host, site.base_url.port or 80)) as leaving:
        leaving.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\npassword=".encode()
        )
    assert site.post(path, data=GOOD).status_code == 200
