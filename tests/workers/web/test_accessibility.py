"""Every page in a browser: axe finds no violation, also at the width of a phone, and all works without scripts."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from models.certificate import group_code, new_verification_code
from models.words import Purpose
from tests.kit.builders.accounts import make_account, make_link
from tests.kit.builders.certificates import certificate, did, graduates
from tests.kit.builders.contracts import someone
from tests.kit.pages.corrections import pending_correction
from tests.kit.processes.support import rows
from tests.kit.system import need
from tests.workers.web.test_certificates import certified, duplicated
from tests.workers.web.test_not_me import attached
from workers.database import transaction
from workers.requests.certificates import CorrectCertificate, RevokeCertificate

pytestmark = pytest.mark.xdist_group("browser")  # one browser serves all of these tests

PHONE = {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[{"width": 1000, "height": 900}, PHONE], ids=["desk", "phone"])
def page(browser: Browser, site: httpx.Client, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Opens a page without its Content-Security-Policy, which would refuse the script of axe."""
    context = browser.new_context(viewport=request.param, base_url=str(site.base_url), locale="fr-FR", bypass_csp=True)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def plain_page(browser: Browser, site: httpx.Client) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False, base_url=str(site.base_url), locale="fr-FR")
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def violations(page: Page) -> list[tuple[str, list[str]]]:
    found: dict[str, Any] = Axe().run(page).response
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]


def looked_at(page: Page) -> None:
    assert violations(page) == []
    width, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room
    assert "<" not in page.title()


def valid() -> str:
    zoe, _, code = certified("Zoé", "W" * 100)
    duplicated(zoe)
    return f"/certificates/{code}"


def corrected() -> str:
    zoe, _, code = certified()
    with transaction() as session:
        did(session, CorrectCertificate(enrollment_id=zoe, last_name="Le Du", reason="accent"))
    return f"/certificates/{code}"


def revoked() -> str:
    zoe, _, code = certified()
    with transaction() as session:
        did(session, RevokeCertificate(enrollment_id=zoe, reason="completed by mistake"))
    return f"/certificates/{code}?lang=en"


def password() -> str:
    with transaction() as session:
        return f"/links/{make_link(session, make_account(session), purpose=Purpose.ACTIVATION)[1]}"


PAGES: dict[str, Callable[[], str]] = {
    "ask": lambda: "/certificates",
    "mistyped": lambda: "/certificates?code=ABC",
    "unknown": lambda: f"/certificates/{group_code(new_verification_code())}",
    "valid": valid,
    "corrected": corrected,
    "revoked": revoked,
    "password": password,
    "new-address": lambda: pending_correction()[0],
    "old-address": lambda: pending_correction()[1],
    "not-me": lambda: attached()[1],
    "dead-link": lambda: "/links/AZjwwn0-fBGaVT8rjw8qEQ.k1.AAAA",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_clean(page: Page, name: str) -> None:
    page.goto(PAGES[name]())
    looked_at(page)


def test_a_code_is_typed_and_a_file_compared_without_scripts(plain_page: Page, tmp_path: Path) -> None:
    with transaction() as session:
        [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
        code: str = certificate(session, zoe)[2]
    other = tmp_path / "other.pdf"
    other.write_bytes(b"%PDF-1.7 something else")
    plain_page.goto("/certificates")
    plain_page.fill("#code", group_code(code).lower())
    plain_page.click("button")
    assert "Cette attestation est valable" in plain_page.inner_text("main")
    plain_page.set_input_files("#file", other)
    plain_page.click("button")
    assert plain_page.inner_text("[role=status]")
    assert rows("SELECT count(*) FROM certificate_duplicate") == [(0,)]


def test_axe_sees_what_is_wrong(page: Page) -> None:
    page.goto("/certificates")
    page.set_content("<html><body><input><img src=x></body></html>")
    assert {"label", "image-alt", "html-has-lang"} <= {name for name, _ in violations(page)}
