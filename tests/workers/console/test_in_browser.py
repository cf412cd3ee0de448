"""The console in a browser: sign-in, Now and a queue without a violation of axe, in both schemes, wide and narrow."""

import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from models.ops_user import Role
from tests.kit.console.busy_day import beat, fill
from tests.kit.console.visiting import PASSWORD, console, make_user
from tests.kit.processes.support import change, rows
from tests.kit.system import need

pytestmark = pytest.mark.xdist_group("browser")

PATIENCE = 60_000

PAGES = ("/ops", "/ops/queues", "/ops/queues/enrollments", "/ops/system", "/ops/history", "/ops/sessions")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        expect.set_options(timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture
def site(_database: None) -> Iterator[httpx.Client]:
    make_user("anne", Role.ADMIN)
    fill()
    with console() as client:
        yield client


def opened(browser: Browser, site: httpx.Client, **options: Any) -> Page:
    given = {"base_url": str(site.base_url), "locale": "en-GB", "viewport": {"width": 1280, "height": 900}}
    context = browser.new_context(**given | options)
    context.set_default_timeout(PATIENCE)
    return context.new_page()


def sign_in(page: Page) -> None:
    page.goto("/ops")
    page.locator("#name").fill("anne")
    page.locator("#password").fill(PASSWORD)
    page.locator("button.main").click()
    page.wait_for_url("**/ops")


def looked_at(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    width, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width <= room
    cut = """[...document.querySelectorAll('.card')].filter(c => c.scrollWidth > c.clientWidth + 1)
      .map(c => c.innerText.slice(0, 80))"""
    assert (page.url, page.evaluate(cut)) == (page.url, []), "a card cuts off what is in it"
    assert "onerror" not in page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_pages_have_no_fault_that_axe_finds(browser: Browser, site: httpx.Client, width: int, scheme: str) -> None:
    locale = "fr-FR" if width == 320 else "en-GB"
    page = opened(
        *(browser, site), viewport={"width": width, "height": 800}, color_scheme=scheme, locale=locale, bypass_csp=True
    )
    page.goto("/ops/sign-in")
    looked_at(page)
    sign_in(page)
    for path in (*PAGES, f"/ops/history?at={moment_ago()}"):
        beat()
        page.goto(path)
        looked_at(page)
    page.context.close()


def moment_ago() -> str:
    [(at,)] = rows("SELECT to_char(now() - interval '1 min', 'YYYY-MM-DD\"T\"HH24:MI:SS') || '+00:00'")
    return str(at).replace("+", "%2B")


def test_figures_are_refreshed_without_a_reload_until_paused(browser: Browser, site: httpx.Client) -> None:
    page = opened(browser, site)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    sign_in(page)
    waiting = page.locator("#queues tr", has_text="certificates_bulk").locator("td").first
    expect(waiting).to_have_text("38")
    page.locator("#queues a", has_text="certificates_bulk").focus()
    change("DELETE FROM job WHERE queue = 'certificates_bulk' AND id IN (SELECT id FROM job LIMIT 0)")
    change("UPDATE job SET queue = 'certificates' WHERE queue = 'certificates_bulk'")
    row = page.locator("#queues tr", has=page.get_by_role("link", name="certificates", exact=True))
    expect(row.locator("td").first).to_have_text("38")
    expect(page.locator("#queues a:focus")).to_have_text("certificates_bulk")
    page.locator("[data-live-pause]").click()
    expect(page.locator("[data-live-told]")).to_contain_text("Stale since")
    page.locator("[data-live-pause]").click()
    expect(page.locator("[data-live-told]")).to_have_text("")
    change("DELETE FROM ops_session")
    expect(page.locator("[data-live-told]")).to_have_text("The session has ended: reload the page")
    assert faults == []
    page.context.close()


def test_a_queue_is_paused_and_goes_on_without_script(browser: Browser, site: httpx.Client) -> None:
    page = opened(browser, site, java_script_enabled=False)
    sign_in(page)
    page.goto("/ops/queues/emails")
    page.locator("#for").select_option("h8")
    page.locator("#reason").fill("relay is repaired")
    page.get_by_role("button", name="Pause the queue").click()
    expect(page.locator(".result")).to_contain_text("The pause is set")
    expect(page.locator("#pauses-title")).to_be_visible()
    page.locator("#why-1").fill("it is well")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("This queue is not paused.")).to_be_visible()
    page.context.close()
    assert rows("SELECT action, requested_by FROM audit WHERE action LIKE '%queue' ORDER BY id") == [
        ("pause_queue", "ops:anne"),
        ("resume_queue", "ops:anne"),
    ]
