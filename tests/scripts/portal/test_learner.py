"""The learner's side: sign in, take the training, fetch one's own certificate, and nothing of another person."""

import re
from uuid import UUID

import pytest

from models.password import FREE_TRIES
from scripts.portal.learners import Learner
from tests.kit.builders.accounts import PASSWORD
from tests.kit.builders.certificates import did, organisation, training
from tests.kit.processes.support import change, rows
from tests.scripts.portal.acting import enrollment, heading, jobs, words, work
from tests.scripts.portal.conftest import Answer, Browser
from workers.access.passwords import hash_password
from workers.database import transaction
from workers.portal_client import Job

SIGN_IN = "/apprenant/connexion"


@pytest.fixture
def activated(browser: Browser) -> Browser:
    """Ada and Eva have chosen a password."""
    with transaction() as session:
        did(session, organisation(), training())
    change(
        "UPDATE account SET activated_at = now(), password_hash = :hash WHERE email_norm LIKE 'ada%' OR email_norm LIKE"
        " 'eva%'",
        hash=hash_password(PASSWORD),
    )
    return browser


def signed_in(browser: Browser, name: str = "ada", password: str = PASSWORD) -> Answer:
    fields = {"email": f"{name}@example.com", "password": password}
    return browser.post(SIGN_IN, fields, page=SIGN_IN)


@pytest.fixture
def ada(activated: Browser) -> Browser:
    """Signs Ada in."""
    assert heading(signed_in(activated)) == "Mes formations"
    return activated


def training_of(name: str = "ada", contract: str = "C-1") -> str:
    return f"/apprenant/formations/{enrollment(name, contract)}"


def report(browser: Browser, word: str, address: str) -> Answer:
    return browser.post(address, {"progress": word}, page=address)


def test_a_learner_sees_the_training_and_reports_progress(ada: Browser) -> None:
    assert "Non commencé" in words(ada.get("/apprenant"))
    address = training_of()
    page = report(ada, "in_progress", address)
    assert "Votre progression s’enregistre" in words(page)
    assert page.headers["refresh"] == "1"
    work()
    page = ada.get(str(page.url))
    assert "En cours" in words(page)
    assert "refresh" not in page.headers
    assert "Commencer" not in words(page)
    page = report(ada, "completed", address)
    work()
    assert "Bravo, formation terminée" in words(ada.get(str(page.url)))
    assert rows("SELECT progress FROM enrollment WHERE id = :id", id=enrollment("ada")) == [("completed",)]


