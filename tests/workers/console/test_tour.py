"""A morning at the console, with the pictures of docs/ops/console.md taken on the way."""

from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from models.ops_user import Role
from tests.kit.browser.pictures import CONSOLE_PICTURES, Album, album_folder, assert_small
from tests.kit.console.busy_day import beat, fill
from tests.kit.console.scene import make_scene, suppress_zoe
from tests.kit.console.visiting import console, make_user
from tests.workers.console.test_in_browser import browser as browser  # noqa: PLC0414 - a fixture
from tests.workers.console.test_in_browser import opened, sign_in
from workers.database import transaction

pytestmark = pytest.mark.xdist_group("browser")

NULL: Final = {"class": "NotNullViolation", "reason": "", "message": "null value in column locale"}

WINDOW: Final = {"width": 1200, "height": 900}


@pytest.mark.usefixtures("_database")
def test_the_tour_goes_through_the_console(browser: Browser, tmp_path: Path) -> None:
    folder = album_folder(tmp_path)
    album = Album(folder)
    scene = make_scene(12, NULL, "Camille")
    fill("new version of the portal", "null value in column locale")
    with transaction() as session:
        suppress_zoe(session)
    make_user("anne", Role.OPERATOR)
    with console() as site:
        page = opened(browser, site, viewport=WINDOW)
        sign_in(page)
        beat()
        see(page, album, "/ops", "console-now")
        see(page, album, "/ops/queues/enrollments", "console-queue")
        see(page, album, "/ops/errors", "console-errors")
        page.get_by_role("button", name="Retry 12…").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Retry 12 of 12 rows?")
        album.take(page, "console-retry")
        see(page, album, f"/ops/jobs/{scene.dead[0]}", "console-job")
        see(page, album, f"/ops/mails/{scene.failed_mail}", "console-mail")
        see(page, album, f"/ops/people/{scene.account}", "console-person")
        see(page, album, "/ops/history", "console-history")
        page.context.close()
        phone = opened(browser, site, viewport={"width": 360, "height": 740}, color_scheme="dark")
        sign_in(phone)
        beat()
        see(phone, album, "/ops", "console-phone")
        phone.context.close()
    assert tuple(album.taken) == CONSOLE_PICTURES
    assert_small(folder, CONSOLE_PICTURES)


def see(page: Page, album: Album, path: str, name: str) -> None:
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    album.take(page, name)
