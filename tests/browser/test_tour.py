"""The guide from one end to the other on one contract, with the pictures of docs/tour.md taken on the way."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Enter, MakeContract, OpenPage
from tests.kit.browser.contracts import PASSWORD, OwnContract, Person
from tests.kit.browser.manager import Manager, roster
from tests.kit.browser.pictures import PICTURES, Album, album_folder, assert_small

pytestmark = pytest.mark.heavy

WINDOW = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}

TITLE = "Sécurité incendie\N{NARROW NO-BREAK SPACE}: équipier de première intervention"


def someone(first_name: str, last_name: str, address: str) -> Person:
    return Person(first_name, last_name, f"{address}@exemple.test")


AMANDINE = someone("Amandine", "Béranger", "amandine.beranger")
BRUNO = someone("Bruno", "Castelli", "bruno.castelli")
CHLOE = someone("Chloé", "Nguyen-Perrin", "chloe.nguyen-perrin")
DIDIER = someone("Didier", "L’Hœuvre", "didier.lhoeuvre")
EMILIE = someone("Émilie", "Rousseau", "emilie.rousseau")
FATOUMATA = someone("Fatoumata", "Diarra", "fatoumata.diarra")
INES = someone("Inès", "Ould-Ahmed", "ines.ould-ahmed+550")
OMAR = someone("Omar", "Haddad", "omar.haddad")
ZOE = someone("Zoë", "Müller", "zoe.muller")
LEA = someone("Léa", "Marchand", "lea.marchand")
HUGO = someone("Hugo", "Vasseur", "hugo.vasseur")
MAUD = someone("Maud", "Le Goff", "maud.legoff")
STEPHANE = someone("Stéphane", "Brissonneau", "stephane.brissonneau")
CELIA = someone("Célia", "Lefèvre", "celia.lefevre")
PAUL = someone("Paul", "d’Alméras", "paul.dalmeras")
NOEMIE = someone("Noémie", "Garçon", "noemie.garcon")

AT_FIRST = (OMAR, FATOUMATA, DIDIER, ZOE, BRUNO, EMILIE, CHLOE, AMANDINE)


def test_the_tour_goes_through_the_whole_guide(
    make: MakeContract, enter: Enter, open_page: OpenPage, tmp_path: Path
) -> None:
    folder = album_folder(tmp_path)
    album = Album(folder)
    contract = make(25, title=TITLE)
    prepare(contract)
    manager = enter(contract, viewport=WINDOW)
    album.take(manager.page, "participants")
    add_people(manager, album)
    import_people(manager, album)
    change_people(manager, album)
    see_progress(manager, album)
    learn(open_page, album)
    phone = enter(contract, viewport=PHONE, color_scheme="dark")
    album.take(phone.page, "telephone")
    assert tuple(album.taken) == PICTURES
    assert_small(folder, PICTURES)


def prepare(contract: OwnContract) -> None:
    """Enrols people, and has them activate their accounts and make progress."""
    contract.enroll(*AT_FIRST)
    contract.activate(ZOE, BRUNO, EMILIE, CHLOE, AMANDINE)
    contract.enroll(INES)  # a refusal is believed once the relay has accepted other mails
    contract.report_all([BRUNO, EMILIE], "in_progress")
    contract.complete(CHLOE, AMANDINE)
    contract.mails_are_out()


def add_people(manager: Manager, album: Album) -> None:
    """Adds a person, then two at once."""
    manager.add("Ajout unique")
    manager.fill_in(LEA)
    album.take(manager.page, "ajout-unique")
    manager.press("Ajouter un participant")
    manager.is_told(f"Inscription faite : {LEA.name}")
    album.take(manager.page, "confirmation")
    manager.see_list()
    manager.add("Ajout multiple")
    for number, person in enumerate((HUGO, MAUD), 1):
        manager.fill_in_row(number, person)
    album.take(manager.page, "ajout-multiple")
    manager.press("Ajouter les participants")
    manager.is_told("2 participants ajoutés")
    manager.see_list()


def import_people(manager: Manager, album: Album) -> None:
    """Has a file checked, and imports the lines that are right."""
    manager.add("Import CSV")
    wrong = NOEMIE._replace(email="noemie.garcon(a)exemple.test")
    manager.drop("export RH novembre.csv", roster(STEPHANE, CELIA, wrong, PAUL, LEA, STEPHANE))
    manager.is_told("Vérifiez avant d’importer")
    album.take(manager.page, "import-csv")
    manager.press("Importer 3 participants")
    manager.is_told("3 participants inscrits, 2 lignes restent à corriger")
    album.take(manager.page, "rapport")
    manager.see_list()


def change_people(manager: Manager, album: Album) -> None:
    """Corrects an address, removes one person of three, and writes to two."""
    manager.other_action(BRUNO, "Modifier l’email")
    for label in ("Nouvelle adresse", "Nouvelle adresse, une seconde fois"):
        manager.page.get_by_label(label, exact=True).fill("bruno.castelli@atelier-bocage.test")
    album.take(manager.page, "modifier-email")
    manager.see_list()
    manager.tick(DIDIER, EMILIE, AMANDINE)
    manager.press("Supprimer")
    manager.is_told("1 des 3 personnes sélectionnées peut être retirée")
    album.take(manager.page, "supprimer")
    manager.press("Supprimer 1 participant")
    manager.is_told(f"Retrait fait : {DIDIER.name}")
    manager.see_list()
    manager.tick(ZOE, EMILIE, OMAR)
    manager.press("Envoyer une réinitialisation du mot de passe")
    manager.is_told("Les 3 personnes sélectionnées recevront un email")
    album.take(manager.page, "reinitialisation")
    manager.press("Envoyer 3 emails")
    manager.is_told("3 emails partent à l’instant")


def see_progress(manager: Manager, album: Album) -> None:
    """Searches a person, and fetches a duplicate of the certificate."""
    manager.page.goto("/progression?q=nguyen")
    manager.press("Attestation")
    expect(manager.page.get_by_role("heading", name=re.compile("Le duplicata .+ est prêt"))).to_be_visible()
    album.take(manager.page, "progression")


def learn(open_page: OpenPage, album: Album) -> None:
    """Finishes the training as a learner."""
    page = open_page(viewport=WINDOW)
    page.goto("/apprenant")
    page.get_by_label("Email").fill(EMILIE.email)
    page.get_by_label("Mot de passe").fill(PASSWORD)
    page.get_by_role("button", name="Se connecter").click()
    page.get_by_role("link", name=f"Ouvrir : {TITLE}").click()
    page.get_by_role("button", name="J’ai terminé").click()
    expect(page.get_by_role("button", name="Obtenir mon attestation")).to_be_visible()
    album.take(page, "apprenant")
