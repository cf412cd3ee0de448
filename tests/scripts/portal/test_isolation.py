"""A manager who sends identifiers of the other company, in a form or an address, reaches nothing of it."""

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from scripts.portal.settings import SiteSettings
from tests.kit.processes.support import rows
from tests.scripts.portal.conftest import Browser
from workers.database import transaction
from workers.portal_client import Portal
from workers.portals.keys import add_key


def enrollment_of(reference: str) -> str:
    [(found,)] = rows(f"""
        SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id
        WHERE c.reference = '{reference}' ORDER BY e.id LIMIT 1""")
    return str(found)


def test_each_company_sees_its_own_participants(browser: Browser) -> None:
    browser.sign_in("autre")
    html = browser.get("/participants").text
    assert "eva@example.com" in html
    assert "ada@example.com" not in html


def test_the_contract_of_another_company_cannot_be_chosen(manager: Browser) -> None:
    assert manager.post("/formations", {"reference": "C-2"}).status_code == 404
    assert "eva@example.com" not in manager.get("/participants").text


def test_the_job_of_another_company_is_not_found(manager: Browser, settings: SiteSettings) -> None:
    with transaction() as session:
        key = add_key(session, LOCAL_PORTAL_ID, scopes=tuple(Scope)).text
    with Portal(settings.matricule, key=key) as portal:
        job = portal.reset_passwords("C-2", [enrollment_of("C-2")], key="reset-1")
    assert manager.get(f"/demandes/{job.id}").status_code == 404
    assert manager.get("/demandes/nothing").status_code == 404
