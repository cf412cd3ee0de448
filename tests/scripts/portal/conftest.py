"""Fixtures: the example portal in this process, on the real API, with two companies and their keys."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from scripts.portal.app import make_app
from scripts.portal.settings import CompanyAccess, SiteSettings
from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.processes.serving import serving
from workers.database import transaction
from workers.portals.keys import add_key

SITE = "http://127.0.0.1:8030"
SECRET = "a secret of the tests that signs sessions"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

MANAGER_SCOPES = (Scope.READ, Scope.ENROLL, Scope.ACCOUNTS, Scope.CERTIFICATES)
LEARNER_SCOPES = (Scope.SIGN_IN, Scope.READ, Scope.PROGRESS, Scope.CERTIFICATES)

Answer = Any
"""An answer of the site, as the test client gives it."""


class Browser:
    """A browser without script: it keeps cookies, follows redirects, and sends the hidden fields of forms."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, url: str, **options: Any) -> Answer:
        return self.client.get(url, **options)

    def sign_in(self, company: str) -> Answer:
        """Signs in as the manager of a company."""
        return self.post("/connexion", {"company": company}, page="/connexion")

    def post(self, url: str, fields: dict[str, Any], *, page: str = "/participants", **options: Any) -> Answer:
        """Sends a form to an address, with the hidden fields of the first form on a page."""
        return self.client.post(url, data=self.hidden(page) | fields, **options)

    def hidden(self, page: str = "/participants") -> dict[str, str]:
        """Returns the fields that each form of a page has, with a fresh key."""
        html = self.get(page).text
        fields = {name: hidden_field(html, name) for name in ("csrf", "contract") if f'name="{name}"' in html}
        return fields | {"key": str(uuid4())}


def hidden_field(html: str, name: str) -> str:
    """Returns the value of the first hidden field with a name."""
    found = re.search(f'<input type="hidden" name="{name}" value="([^"]*)">', html)
    assert found is not None, f"no field {name}"
    return unescape(found[1])


@pytest.fixture
def contracts(fresh_database: str) -> None:
    """Makes a contract of two companies each; C-1 of `acme` has three participants, C-2 of `autre` has one."""
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C-2", company="autre")
        enrolled(session, "ada", "bob", "zoe")
        enrolled(session, "eva", contract="C-2")


@pytest.fixture
def matricule(fresh_database: str) -> Iterator[str]:
    """Serves the API; returns the URL of ``/v1``."""
    with serving() as client:
        yield f"{str(client.base_url).rstrip('/')}/v1"


def make_settings(url: str, first: str = "acme") -> SiteSettings:
    """Returns the settings of a site with keys of its own: each company's is limited to it."""
    with transaction() as session:
        keys = [add_key(session, LOCAL_PORTAL_ID, scopes=MANAGER_SCOPES, companies=[one]) for one in (first, "autre")]
        learner = add_key(session, LOCAL_PORTAL_ID, scopes=LEARNER_SCOPES)
    companies = (
        CompanyAccess(first, "Atelier du Bocage", "Claire Aubrac", keys[0].text),
        CompanyAccess("autre", "Cabinet Ferrand", "Hugo Ferrand", keys[1].text),
    )
    return SiteSettings(url, SECRET, companies, learner.text, "Horizon", "aide@horizon.test", (WEBHOOK_SECRET,))


@pytest.fixture
def settings(contracts: None, matricule: str) -> SiteSettings:
    """Makes the settings of a site on the served API."""
    return make_settings(matricule)


@pytest.fixture
def browser(settings: SiteSettings) -> Iterator[Browser]:
    """Opens a browser without a session."""
    with TestClient(make_app(settings), base_url=SITE, raise_server_exceptions=False) as client:
        yield Browser(client)


@pytest.fixture
def manager(browser: Browser) -> Browser:
    """Signs in as the manager of `acme`."""
    assert browser.sign_in("acme").status_code == 200
    return browser


def away_from(settings: SiteSettings) -> SiteSettings:
    """Returns the settings of a site that reaches no Matricule."""
    return settings._replace(matricule="http://127.0.0.1:1/v1")
