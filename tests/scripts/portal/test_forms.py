"""Forms: another site's are refused, and so are those of another browser or of another contract."""

from uuid import uuid4

import pytest

from scripts.portal.held import HeldForm
from tests.kit.builders.contracts import add_contract
from tests.scripts.portal.conftest import SITE, Browser
from workers.database import transaction

CHOOSE = {"reference": "C-1"}


@pytest.fixture
def fields(manager: Browser) -> dict[str, str]:
    """Returns a form of ours that changes nothing."""
    return manager.hidden() | CHOOSE


def test_a_form_of_another_site_is_refused(manager: Browser, fields: dict[str, str]) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ):
        answer = manager.client.post("/formations", data=fields, headers=headers)
        assert answer.status_code == 403
        assert "ne venait pas de nos pages" in answer.text
        assert 'name="reference"' not in answer.text


def test_a_form_of_ours_is_taken(manager: Browser, fields: dict[str, str]) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": SITE}
    assert manager.client.post("/formations", data=fields, headers=headers).url.path == "/participants"


def test_a_form_without_our_token_is_refused(manager: Browser, fields: dict[str, str]) -> None:
    for token in (
        "",
        "x",
        "é",
        "0" * 64,
    ):
        answer = manager.client.post("/formations", data=fields | {"csrf": token})
        assert answer.status_code == 403
        assert "ouverte depuis trop longtemps" in answer.text


def test_a_token_belongs_to_one_browser(manager: Browser, fields: dict[str, str]) -> None:
    manager.client.cookies.delete("visite")
    manager.client.cookies.set("visite", "another")
    assert manager.client.post("/formations", data=fields).status_code == 403


def test_a_form_of_an_old_tab_does_not_reach_another_contract(manager: Browser, fields: dict[str, str]) -> None:
    with transaction() as session:
        add_contract(session, "C-3")
    manager.post("/formations", {"reference": "C-3"})
    answer = manager.client.post("/formations", data=fields)
    assert answer.status_code == 403
    assert "changé de formation dans un autre onglet" in answer.text


def test_a_key_is_one_of_ours(manager: Browser, fields: dict[str, str]) -> None:
    for key in (
        "",
        "short",
        "a" * 65,
        "a key with spaces and more",
        "clé-clé-clé-clé-clé",
        "a\r\nb" * 8,
    ):
        assert manager.client.post("/formations", data=fields | {"key": key}).status_code == 400


def test_a_form_that_is_too_large_is_not_read(manager: Browser, fields: dict[str, str]) -> None:
    answer = manager.client.post("/formations", data=fields | {"note": "x" * 1_000_001})
    assert answer.status_code == 400


def test_a_form_without_length_or_of_another_kind_is_refused(manager: Browser) -> None:
    pieces = iter([b"csrf=", b"x"])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert manager.client.post("/formations", content=pieces, headers=headers).status_code == 400
    assert manager.client.post("/formations", json={"csrf": str(uuid4())}).status_code == 403
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    assert manager.client.post("/formations", content=b"--y\r\n", headers=broken).status_code in (400, 403)


@pytest.mark.parametrize("encoding", ["utf-7", "utf-16", "cp037", "nonsense", "rot13"])
def test_a_form_in_another_encoding_breaks_no_page(browser: Browser, encoding: str) -> None:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"key": str(uuid4()), "first_name": "+2AA-"}.items()
    )
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={encoding}"}
    answer = browser.client.post("/participants/ajout", content=f"{parts}--b--\r\n".encode(), headers=headers)
    assert answer.status_code < 500


def test_a_kept_form_with_half_of_a_character_is_dropped() -> None:
    assert HeldForm.of_text('["/participants", [["first_name", "\\ud800"]], false]') is None
    assert HeldForm.of_text('["/participants", [["first_name", "\\u00e9"]], false]') == HeldForm(
        "/participants", [("first_name", "é")], lost_file=False
    )
