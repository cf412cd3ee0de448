"""Every page is clean for axe in light, in dark and on a narrow phone; the main path works with the keyboard alone."""

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Enter, MakeContract, OpenPage
from tests.kit.browser.contracts import PASSWORD, OwnContract, Person
from tests.kit.browser.looks import looks_right, violations
from tests.kit.browser.manager import Manager, roster
from tests.kit.browser.system import FERRAND

pytestmark = pytest.mark.heavy


@pytest.fixture
def seen(enter: Enter) -> Callable[[OwnContract], Manager]:
    """Signs in without the Content-Security-Policy, which would refuse the script of axe."""
    return lambda contract: enter(contract, bypass_csp=True)


Seen = Callable[[OwnContract], Manager]


def look_at(manager: Manager, *addresses: str) -> None:
    """Opens these pages and looks at each."""
    for address in addresses:
        manager.page.goto(address)
        looks_right(manager.page)


def people_in_every_state(contract: OwnContract) -> list[Person]:
    """Enrols a person in each state: just invited, activated, under way, finished, and one whom no mail reaches."""
    names = (("Zoë", "Müller"), ("Bruno", "Castelli"), ("Émilie", "Rousseau"), ("Maud", "Caron"))
    people = [contract.person(first, last) for first, last in names]
    fresh, active, begun, finished = people
    contract.enroll(*people)
    contract.activate(active)
    contract.enroll(contract.person("Ines", "Ould-Ahmed", "+550"))  # believed after mails that were accepted
    contract.report(begun, "in_progress")
    contract.complete(finished)
    contract.mails_are_out()
    return [fresh, active, begun, finished]


def enrollments(contract: OwnContract, people: list[Person]) -> list[UUID]:
    known = {one.email: one.enrollment_id for one in contract.participants()}
    return [known[one.email] for one in people]


def test_the_list_and_the_pages_about_people_are_clean(make: MakeContract, seen: Seen) -> None:
    contract = make(8)
    fresh, active, _, finished = enrollments(contract, people_in_every_state(contract))
    manager = seen(contract)
    look_at(
        manager,
        "/participants",
        "/participants?filtre=todo",
        "/participants?q=personne",
        f"/participants/{fresh}/email",
        f"/participants/{active}/email",
        f"/participants/{active}/nom",
        "/progression",
        "/progression?q=personne",
        "/progression?q=exemple",
        f"/progression/{fresh}",
        f"/progression/{finished}",
        "/formations",
        "/nulle-part",
    )


def test_the_pages_before_an_action_and_after_it_are_clean(make: MakeContract, seen: Seen) -> None:
    contract = make(8)
    people = people_in_every_state(contract)
    fresh, active, _, finished = people
    manager = seen(contract)
    for action, button, told in (
        ("Renvoyer l’invitation", "Envoyer", "invitations? part"),
        ("Envoyer une réinitialisation du mot de passe", "Envoyer", "emails? part"),
        ("Attestations", "Préparer", "[Dd]uplicatas? (est |sont )?prêt"),
        ("Supprimer", "Supprimer", "[Rr]etraits? faits?"),
    ):
        manager.see_list()
        manager.tick(fresh, active, finished)
        looks_right(manager.page)
        manager.press(action)
        expect(manager.page.get_by_role("link", name=re.compile("^Ne rien|^Retour à la liste")).first).to_be_visible()
        looks_right(manager.page)
        manager.page.get_by_role("main").get_by_role("button", name=re.compile(rf"^{button} \d")).click()
        manager.is_told(re.compile(told))
        looks_right(manager.page)
    looks_right(shown_after_email(manager, contract))


def shown_after_email(manager: Manager, contract: OwnContract) -> Page:
    """Has the address of a person changed wrongly, then rightly; the first form is looked at."""
    [person] = [one for one in contract.participants() if one.first_name == "Ines"]
    manager.page.goto(f"/participants/{person.enrollment_id}/email")
    manager.press("Modifier l’email")
    expect(manager.page.get_by_role("alert")).to_be_focused()
    looks_right(manager.page)
    for label in ("Nouvelle adresse", "Nouvelle adresse, une seconde fois"):
        manager.page.get_by_label(label, exact=True).fill(f"ines.{contract.number}@exemple.test")
    manager.press("Modifier l’email")
    manager.is_told("Email modifié : Ines Ould-Ahmed")
    return manager.page


def test_the_pages_that_add_people_are_clean(make: MakeContract, seen: Seen) -> None:
    contract, full = make(6), make(1)
    elsewhere = make(company=FERRAND)
    known, other, twice = (contract.person(one, "Garnier") for one in ("Alma", "Basile", "Cléo"))
    elsewhere.enroll(known, notify=False)
    manager = seen(contract)
    look_at(manager, "/participants", "/participants/ajout", "/participants/import", "/imports")
    manager.page.goto("/participants/ajout")
    manager.press("Ajouter un participant")
    expect(manager.page.get_by_role("alert")).to_be_focused()
    looks_right(manager.page)
    manager.fill_in(known._replace(first_name="Autre"))
    manager.press("Ajouter un participant")
    manager.is_told("Inscription faite : Alma Garnier")
    looks_right(manager.page)
    manager.page.goto("/participants/ajout-multiple")
    looks_right(manager.page)
    manager.fill_in_row(1, other)
    manager.fill_in_row(2, twice._replace(email="cleo"))
    manager.press("Ajouter les participants")
    manager.is_told("1 participant ajouté, 1 à corriger")
    looks_right(manager.page)
    full.enroll(full.person("Léa", "Marchand"), notify=False)
    manager.choose(full)
    look_at(manager, "/participants", "/participants/ajout", "/participants/ajout-multiple")


