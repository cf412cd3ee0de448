"""Progression individuelle: a search, one person's progress, the duplicate of a certificate, duplicates for several."""

import io
import zipfile
from uuid import UUID, uuid4

import pytest

from scripts.portal.outcomes import read_job
from scripts.portal.routes import progression
from scripts.portal.visitors import Visitor
from tests.kit.builders.certificates import complete, did, organisation, training
from tests.kit.processes.support import change, rows
from tests.scripts.portal.acting import done, enrollment, heading, jobs, words, work
from tests.scripts.portal.conftest import Browser, hidden_field
from workers.database import transaction
from workers.portal_client import Job


@pytest.fixture
def graduated(manager: Browser) -> Browser:
    """Lets Ada and Bob complete the training; each has a certificate."""
    with transaction() as session:
        did(session, organisation(), training())
        complete(session, *[UUID(enrollment(name)) for name in ("ada", "bob")], score=87.5, time_spent_seconds=24_000)
    return manager


def test_a_search_that_finds_one_shows_their_progress(graduated: Browser) -> None:
    page = graduated.get("/progression?q=ada@")
    shown = words(page)
    for told in ("1 participant trouvé", "Terminé", "Formation terminée", "87,5 %", "6 h 40", "Attestation", "N° "):
        assert told in shown, told
    assert "Aucun duplicata remis" in shown


def test_a_search_that_finds_several_leads_to_each(manager: Browser) -> None:
    page = manager.get("/progression?q=le+dû")
    assert "3 participants trouvés" in words(page)
    assert page.text.count('href="/progression/') == 3
    assert "Cherchez une personne" in words(manager.get("/progression"))
    for typed in ("x", "eva"):
        assert f"Aucun participant ne correspond à « {typed} »" in words(manager.get(f"/progression?q={typed}"))


def test_a_duplicate_is_numbered_registered_and_opens(graduated: Browser) -> None:
    address = f"/progression/{enrollment('ada')}"
    fields = graduated.hidden(address) | {"document": "attestation"}
    first, second = (graduated.client.post(f"{address}/attestation", data=fields) for _ in range(2))
    assert first.url == second.url
    page = done(graduated, second)
    assert jobs("duplicate_certificates") == 1
    [(number, job)] = rows("SELECT number, job_id FROM certificate_duplicate")
    assert f"Le duplicata {number} est prêt" in words(page)
    assert words(page).count(str(number)) == 2  # the result, and the register
    file = graduated.get(f"/attestations/{job}")
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["content-disposition"].startswith("inline; filename*=UTF-8''")
    assert file.content.startswith(b"%PDF-")
    assert file.headers["content-security-policy"] == "frame-ancestors 'none'"  # else Chrome shows an empty page
    assert file.headers["cache-control"] == "no-store"


def test_a_duplicate_made_while_the_page_is_made_is_in_the_register(
    graduated: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"/progression/{enrollment('ada')}"
    graduated.post(f"{address}/attestation", {}, page=address)
    [(job,)] = rows("SELECT id FROM job WHERE kind = 'duplicate_certificates'")

    def just_ended(visitor: Visitor, job_id: str, *kinds: str) -> Job:
        work()
        return read_job(visitor, job_id, *kinds)

    monkeypatch.setattr(progression, "read_job", just_ended)
    page = graduated.get(f"{address}?demande={job}")
    [(number,)] = rows("SELECT number FROM certificate_duplicate")
    assert words(page).count(str(number)) == 2  # the result, and the register


def test_people_without_a_certificate_have_no_button_but_the_reason(manager: Browser) -> None:
    page = manager.get(f"/progression/{enrollment('ada')}")
    assert "Pas encore d’attestation" in words(page)
    assert "/attestation" not in page.text
    change("UPDATE enrollment SET progress = 'completed', completed_at = now() WHERE id = :id", id=enrollment("bob"))
    assert "L’attestation n’est pas encore délivrée" in words(manager.get(f"/progression/{enrollment('bob')}"))


def test_duplicates_for_several_are_a_zip_and_say_who_has_none(graduated: Browser) -> None:
    page = graduated.post(
        "/participants/attestations", {"enrollment_id": [enrollment(name) for name in ("ada", "bob", "zoe")]}
    )
    assert heading(page) == "Un duplicata peut être préparé pour 2 des 3 personnes sélectionnées"
    shown = words(page)
    assert shown.index("N’ont pas d’attestation, et pourquoi") < shown.index("zoe@example.com")
    assert "La personne n’a pas terminé la formation" in shown
    fields = {name: hidden_field(page.text, name) for name in ("selection", "key")}
    result = done(graduated, graduated.post("/participants/attestations/faire", fields))
    assert heading(result) == "2 duplicatas sont prêts"
    [(job,)] = rows("SELECT id FROM job WHERE kind = 'duplicate_certificates'")
    file = graduated.get(f"/attestations/{job}")
    assert file.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".pdf")]) == 2


def test_a_file_of_another_company_is_not_there(graduated: Browser) -> None:
    address = f"/progression/{enrollment('ada')}"
    done(graduated, graduated.post(f"{address}/attestation", {}, page=address))
    [(job,)] = rows("SELECT id FROM job WHERE kind = 'duplicate_certificates'")
    graduated.sign_in("autre")
    for page in (f"/attestations/{job}", address, f"{address}?demande={job}", f"/attestations/{uuid4()}"):
        assert graduated.get(page).status_code == 404, page


def test_a_file_that_is_kept_no_longer_says_what_to_do(graduated: Browser) -> None:
    address = f"/progression/{enrollment('ada')}"
    done(graduated, graduated.post(f"{address}/attestation", {}, page=address))
    [(job,)] = rows("SELECT id FROM job WHERE kind = 'duplicate_certificates'")
    change("UPDATE certificate_file SET expires_at = now()")
    page = graduated.get(f"/attestations/{job}")
    assert (page.status_code, heading(page)) == (410, "Ce fichier n’est plus disponible")


def test_the_result_of_one_person_is_not_shown_beside_another(graduated: Browser) -> None:
    address = f"/progression/{enrollment('ada')}"
    done(graduated, graduated.post(f"{address}/attestation", {}, page=address))
    [(job,)] = rows("SELECT id FROM job WHERE kind = 'duplicate_certificates'")
    assert graduated.get(f"/progression/{enrollment('bob')}?demande={job}").status_code == 404
