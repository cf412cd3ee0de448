"""Sessions of managers: they end, cannot be forged, and lead back to where the manager was."""

import re
from html import unescape

import pytest

from scripts.portal import sessions
from tests.scripts.portal.conftest import Browser, hidden_field


def test_a_page_leads_to_the_sign_in_and_back(browser: Browser) -> None:
    asked = browser.get("/participants?filtre=completed")
    assert asked.url.path == "/connexion"
    after = hidden_field(asked.text, "after")
    assert after == "/participants?filtre=completed"
    answer = browser.post("/connexion", {"company": "acme", "after": after}, page="/connexion")
    assert str(answer.url).endswith(after)


def test_the_cookie_is_closed_to_scripts_and_other_sites(browser: Browser) -> None:
    fields = browser.hidden("/connexion")
    answer = browser.client.post("/connexion", data=fields | {"company": "acme"}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert re.search("gestion=.*HttpOnly", cookie)
    assert "samesite=lax" in cookie.lower()


def test_a_company_that_is_not_there_has_no_door(browser: Browser) -> None:
    assert browser.post("/connexion", {"company": "nobody"}, page="/connexion").status_code == 404
    assert browser.get("/participants").url.path == "/connexion"


def test_a_forged_cookie_is_no_session(browser: Browser) -> None:
    for cookie in ("", "x", "e30.x.y", "eyJjb21wYW55IjoiYWNtZSJ9.aXYnAA.AAAAAAAAAAAAAAAAAAAAAAAAAAA"):
        browser.client.cookies.set("gestion", cookie)
        assert browser.get("/participants").url.path == "/connexion"


def test_a_session_of_the_learner_opens_no_page_of_a_manager(browser: Browser) -> None:
    browser.sign_in("acme")
    signed = browser.client.cookies["gestion"]
    browser.client.cookies.clear()
    browser.client.cookies.set("apprenant", signed)
    browser.client.cookies.set("gestion", "")
    assert browser.get("/participants").url.path == "/connexion"


def test_signing_out_ends_the_session(manager: Browser) -> None:
    assert manager.post("/deconnexion", {}).url.path == "/connexion"
    assert manager.get("/participants").url.path == "/connexion"


def test_an_ended_session_says_so(manager: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LASTS_SECONDS", -1)
    answer = manager.get("/participants")
    assert answer.url.path == "/connexion"
    assert "Votre session a expiré" in answer.text


def test_what_was_typed_is_there_after_the_session_has_ended(manager: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = manager.hidden() | {"reference": "C-1", "note": "<b>Zoë & Cie</b>", "password": "geheim"}
    with monkeypatch.context() as patched:
        patched.setattr(sessions, "LASTS_SECONDS", -1)
        ended = manager.client.post("/formations", data=fields)
    assert ended.status_code == 401
    assert "Rien n’est perdu" in ended.text
    assert "geheim" not in ended.text
    again = {name: hidden_field(ended.text, name) for name in ("csrf", "key", "held")}
    resumed = manager.client.post("/connexion", data=again | {"company": "acme"})
    assert 'action="/formations"' in resumed.text
    assert hidden_field(resumed.text, "note") == "<b>Zoë & Cie</b>"
    assert hidden_field(resumed.text, "key") == fields["key"]
    sent = {name: unescape(value) for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', resumed.text)}
    assert manager.client.post("/formations", data=sent).url.path == "/participants"
