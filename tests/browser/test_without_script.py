"""Each form works in a browser that runs no script."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Enter, MakeContract
from tests.kit.browser.contracts import PASSWORD
from tests.kit.browser.manager import Manager, roster

pytestmark = pytest.mark.heavy


@pytest.fixture
def plain(enter: Enter) -> Enter:
    """Signs in as a manager in a browser without script; to sign in and to choose a training are forms as well."""
    return lambda contract: enter(contract, java_script_enabled=False)


def test_people_are_added_and_imported_and_an_import_is_undone(make: MakeContract, plain: Enter) -> None:
    contract = make(4)
    manager = plain(contract)
    first, second, third = (contract.person(one, "Caron") for one in ("Ines", "Louis", "Maud"))
    manager.add("Ajout unique")
    manager.fill_in(first)
    manager.press("Ajouter un participant")
    manager.is_told(f"Inscription faite : {first.name}")
    manager.see_list()
    manager.add("Ajout multiple")
    manager.fill_in_row(2, second)
    manager.press("Ajouter les participants")
    manager.is_told("1 participant ajouté")
    manager.see_list()
    manager.add("Import CSV")
    manager.drop("liste.csv", roster(third))
    manager.is_told("Vérifiez avant d’importer")
    manager.press("Importer 1 participant")
    manager.is_told("1 participant inscrit")
    manager.page.get_by_role("link", name="Annuler cet import").click()
    manager.is_told("Annuler cet import ?")
    manager.press("Retirer 1 participant")
    manager.is_told("Import annulé : 1 place revient")
    manager.see_list()
    assert manager.counters() == (4, 2, 2)


def test_people_are_corrected(make: MakeContract, plain: Enter) -> None:
    contract = make(4)
    person, right = contract.person("Ines", "Caron"), contract.person("Inès", "Carron")
    contract.enroll(person, notify=False)
    manager = plain(contract)
    manager.other_action(person, "Modifier l’email")
    for label in ("Nouvelle adresse", "Nouvelle adresse, une seconde fois"):
        manager.page.get_by_label(label, exact=True).fill(right.email)
    manager.press("Modifier l’email")
    manager.is_told(f"Email modifié : {person.name}")
    manager.see_list()
    manager.other_action(right, "Corriger le nom")
    manager.page.get_by_label("Prénom").fill(right.first_name)
    manager.page.get_by_label("Nom", exact=True).fill(right.last_name)
    manager.press("Corriger le nom")
    manager.is_told(f"Nom corrigé : {right.name}")


def test_ticked_people_are_written_to_certified_and_removed(make: MakeContract, plain: Enter) -> None:
    contract = make(4)
    fresh, graduate = contract.person("Ines", "Caron"), contract.person("Maud", "Caron")
    contract.enroll(fresh, graduate)
    contract.complete(graduate)
    manager = plain(contract)
    act(manager, "Renvoyer l’invitation", "Envoyer 2 invitations", "2 invitations partent à l’instant", fresh, graduate)
    act(
        manager,
        "Envoyer une réinitialisation du mot de passe",
        "Envoyer 1 email",
        f"Email envoyé : {fresh.name}",
        fresh,
    )
    act(manager, "Attestations", "Préparer 1 duplicata", f"Duplicata prêt : {graduate.name}", graduate)
    act(manager, "Supprimer", "Supprimer 1 participant", f"Retrait fait : {fresh.name}", fresh, graduate)
    manager.page.goto("/progression")
    manager.page.get_by_role("searchbox").fill("maud")
    manager.press("Chercher")
    manager.press("Attestation")
    expect(manager.page.get_by_role("heading", name=re.compile("Le duplicata .+ est prêt"))).to_be_visible()
    manager.press("Se déconnecter")
    manager.is_told("Choisir une entreprise")


def act(manager: Manager, action: str, button: str, told: str, *people: object) -> None:
    """Ticks people in the list, takes an action, confirms it, and checks the result."""
    manager.see_list()
    manager.tick(*people)  # type: ignore[arg-type]
    manager.press(action)
    manager.press(button)
    manager.is_told(told)


def test_a_learner_reports_the_end_and_fetches_the_certificate(make: MakeContract, plain: Enter) -> None:
    contract = make(2)
    person = contract.person("Amandine", "Béranger")
    contract.enroll(person)
    contract.activate(person)
    page = plain(contract).page
    page.goto("/apprenant")
    page.get_by_label("Email").fill(person.email)
    page.get_by_label("Mot de passe").fill(PASSWORD)
    page.get_by_role("button", name="Se connecter").click()
    page.get_by_role("link", name=f"Ouvrir : {contract.title}").click()
    page.get_by_role("button", name="J’ai terminé").click()
    expect(page.get_by_role("heading", name="Bravo, formation terminée")).to_be_visible()
    page.get_by_role("button", name="Obtenir mon attestation").click()
    expect(page.get_by_role("link", name="Ouvrir le PDF")).to_be_visible()
    page.get_by_role("button", name="Se déconnecter").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Se connecter")
