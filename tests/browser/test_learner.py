"""The learner's side: from the invitation to one's own certificate, and what the manager sees of it."""

import io

import pikepdf
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Enter, MakeContract, OpenPage
from tests.kit.browser.contracts import PASSWORD, RESET, OwnContract, Person
from tests.kit.browser.pdfs import text_of
from tests.kit.browser.system import WholeSystem

pytestmark = pytest.mark.heavy


def test_a_learner_goes_from_the_invitation_to_the_certificate(
    make: MakeContract, enter: Enter, open_page: OpenPage
) -> None:
    contract = make(2)
    person = contract.person("Amandine", "Béranger")
    contract.enroll(person)
    page = open_page()
    page.goto(contract.invitation(person).link)
    choose_password(page, PASSWORD)
    sign_in(page, person, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Mes formations")
    page.get_by_role("link", name=f"Ouvrir : {contract.title}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(contract.title)
    page.get_by_role("button", name="Commencer").click()
    expect(page.get_by_role("heading", name="C’est parti !")).to_be_visible()
    page.get_by_role("button", name="J’ai terminé").click()
    expect(page.get_by_role("heading", name="Bravo, formation terminée")).to_be_visible()
    page.get_by_role("button", name="Obtenir mon attestation").click()
    link = page.get_by_role("link", name="Ouvrir le PDF")
    expect(link).to_be_visible()
    document = page.request.get(str(link.get_attribute("href"))).body()
    with pikepdf.open(io.BytesIO(document)):
        assert person.name in text_of(document)
    manager = enter(contract)
    for word in ("Terminé", "Activé"):
        expect(manager.row(person)).to_contain_text(word)
    manager.page.get_by_role("link", name=person.name, exact=True).click()
    expect(manager.page.get_by_role("heading", name="Duplicatas remis")).to_be_visible()


def test_a_learner_who_never_chose_a_password_is_sent_a_link(
    make: MakeContract, open_page: OpenPage, system: WholeSystem
) -> None:
    contract = make(2)
    person = contract.person("Omar", "Haddad")
    contract.enroll(person, notify=False)
    page = open_page()
    sign_in(page, person, PASSWORD)
    expect(page.get_by_role("alert")).to_contain_text("L’adresse ou le mot de passe n’est pas le bon")
    expect(page.get_by_role("alert")).to_contain_text("votre compte n’est pas activé")
    page.get_by_role("link", name="Recevoir un lien pour choisir un mot de passe").click()
    page.get_by_label("Email").fill(person.email)
    page.get_by_role("button", name="Recevoir un lien").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Consultez votre messagerie")
    page.goto(contract.invitation(person).link)
    choose_password(page, PASSWORD)
    sign_in(page, person, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Mes formations")
    assert system.mailbox.mails(person.email)[0].subject.find(RESET) == -1


def test_a_learner_sees_none_but_their_own_trainings(make: MakeContract, open_page: OpenPage) -> None:
    contract, other = make(2), make(2)
    person, stranger = contract.person("Amandine", "Béranger"), other.person("Omar", "Haddad")
    activated(contract, person)
    other.enroll(stranger, notify=False)
    page = open_page()
    sign_in(page, person, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Mes formations")
    expect(page.get_by_role("main")).not_to_contain_text(other.title)
    page.goto(f"/apprenant/formations/{other.participant(stranger).enrollment_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cette page n’existe pas")


def activated(contract: OwnContract, person: Person) -> None:
    contract.enroll(person)
    contract.activate(person)


def choose_password(page: Page, password: str) -> None:
    """Chooses a password on the page behind a link."""
    page.get_by_label("Mot de passe", exact=True).fill(password)
    page.get_by_label("Le même mot de passe, une seconde fois").fill(password)
    page.get_by_role("button", name="Enregistrer le mot de passe").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Votre mot de passe est enregistré")


def sign_in(page: Page, person: Person, password: str) -> None:
    """Fills in and sends the form of the learner's side."""
    page.goto("/apprenant")
    page.get_by_label("Email").fill(person.email)
    page.get_by_label("Mot de passe").fill(password)
    page.get_by_role("button", name="Se connecter").click()
