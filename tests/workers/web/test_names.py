"""The page of a corrected name: what it shows, its two answers, and what scanners and strangers can do with it."""

import html

import httpx
import pytest
from sqlalchemy import text

from models.words import Purpose
from tests.kit.builders.accounts import make_link
from tests.kit.builders.corrections import participant
from tests.kit.builders.name_corrections import NEW_NAME, OLD_NAME, correct_name, name_token
from tests.kit.pages.corrections import note_title, title
from tests.kit.processes.support import change, rows
from workers.database import transaction
from workers.web.rendering import TEXTS

OLD_FULL, NEW_FULL = " ".join(OLD_NAME), " ".join(NEW_NAME)


def pending(first: str = NEW_NAME[0], last: str = NEW_NAME[1]) -> str:
    """Creates a pending correction; returns the path of its link."""
    with transaction() as session:
        correct_name(session, participant(session), first, last)
        return f"/links/{name_token(session)}"


def name() -> str:
    [(first, last)] = rows("SELECT first_name, last_name FROM account")
    return f"{first} {last}"


def test_the_page_shows_both_names_the_company_and_the_account(site: httpx.Client) -> None:
    link = pending()
    for locale in ("fr", "en"):
        page = site.get(link, params={"lang": locale})
        assert title(page) == TEXTS[locale]["name"]["title"]
        for shown in (OLD_FULL, NEW_FULL, "Acmé", "anne@example.com"):
            assert shown in html.unescape(page.text)
        assert page.text.count("<button") == 2


def test_opening_the_link_changes_nothing(site: httpx.Client) -> None:
    link = pending()
    for _ in range(3):
        assert site.get(link).status_code == site.head(link).status_code == 200
    assert name() == OLD_FULL
    assert rows("SELECT count(*) FROM link WHERE purpose = 'name_confirmation' AND consumed_at IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("answer", ["confirm", "refuse"])
def test_an_answer_is_recorded_once(site: httpx.Client, answer: str) -> None:
    link = pending()
    told = site.post(link, data={"answer": answer})
    assert (told.status_code, title(told)) == (
        200,
        note_title("name_confirmed" if answer == "confirm" else "name_refused"),
    )
    assert name() == (NEW_FULL if answer == "confirm" else OLD_FULL)
    for again in (site.get(link), site.post(link, data={"answer": "confirm"})):
        assert (again.status_code, title(again)) == (410, note_title("used_link_name_confirmation"))
    assert name() == (NEW_FULL if answer == "confirm" else OLD_FULL)


@pytest.mark.parametrize("data", [{}, {"answer": "yes"}, {"answer": ""}, {"password": "x"}])
def test_anything_else_is_no_answer(site: httpx.Client, data: dict[str, str]) -> None:
    link = pending()
    assert site.post(link, data=data).status_code == 400
    assert name() == OLD_FULL


def test_a_hostile_name_is_shown_as_text(site: httpx.Client) -> None:
    link = pending('<img src=x onerror="alert(1)">', "{{ 7*7 }} {old}")
    for page in (site.get(link), site.post(link, data={"answer": "confirm"})):
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "{{ 7*7 }} {old}" in html.unescape(page.text)


def test_a_link_of_another_purpose_confirms_no_name(site: httpx.Client) -> None:
    pending()
    with transaction() as session:
        [(account_id,)] = session.execute(text("SELECT id FROM account")).all()
        _, other = make_link(session, account_id, purpose=Purpose.PASSWORD_RESET)
    assert site.post(f"/links/{other}", data={"answer": "confirm"}).status_code == 422
    assert name() == OLD_FULL


def test_an_erased_person_s_link_is_not_valid(site: httpx.Client) -> None:
    link = pending()
    change("UPDATE name_correction SET state = 'cancelled'")
    assert (site.get(link).status_code, site.post(link, data={"answer": "confirm"}).status_code) == (404, 404)