def test_progress_that_is_recorded_while_the_page_is_made_is_on_it(
    ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = report(ada, "completed", training_of())
    asked = Learner.job

    def just_ended(self: Learner, job_id: str, kind: str, enrollment_id: UUID | None = None) -> Job:
        work()
        return asked(self, job_id, kind, enrollment_id)

    monkeypatch.setattr(Learner, "job", just_ended)
    page = ada.get(str(page.url))
    assert "Bravo, formation terminée" in words(page)
    assert "J’ai terminé" not in words(page)


def test_a_learner_fetches_their_own_certificate(ada: Browser) -> None:
    address = training_of()
    report(ada, "completed", address)
    work()
    work()
    page = ada.post(f"{address}/attestation", {}, page=address)
    work()
    page = ada.get(str(page.url))
    assert "Votre attestation est prête" in words(page)
    [link] = re.findall(r'href="(/apprenant/attestations/[^"]+)"', page.text)
    file = ada.get(link)
    assert file.content.startswith(b"%PDF-")
    signed_in(ada, "eva")
    assert ada.get(link).status_code == 404
    assert ada.get(str(page.url)).status_code == 404


def test_a_second_click_reports_once(ada: Browser) -> None:
    address = training_of()
    fields = ada.hidden(address) | {"progress": "completed"}
    first = ada.client.post(address, data=fields)
    second = ada.client.post(address, data=fields)
    assert (first.status_code, second.status_code, jobs("record_progress")) == (200, 200, 1)


def test_a_training_of_another_person_is_not_there(ada: Browser) -> None:
    theirs = training_of("eva", "C-2")
    assert ada.get(theirs).status_code == 404
    assert ada.post(theirs, {"progress": "completed"}, page="/apprenant").status_code == 404
    assert ada.post(f"{theirs}/attestation", {}, page="/apprenant").status_code == 404
    assert jobs("record_progress") == jobs("duplicate_own_certificate") == 0


def test_a_job_of_another_person_is_not_there(ada: Browser) -> None:
    page = report(ada, "completed", training_of())
    work()
    signed_in(ada, "eva")
    job = page.url.params["suivi"]
    assert ada.get(f"{training_of('eva', 'C-2')}?suivi={job}").status_code == 404
    assert ada.get(f"{training_of('eva', 'C-2')}?suivi=x").status_code == 404


def test_a_wrong_password_and_an_account_without_one_are_told_plainly(activated: Browser) -> None:
    for name, password in (("ada", "wrong"), ("bob", PASSWORD), ("nobody", "x")):
        page = signed_in(activated, name, password)
        assert page.status_code == 422
        assert "L’adresse ou le mot de passe n’est pas le bon" in words(page)
        assert "votre compte n’est pas activé" in words(page)
        assert "Recevoir un lien pour choisir un mot de passe" in words(page)
        assert password not in page.text.replace("x", "") or password == "x"
        assert f'value="{name}@example.com"' in page.text


def test_too_many_tries_say_until_when(activated: Browser) -> None:
    for _ in range(FREE_TRIES + 1):
        page = signed_in(activated, "ada", "wrong")
    assert "la connexion est bloquée jusqu’à" in words(page)


def test_an_empty_form_counts_as_no_try(activated: Browser) -> None:
    page = signed_in(activated, "ada", "")
    assert "Il manque l’adresse ou le mot de passe" in words(page)


def test_a_forgotten_password_is_answered_alike_for_all(activated: Browser) -> None:
    address = "/apprenant/mot-de-passe-oublie"
    pages = [
        activated.post(address, {"email": f"{name}@example.com"}, page=address) for name in ("ada", "bob", "nobody")
    ]
    assert {heading(page) for page in pages} == {"Consultez votre messagerie"}
    assert jobs("request_password_reset") == 3
    assert activated.post(address, {"email": "x"}, page=address).status_code == 422


def test_without_a_session_one_signs_in_and_comes_back(activated: Browser) -> None:
    address = training_of()
    page = activated.get(address)
    assert page.url.path == SIGN_IN
    fields = {"email": "ada@example.com", "password": PASSWORD, "after": page.url.params["suite"]}
    assert activated.post(SIGN_IN, fields, page=SIGN_IN).url.path == address
    for elsewhere in ("https://evil.example/", "//evil.example", "/participants", "/apprenantx"):
        assert activated.post(SIGN_IN, fields | {"after": elsewhere}, page=SIGN_IN).url.path == "/apprenant"
    assert activated.post("/apprenant/deconnexion", {}, page="/apprenant").url.path == SIGN_IN
    assert activated.get("/apprenant").url.path == SIGN_IN


def test_a_manager_is_no_learner_and_a_learner_no_manager(activated: Browser) -> None:
    activated.sign_in("acme")
    assert activated.get("/apprenant").url.path == SIGN_IN
    activated.client.cookies.clear()
    signed_in(activated)
    assert activated.get("/participants").url.path == "/connexion"


def test_a_session_ends_when_another_password_is_chosen(ada: Browser) -> None:
    address = training_of()
    assert "Non commencé" in words(ada.get(address))
    change("UPDATE account SET credential_version = credential_version + 1 WHERE email_norm LIKE 'ada%'")
    for page in ("/apprenant", address):
        assert ada.get(page).url.path == SIGN_IN
    signed_in(ada)
    assert "Non commencé" in words(ada.get(address))
