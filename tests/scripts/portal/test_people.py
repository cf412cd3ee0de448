"""Modifier l'email, Corriger le nom: what will happen is said before, and what happened after."""

import pytest

from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.processes.support import change, rows
from tests.scripts.portal.acting import done, enrollment, heading, jobs, words
from tests.scripts.portal.conftest import Answer, Browser
from workers.database import transaction


def page_of(name: str, what: str = "email") -> str:
    return f"/participants/{enrollment(name)}/{what}"


def sent(manager: Browser, email: str, again: str | None = None, name: str = "ada") -> Answer:
    address = page_of(name)
    return manager.post(address, {"email": email, "again": email if again is None else again}, page=address)


def activate(name: str) -> None:
    change("UPDATE account SET activated_at = now() WHERE email_norm = :email", email=f"{name}@example.com")


def test_an_account_that_was_never_activated_is_corrected_at_once(manager: Browser) -> None:
    shown = words(manager.get(page_of("ada")))
    assert "L’adresse change tout de suite" in shown
    assert "ada@example.com" in shown
    assert "Le lien envoyé à l’ancienne adresse ne fonctionne plus" in shown
    result = done(manager, sent(manager, "ada.byron@example.com"))
    assert heading(result) == "Email modifié : Zoé Le Dû"
    assert "L’adresse du compte est maintenant ada.byron@example.com" in words(result)
    assert "L’invitation part à l’instant" in words(result)


def test_an_activated_account_waits_for_confirmation(manager: Browser) -> None:
    activate("ada")
    shown = words(manager.get(page_of("ada")))
    assert "Le changement doit être confirmé" in shown
    assert "72 heures" in shown
    assert "Demander le changement" in shown
    result = done(manager, sent(manager, "ada.byron@example.com"))
    assert heading(result) == "Changement d’adresse demandé : Zoé Le Dû"
    assert "Sans confirmation avant le" in words(result)
    assert "Changement d’adresse à confirmer" in words(result)
    assert "Changement d’adresse à confirmer" in words(manager.get("/participants"))
    assert "attend déjà une confirmation" in words(manager.get(page_of("ada")))
    assert rows("SELECT count(*) FROM account WHERE email_norm = 'ada@example.com'") == [(1,)]


def test_an_account_of_two_companies_has_no_form_but_the_cure(manager: Browser) -> None:
    with transaction() as session:
        add_contract(session, "C-3", company="autre")
        enrolled(session, "ada", contract="C-3")
    page = manager.get(page_of("ada"))
    assert "L’adresse ne peut pas être modifiée ici" in words(page)
    assert 'name="again"' not in page.text
    assert "Ferrand" not in page.text


@pytest.mark.parametrize(
    ("email", "again", "told"),
    [
        ("", "", "Indiquez la nouvelle adresse"),
        ("ada.byron@", "ada.byron@", "Cette adresse n’est pas complète"),
        ("ada byron@example.com", "ada byron@example.com", "Cette adresse n’est pas complète"),
        ("ADA@example.com", "ADA@example.com", "C’est déjà l’adresse de ce compte"),
        ("ada.byron@example.com", "", "une seconde fois"),
        ("ada.byron@example.com", "ada.biron@example.com", "Les deux adresses ne sont pas identiques"),
        ("ada@exam\u202eple.com", "ada@exam\u202eple.com", "Cette adresse n’est pas complète"),
    ],
)
def test_a_wrong_address_is_shown_again_with_its_cure(manager: Browser, email: str, again: str, told: str) -> None:
    page = sent(manager, email, again)
    assert page.status_code == 422
    assert told in words(page)
    assert 'href="#email"' in page.text or 'href="#again"' in page.text
    assert jobs("correct_email") == 0


def test_what_was_typed_stays_and_is_no_markup(manager: Browser) -> None:
    page = sent(manager, '"><script>x</script>@', "y")
    assert page.status_code == 422
    assert "<script>x" not in page.text
    assert "&lt;script&gt;x" in page.text


def test_an_address_of_another_account_is_refused_with_its_cure(manager: Browser) -> None:
    result = done(manager, sent(manager, "bob@example.com"))
    assert heading(result) == "Email non modifié : Zoé Le Dû"
    assert "Un autre compte a déjà cette adresse" in words(result)
    assert "Modifier la saisie" in words(result)


def test_a_double_click_is_one_correction(manager: Browser) -> None:
    address = page_of("ada")
    fields = manager.hidden(address) | {"email": "a@example.com", "again": "a@example.com"}
    first, second = (manager.client.post(address, data=fields) for _ in range(2))
    assert first.url == second.url
    assert jobs("correct_email") == 1


def test_people_of_another_company_are_not_there(manager: Browser) -> None:
    for what in ("email", "nom"):
        page = manager.get(f"/participants/{enrollment('eva', 'C-2')}/{what}")
        assert page.status_code == 404
        assert "eva" not in page.text
    assert manager.get("/participants/x/email").status_code == 404


def test_a_person_who_left_has_no_form(manager: Browser) -> None:
    change("UPDATE enrollment SET withdrawn_at = now() WHERE id = :id", id=enrollment("ada"))
    for what in ("email", "nom"):
        page = manager.get(page_of("ada", what))
        assert "Cette personne n’est plus inscrite" in words(page)
        assert "<form class" not in page.text


def test_a_name_is_corrected_at_once_or_after_a_confirmation(manager: Browser) -> None:
    address = page_of("ada", "nom")
    assert "Le nom change tout de suite" in words(manager.get(address))
    result = done(manager, manager.post(address, {"first_name": "Ada", "last_name": "Le Dû"}, page=address))
    assert heading(result) == "Nom corrigé : Ada Le Dû"
    activate("bob")
    address = page_of("bob", "nom")
    assert "La personne doit confirmer" in words(manager.get(address))
    result = done(manager, manager.post(address, {"first_name": "Bob", "last_name": "Le Dû"}, page=address))
    assert heading(result) == "Correction du nom demandée : Zoé Le Dû"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"first_name": "", "last_name": "Dû"}, "Indiquez le prénom."),
        ({"first_name": "Zoé", "last_name": ""}, "Indiquez le nom."),
        ({"first_name": "Zoé", "last_name": "Le Dû"}, "Le nom est le même qu’avant"),
        ({"first_name": "Zo?é", "last_name": "Dû"}, "contient un signe qu’un nom ne peut pas avoir"),
        ({"first_name": "Zoé", "last_name": "D" * 500}, "Ce texte est trop long"),
    ],
)
def test_a_name_that_is_missing_or_the_same_is_told(manager: Browser, typed: dict[str, str], told: str) -> None:
    address = page_of("ada", "nom")
    page = manager.post(address, typed, page=address)
    assert (page.status_code, jobs("correct_name")) == (422, 0)
    assert told in words(page)
