"""Matricule is away: a page says so in plain words, and nothing that was typed is lost."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from scripts.portal import companies
from scripts.portal.app import make_app
from scripts.portal.headers import SECURITY
from scripts.portal.settings import SiteSettings
from tests.scripts.portal.conftest import SITE, Browser, away_from, hidden_field


@pytest.fixture
def lost(manager: Browser, settings: SiteSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Opens the same browser on a site that reaches no Matricule."""
    monkeypatch.setattr(companies, "PATIENCE_SECONDS", 0.0)
    fields = dict(manager.client.cookies)
    with TestClient(make_app(away_from(settings)), base_url=SITE, raise_server_exceptions=False) as client:
        for name, value in fields.items():
            client.cookies.set(name, value)
        yield Browser(client)


def test_a_page_loads_itself_again(lost: Browser) -> None:
    answer = lost.get("/participants")
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["refresh"]) == (503, "10", "10")
    assert "Le service ne répond pas pour le moment" in answer.text
    assert "Aucune de vos demandes n’est perdue" in answer.text


def test_a_form_is_kept_with_its_key(lost: Browser, manager: Browser) -> None:
    fields = manager.hidden() | {"reference": "C-1", "note": "Zoë"}
    answer = lost.client.post("/formations", data=fields)
    assert (answer.status_code, "refresh" in answer.headers) == (503, False)
    assert "la demande ne sera faite qu’une fois" in answer.text
    assert [hidden_field(answer.text, name) for name in ("key", "note")] == [fields["key"], "Zoë"]
    assert 'action="/formations"' in answer.text


def test_signing_in_waits_too(lost: Browser) -> None:
    lost.client.cookies.delete("gestion")
    assert lost.sign_in("acme").status_code == 503


def test_a_key_that_was_revoked_is_told(contracts: None, matricule: str, settings: SiteSettings) -> None:
    wrong = [one._replace(key=settings.learner_key) for one in settings.companies]
    lacking = settings._replace(companies=tuple(wrong), learner_key=settings.companies[0].key)
    with TestClient(make_app(lacking), base_url=SITE, raise_server_exceptions=False) as client:
        browser = Browser(client)
        assert browser.sign_in("acme").status_code == 200  # this key may read as well


def test_a_page_that_is_not_there_says_so(manager: Browser) -> None:
    for answer in (manager.get("/rien"), manager.client.post("/participants")):
        assert answer.status_code in (404, 405)
        assert "Cette page n’existe pas" in answer.text


def test_a_fault_of_the_site_is_told_without_a_trace(manager: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of the site")

    monkeypatch.setattr("scripts.portal.listing.Listing.read", fail)
    answer = manager.get("/participants")
    assert answer.status_code == 500
    assert "Un incident est survenu de notre côté" in answer.text
    assert "secret" not in answer.text


def test_a_fault_has_the_guard_of_every_page(manager: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("scripts.portal.listing.Listing.read", fail)
    answer = manager.get("/participants")
    guarded = {name: answer.headers.get(name) for name in SECURITY}
    assert guarded == dict(SECURITY)


def test_a_fault_before_a_form_was_read_is_told_too(manager: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    fields = manager.hidden() | {"reference": "C-1"}
    monkeypatch.setattr("scripts.portal.routes.signing_in.signed_in", fail)
    answer = manager.client.post("/formations", data=fields)
    assert answer.status_code == 500
    assert "Un incident est survenu de notre côté" in answer.text
