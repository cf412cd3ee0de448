"""The pages on rows in a browser: no violation of axe, wide and narrow, and each chief action without script."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from models.ops_user import Role
from tests.kit.builders.imports import close_open_files, drop, file_of, work
from tests.kit.console.scene import Scene, make_scene, suppress_zoe
from tests.kit.console.visiting import console, make_user
from tests.kit.processes.support import change, rows
from tests.workers.console.test_in_browser import browser as browser  # noqa: PLC0414 - a fixture
from tests.workers.console.test_in_browser import looked_at, opened, sign_in
from workers.database import transaction
from workers.ops.actions_parts import carry_out_part

pytestmark = pytest.mark.xdist_group("browser")

RELEASES = """
    INSERT INTO release_run (release, first_seen_at, last_seen_at)
    VALUES ('1.0', now() - interval '9 days', now()), ('1.1', now() - interval '1 hour', now())"""


@pytest.fixture
def scene(_database: None) -> Scene:
    made = make_scene(12)
    drop(file_of("ana", "nobody@"), name="équipe.csv")
    work()
    close_open_files()
    change(RELEASES)
    make_user("anne", Role.ADMIN)
    return made


@pytest.fixture
def site(scene: Scene) -> Iterator[httpx.Client]:
    with console() as client:
        yield client


def act(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).first.click()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (320, "light")])
def test_pages_on_rows_have_no_fault_that_axe_finds(
    browser: Browser, site: httpx.Client, scene: Scene, width: int, scheme: str
) -> None:
    with transaction() as session:
        suppress_zoe(session)
    [[job]] = rows("SELECT job_id FROM roster")
    locale = "fr-FR" if width == 320 else "en-GB"
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "locale": locale}
    page = opened(browser, site, bypass_csp=True, **options)
    sign_in(page)
    for path in (
        *("/ops/jobs", "/ops/jobs?state=dead&kind=enroll", "/ops/jobs?since=x", "/ops/errors", "/ops/mails"),
        *(
            "/ops/mails?to=zoe@example.com",
            "/ops/people",
            "/ops/people?q=nina@example.com",
            "/ops/actions",
            "/ops/files",
        ),
        *(f"/ops/jobs/{one}" for one in (scene.done, scene.dead[0], scene.dead[-1], scene.refused)),
        *(f"/ops/mails/{scene.mail}", f"/ops/mails/{scene.failed_mail}", f"/ops/people/{scene.account}"),
        f"/ops/files/{job}",
    ):
        page.goto(path)
        looked_at(page)
    page.goto("/ops/errors")
    page.locator("button[value=retry]").last.click()
    looked_at(page)
    page.goto("/ops/errors")
    page.locator("form:has(input[value^=Operational]) button[value=retry]").click()
    looked_at(page)
    page.context.close()


def test_an_error_is_retried_as_it_was_shown_and_undone(browser: Browser, site: httpx.Client) -> None:
    page = opened(browser, site, java_script_enabled=False)
    sign_in(page)
    page.goto("/ops/errors")
    act(page, "Retry 12…")
    expect(page.get_by_role("heading", level=1)).to_have_text("Retry 12 of 12 rows?")
    page.locator("#reason").fill("the database is back")
    act(page, "Retry 12 rows")
    expect(page.locator("h1 + .tag")).to_have_text("running")
    assert carry_out_part()
    page.reload()
    expect(page.locator(".pairs dd").first).to_have_text("12")
    page.locator("#reason").fill("too early")
    act(page, "Undo this action")
    assert carry_out_part()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo, 12 rows")
    page.context.close()
    assert rows("SELECT count(*) FROM job WHERE state = 'dead'") == [(13,)]


def test_ticked_jobs_are_dismissed(browser: Browser, site: httpx.Client, scene: Scene) -> None:
    page = opened(browser, site, java_script_enabled=False)
    sign_in(page)
    page.goto("/ops/jobs?state=dead")
    for one in scene.dead[:2]:
        page.locator(f"input[value='{one}']").check()
    page.locator(".bar button[value=dismiss]").click()
    act(page, "Dismiss 2 rows")
    assert carry_out_part()
    page.goto(f"/ops/jobs/{scene.dead[0]}")
    expect(page.get_by_text("dismissed", exact=True)).to_be_visible()
    page.context.close()
    assert rows("SELECT count(*) FROM job WHERE dismissed_at IS NOT NULL") == [(2,)]


def test_a_mail_is_read_in_its_frame_and_sent_again(browser: Browser, site: httpx.Client, scene: Scene) -> None:
    page = opened(browser, site)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    sign_in(page)
    page.goto(f"/ops/mails/{scene.mail}")
    page.get_by_role("link", name="Show the text").click()
    expect(page.frame_locator(".letter").get_by_text("Votre formation vous attend")).to_be_visible()
    expect(page.frame_locator(".letter").get_by_text("/links/token-not-shown")).to_be_visible()
    page.goto(f"/ops/mails/{scene.failed_mail}")
    act(page, "Send again")
    expect(page.locator(".result strong")).to_have_text("Done")
    expect(page.locator(".result")).to_be_focused()
    page.context.close()
    assert faults == []
    assert rows("SELECT state FROM email WHERE id = :id", id=scene.failed_mail) == [("owed",)]


def test_one_value_is_shown_and_a_suppression_lifted(browser: Browser, site: httpx.Client, scene: Scene) -> None:
    with transaction() as session:
        suppress_zoe(session)
    page = opened(browser, site, java_script_enabled=False)
    sign_in(page)
    page.goto("/ops/people")
    page.locator("#person").fill("zoe@example.com")
    act(page, "Search")
    assert page.url.endswith(str(scene.account))
    act(page, "Show the address")
    expect(page.locator(".value")).to_have_text("zoe@example.com")
    page.get_by_role("link", name="Go back").click()
    expect(page.get_by_text("zoe@example.com")).to_have_count(0)
    act(page, "Lift the suppression")
    expect(page.locator(".result strong")).to_have_text("The address gets mails again")
    page.context.close()


def test_an_import_is_undone(browser: Browser, site: httpx.Client) -> None:
    page = opened(browser, site, java_script_enabled=False)
    sign_in(page)
    page.goto("/ops/files")
    page.get_by_role("link", name="équipe.csv").click()
    act(page, "Undo the import")
    expect(page.locator(".result strong")).to_have_text("The withdrawal is asked for")
    page.context.close()
    assert rows("SELECT count(*) FROM job WHERE kind = 'undo_import'") == [(1,)]