def test_the_pages_of_an_import_are_clean(make: MakeContract, seen: Seen) -> None:
    contract = make(4)
    people = [contract.person(one, "Lefèvre") for one in ("Alma", "Basile", "Cléo")]
    manager = seen(contract)
    manager.page.goto("/participants/import")
    manager.press("Vérifier le fichier")
    expect(manager.page.get_by_role("alert")).to_be_focused()
    looks_right(manager.page)
    manager.drop("liste.csv", roster(*people, people[0], people[1]._replace(email="basile")))
    manager.is_told("Vérifiez avant d’importer")
    looks_right(manager.page)
    manager.press("Importer 3 participants")
    manager.is_told("3 participants inscrits, 2 lignes restent à corriger")
    looks_right(manager.page)
    look_at(manager, f"{manager.page.url}/lignes", "/imports")
    contract.report(people[0], "in_progress")
    manager.page.get_by_role("link", name="liste.csv").click()
    manager.page.get_by_role("link", name="Annuler cet import").click()
    manager.is_told("Annuler cet import ?")
    looks_right(manager.page)
    manager.press("Retirer 2 participants")
    manager.is_told("Import annulé : 2 places reviennent")
    looks_right(manager.page)


def test_the_pages_of_learners_and_of_signing_in_are_clean(make: MakeContract, open_page: OpenPage) -> None:
    contract = make(2)
    person = contract.person("Amandine", "Béranger")
    contract.enroll(person)
    contract.activate(person)
    contract.complete(person)
    page = open_page(bypass_csp=True)
    for address in ("/connexion", "/connexion?lang=en", "/connexion?lang=fr", "/apprenant/mot-de-passe-oublie"):
        page.goto(address)
        looks_right(page)
    page.goto("/apprenant")
    looks_right(page)
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_role("alert")).to_be_focused()
    looks_right(page)
    page.get_by_label("Email").fill(person.email)
    page.get_by_label("Mot de passe").fill(PASSWORD)
    page.get_by_role("button", name="Se connecter").click()
    page.get_by_role("link", name=f"Ouvrir : {contract.title}").wait_for()
    looks_right(page)
    page.get_by_role("link", name=f"Ouvrir : {contract.title}").click()
    page.get_by_role("button", name="Obtenir mon attestation").click()
    page.get_by_role("link", name="Ouvrir le PDF").wait_for()
    looks_right(page)


def test_axe_sees_what_is_wrong(open_page: OpenPage) -> None:
    page = open_page(bypass_csp=True)
    page.goto("/connexion")
    page.set_content("<html><body><input><img src=x></body></html>")
    assert {"label", "image-alt", "html-has-lang"} <= {name for name, _ in violations(page)}


def test_the_main_path_needs_the_keyboard_alone(make: MakeContract, open_page: OpenPage) -> None:
    contract = make(3)
    person = contract.person("Léa", "Marchand")
    page = open_page()
    manager = Manager(page)
    page.goto("/connexion")
    reach(page, "Continuer en tant que Claire Aubrac")
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("heading", level=1).wait_for()
    page.goto("/formations")
    reach(page, f"Afficher : {contract.title}")
    page.keyboard.press("Enter")
    manager.is_told(contract.title)
    reach(page, "Participants", tag="SUMMARY")
    page.keyboard.press("Enter")
    reach(page, "Ajout unique")
    page.keyboard.press("Enter")
    manager.is_told("Ajout unique")
    reach(page, "email")
    for typed in (person.email, person.first_name, person.last_name):
        page.keyboard.type(typed)
        page.keyboard.press("Tab")
    reach(page, "Ajouter un participant")
    page.keyboard.press("Enter")
    manager.is_told(f"Inscription faite : {person.name}")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    reach(page, "Voir les participants")
    page.keyboard.press("Enter")
    manager.is_told(contract.title)
    reach(page, f"Sélectionner {person.name}")
    page.keyboard.press("Space")
    reach(page, "Supprimer")
    page.keyboard.press("Enter")
    manager.is_told("Cette personne peut être retirée")
    reach(page, "Supprimer 1 participant")
    page.keyboard.press("Enter")
    manager.is_told(f"Retrait fait : {person.name}")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


FOCUSED = """() => {
  const element = document.activeElement;
  const label = element.labels?.[0]?.innerText ?? "";
  const text = [element.getAttribute("name") ?? "", label, element.innerText ?? ""].join("|");
  const style = getComputedStyle(element);
  return { text, tag: element.tagName, outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
}"""

MOST_STEPS = 60


def reach(page: Page, text: str, *, tag: str = "") -> None:
    """Presses Tab until the element with this text has the focus, which is seen at each step."""
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused["tag"] == "BODY":
            continue
        assert focused["outline"], focused
        shown = re.sub(r"\s+", " ", focused["text"])
        if text in shown and focused["tag"].startswith(tag):
            return
    raise AssertionError(f"{text!r} is not reached with Tab on {page.url}")
