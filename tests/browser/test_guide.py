"""The managers' guide, sentence by sentence and in its order, as a manager does it in a browser.

Each test has its sentence, with the guide's own words in quotation marks.
"""

import io
import re

import pikepdf
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Enter, MakeContract, OpenPage
from tests.kit.browser.contracts import ATTACHED, INVITED, PASSWORD, RESET
from tests.kit.browser.manager import Manager, roster
from tests.kit.browser.pdfs import text_of
from tests.kit.browser.system import FERRAND, WholeSystem

pytestmark = pytest.mark.heavy


def test_the_planned_seats_are_the_seats_in_the_contract(make: MakeContract, enter: Enter) -> None:
    """« Inscriptions prévues » = seats in the contract."""
    seven, twelve = make(7), make(12)
    manager = enter(seven)
    assert manager.counters()[0] == 7
    manager.choose(twelve)
    assert manager.counters()[0] == 12


def test_the_enrolled_are_counted_anew_at_each_addition(make: MakeContract, enter: Enter) -> None:
    """« Participants inscrits » = accounts enrolled for the company with access to that training, updated at each
    addition.
    """
    contract, other = make(), make()
    other.enroll(other.person("Paul", "Vidal"))
    manager = enter(contract)
    for number, person in enumerate((contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur")), 1):
        manager.add("Ajout unique")
        manager.fill_in(person)
        manager.press("Ajouter un participant")
        manager.is_told(f"Inscription faite : {person.name}")
        manager.see_list()
        assert manager.counters()[1] == number


def test_the_seats_left_are_planned_minus_enrolled(make: MakeContract, enter: Enter) -> None:
    """« Places restantes » = planned − enrolled."""
    contract = make(4)
    contract.enroll(contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur"))
    manager = enter(contract)
    assert manager.counters() == (4, 2, 2)
    contract.enroll(contract.person("Ines", "Caron"), contract.person("Paul", "Vidal"))
    manager.see_list()
    assert manager.counters() == (4, 4, 0)
    manager.sees("Les 4 places sont utilisées.")


def test_single_addition_is_one_form_for_one_person(make: MakeContract, enter: Enter) -> None:
    """« Ajout unique » : one form, one person."""
    manager = enter(make())
    manager.add("Ajout unique")
    fields = manager.page.get_by_role("main").locator("form").get_by_role("textbox")
    assert [fields.nth(number).get_attribute("name") for number in range(fields.count())] == [
        "email",
        "first_name",
        "last_name",
    ]


def test_single_addition_is_confirmed_and_seen_at_once(make: MakeContract, enter: Enter) -> None:
    """The manager gets a confirmation and the person appears at once in the table."""
    contract = make()
    zoe = contract.person("Zoë", "Müller")
    manager = enter(contract)
    manager.add("Ajout unique")
    manager.fill_in(zoe)
    manager.press("Ajouter un participant")
    manager.is_told(f"Inscription faite : {zoe.name}")
    expect(manager.page.get_by_role("heading", level=1)).to_be_focused()
    manager.page.get_by_role("link", name="Voir les participants").first.click()
    expect(manager.row(zoe)).to_contain_text("Non commencé")
    assert manager.counters() == (5, 1, 4)


def test_the_manager_chooses_whether_an_invitation_is_sent(
    make: MakeContract, enter: Enter, open_page: OpenPage, system: WholeSystem
) -> None:
    """The manager chooses whether an invitation is sent."""
    contract = make()
    invited, waiting = contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur")
    manager = enter(contract)
    for person, wanted in ((waiting, False), (invited, True)):
        manager.add("Ajout unique")
        manager.fill_in(person)
        manager.page.get_by_label("Envoyer une invitation").set_checked(wanted)
        manager.press("Ajouter un participant")
        manager.is_told(f"Inscription faite : {person.name}")
        manager.sees("L’invitation part à l’instant" if wanted else "Aucun message n’est parti, comme demandé")
        manager.see_list()
    mail = contract.invitation(invited)
    assert contract.title in mail.subject
    page = open_page()
    page.goto(mail.link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Choisissez votre mot de passe")
    assert system.mailbox.mails(waiting.email) == []
    expect(manager.row(waiting)).to_contain_text("Aucun email envoyé")


def test_several_at_once_have_one_row_per_seat_left(make: MakeContract, enter: Enter) -> None:
    """« Ajout multiple » : one row per remaining seat (2 seats left: 2 rows; 10: 10)."""
    for left in (2, 10):
        contract = make(left + 1)
        contract.enroll(contract.person("Léa", "Marchand"), notify=False)
        manager = enter(contract)
        manager.add("Ajout multiple")
        rows = manager.page.get_by_role("main").locator("tbody tr")
        expect(rows).to_have_count(left)
        expect(rows.last.get_by_role("textbox").first).to_have_attribute("aria-label", f"Email, ligne {left}")


def test_accounts_are_created_and_invited_when_several_are_added(make: MakeContract, enter: Enter) -> None:
    """Accounts are always created and an invitation always sent."""
    contract = make(3)
    people = [contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur")]
    manager = enter(contract)
    manager.add("Ajout multiple")
    expect(manager.page.get_by_label("Envoyer une invitation")).to_have_count(0)
    for number, person in enumerate(people, 1):
        manager.fill_in_row(number, person)
    manager.press("Ajouter les participants")
    manager.is_told("2 participants ajoutés")
    for person in people:
        expect(manager.row(person)).to_contain_text("Nouveau compte")
        assert INVITED in contract.invitation(person).subject
    manager.see_list()
    assert manager.counters() == (3, 2, 1)


def test_a_file_made_from_the_model_is_imported(make: MakeContract, enter: Enter) -> None:
    """« Import CSV » : a comma-separated file made from a downloadable model."""
    contract = make(4)
    people = [contract.person("Léa", "Lefèvre"), contract.person("Anaïs", "d’Alméras")]
    manager = enter(contract)
    manager.add("Import CSV")
    with manager.page.expect_download() as downloaded:
        manager.page.get_by_role("link", name="Modèle CSV").click()
    header = downloaded.value.path().read_text(encoding="utf-8-sig").splitlines()[0]
    delimiter = ";" if ";" in header else ","
    by_column = {"nom": "last_name", "prénom": "first_name", "email": "email", "e-mail": "email"}
    columns = [by_column.get(name.strip('" ').casefold(), "") for name in header.split(delimiter)]
    assert {"last_name", "first_name", "email"} <= set(columns), header
    lines = [header, *(delimiter.join(getattr(one, column, "") for column in columns) for one in people)]
    manager.drop("nos participants.csv", "\r\n".join(lines).encode("utf-8-sig"))
    manager.is_told("Vérifiez avant d’importer")
    manager.sees("2 places pour cet import", "Anaïs d’Alméras")
    manager.press("Importer 2 participants")
    manager.is_told("2 participants inscrits")
    for person in people:
        expect(manager.row(person)).to_contain_text("Nouveau compte")
        contract.invitation(person)
    manager.see_list()
    assert manager.counters() == (4, 2, 2)


def test_in_all_three_an_account_is_attached_and_keeps_its_name(
    make: MakeContract, enter: Enter, system: WholeSystem
) -> None:
    """If an account already exists with that email, it is attached to the company and keeps the first and last name it
    was registered with.
    """
    elsewhere, contract = make(company=FERRAND), make()
    known = [elsewhere.person(first, "Garnier") for first in ("Alma", "Basile", "Cléo")]
    elsewhere.enroll(*known, notify=False)
    alma, basile, cleo = (one._replace(first_name="Autre", email=one.email.upper()) for one in known)
    manager = enter(contract)
    manager.add("Ajout unique")
    manager.fill_in(alma)
    manager.press("Ajouter un participant")
    manager.is_told("Inscription faite : Alma Garnier")
    manager.sees("il est rattaché à votre entreprise et garde le nom « Alma Garnier »")
    manager.see_list()
    manager.add("Ajout multiple")
    manager.fill_in_row(1, basile)
    manager.press("Ajouter les participants")
    manager.is_told("1 participant ajouté")
    expect(manager.row(known[1])).to_contain_text("Compte rattaché")
    manager.see_list()
    manager.add("Import CSV")
    manager.drop("liste.csv", roster(cleo))
    manager.sees("rattaché")
    manager.press("Importer 1 participant")
    manager.is_told("1 participant inscrit")
    expect(manager.row(known[2])).to_contain_text("Compte rattaché")
    manager.see_list()
    for person in known:
        expect(manager.row(person)).to_contain_text(person.name)
        assert ATTACHED in system.mailbox.wait_for(person.email, ATTACHED).subject


def test_the_manager_puts_the_right_address_in(
    make: MakeContract, enter: Enter, open_page: OpenPage, system: WholeSystem
) -> None:
    """« Modifier l'email » : someone signed up with a wrong address or lost access to it; the manager puts the right
    address in.
    """
    contract = make()
    wrong, right = contract.person("Chloé", "Nguyenperrin"), contract.person("Chloé", "Nguyen-Perrin")
    contract.enroll(wrong)
    dead = contract.invitation(wrong)
    manager = enter(contract)
    manager.other_action(wrong, "Modifier l’email")
    manager.sees("L’adresse change tout de suite", wrong.email)
    manager.page.get_by_label("Nouvelle adresse", exact=True).fill(right.email)
    manager.page.get_by_label("Nouvelle adresse, une seconde fois", exact=True).fill(right.email)
    manager.press("Modifier l’email")
    manager.is_told(f"Email modifié : {wrong.name}")
    manager.sees(f"L’adresse du compte est maintenant {right.email}.")
    page = open_page()
    page.goto(dead.link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Ce lien n’est pas valable")
    page.goto(contract.invitation(right).link)
    expect(page.get_by_label("Votre adresse e-mail")).to_have_value(right.email)
    page.get_by_label("Mot de passe", exact=True).fill(PASSWORD)
    page.get_by_label("Le même mot de passe, une seconde fois").fill(PASSWORD)
    page.get_by_role("button", name="Enregistrer le mot de passe").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Votre mot de passe est enregistré")
    assert system.portal.sign_in(right.email, PASSWORD).account_id is not None
    manager.see_list()
    expect(manager.row(right)).to_contain_text("Activé")


def test_ticked_rows_are_removed_and_their_seats_come_back(make: MakeContract, enter: Enter) -> None:
    """« Retirer » : tick rows, « Supprimer »."""
    contract = make(3)
    leaving, also, staying = (contract.person(one, "Caron") for one in ("Ines", "Louis", "Maud"))
    contract.enroll(leaving, also, staying)
    manager = enter(contract)
    manager.tick(leaving, also)
    manager.press("Supprimer")
    manager.is_told("Les 2 personnes sélectionnées peuvent être retirées")
    manager.sees("Retraits à confirmer : la place revient")
    manager.press("Supprimer 2 participants")
    manager.is_told("2 retraits faits, 2 places reviennent")
    manager.see_list()
    assert manager.counters() == (3, 1, 2)
    expect(manager.row(leaving)).to_have_count(0)
    expect(manager.row(staying)).to_have_count(1)


def test_the_seat_stays_used_once_the_training_is_begun(make: MakeContract, enter: Enter) -> None:
    """The seat comes back only if the person has not started the training; in every other status the seat stays
    used.
    """
    contract = make(3)
    fresh, begun, finished = (contract.person(one, "Caron") for one in ("Ines", "Louis", "Maud"))
    contract.enroll(fresh, begun, finished)
    contract.report(begun, "in_progress")
    contract.report(finished, "in_progress", "completed")
    manager = enter(contract)
    manager.tick(fresh, begun, finished)
    manager.press("Supprimer")
    manager.is_told("1 des 3 personnes sélectionnées peut être retirée")
    expect(manager.row(fresh)).to_contain_text("La place revient")
    expect(manager.row(begun)).to_contain_text(re.compile("La place reste utilisée.*Formation commencée le"))
    expect(manager.row(finished)).to_contain_text(re.compile("La place reste utilisée.*Formation terminée le"))
    manager.press("Supprimer 1 participant")
    manager.is_told(f"Retrait fait : {fresh.name}")
    manager.see_list()
    assert manager.counters() == (3, 2, 1)
    for person in (begun, finished):
        expect(manager.row(person)).to_have_count(1)


def test_a_duplicate_is_fetched_from_the_list_of_participants(make: MakeContract, enter: Enter) -> None:
    """« Duplicata d'attestation » : for one person who has completed the training, from the list of participants."""
    contract = make()
    graduate, beginner = contract.person("Maud", "Caron"), contract.person("Louis", "Caron")
    contract.enroll(graduate, beginner, notify=False)
    contract.complete(graduate)
    manager = enter(contract)
    manager.tick(graduate, beginner)
    manager.press("Attestations")
    manager.is_told("Un duplicata peut être préparé pour 1 des 2 personnes sélectionnées")
    expect(manager.row(beginner)).to_contain_text("n’a pas terminé la formation")
    manager.press("Préparer 1 duplicata")
    manager.is_told(f"Duplicata prêt : {graduate.name}")
    number = manager.row(graduate).get_by_role("cell").last.inner_text().strip()
    link = manager.page.get_by_role("link", name="Ouvrir le duplicata (PDF)")
    document = fetched(manager, link.get_attribute("href"))
    told = text_of(document)
    for words in (graduate.name, contract.title, number, "Horizon Formation SAS"):
        assert words in told, words
    assert beginner.name not in told


def test_a_duplicate_is_fetched_from_the_progress_of_a_person(make: MakeContract, enter: Enter) -> None:
    """Or from the individual-progress page (search a person, see the progress, fetch the « attestation »)."""
    contract = make()
    graduate, other = contract.person("Émilie", "Rousseau"), contract.person("Louis", "Caron")
    contract.enroll(graduate, other, notify=False)
    contract.complete(graduate)
    manager = enter(contract)
    manager.page.get_by_role("link", name="Progression individuelle").first.click()
    manager.page.get_by_role("searchbox").fill("rousseau")
    manager.press("Chercher")
    expect(manager.page.get_by_role("heading", name=graduate.name)).to_be_visible()
    manager.sees("Terminé", "Formation terminée")
    manager.press("Attestation")
    ready = manager.page.get_by_role("heading", name=re.compile("Le duplicata .+ est prêt"))
    expect(ready).to_be_visible()
    document = fetched(manager, manager.page.get_by_role("link", name="Ouvrir le PDF").get_attribute("href"))
    assert graduate.name in text_of(document)
    expect(manager.page.get_by_role("heading", name="Duplicatas remis")).to_be_visible()


def test_who_has_not_completed_the_training_has_no_certificate(make: MakeContract, enter: Enter) -> None:
    """For one person who has completed the training: others have none, and the page says why."""
    contract = make()
    beginner = contract.person("Louis", "Caron")
    contract.enroll(beginner, notify=False)
    contract.report(beginner, "in_progress")
    manager = enter(contract)
    manager.page.get_by_role("link", name=beginner.name, exact=True).click()
    manager.sees("En cours", "Pas encore d’attestation", "Elle est délivrée quand la formation est terminée.")
    expect(manager.page.get_by_role("button", name="Attestation", exact=True)).to_have_count(0)


def test_ticked_rows_get_a_password_reset_each(
    make: MakeContract, enter: Enter, open_page: OpenPage, system: WholeSystem
) -> None:
    """« Envoyer une réinitialisation du mot de passe » : tick rows, one click, a mail to each."""
    contract = make()
    active, waiting = contract.person("Bruno", "Castelli"), contract.person("Omar", "Haddad")
    contract.enroll(active, waiting)
    contract.activate(active)
    manager = enter(contract)
    manager.tick(active, waiting)
    manager.press("Envoyer une réinitialisation du mot de passe")
    manager.is_told("Les 2 personnes sélectionnées recevront un email")
    expect(manager.row(active)).to_contain_text("Un lien pour choisir un nouveau mot de passe")
    expect(manager.row(waiting)).to_contain_text("Son invitation")
    manager.press("Envoyer 2 emails")
    manager.is_told("2 emails partent à l’instant")
    mail = system.mailbox.wait_for(active.email, RESET)
    page = open_page()
    page.goto(mail.link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Choisissez un nouveau mot de passe")
    contract.mails_are_out()
    assert [INVITED in one.subject for one in system.mailbox.mails(waiting.email)] == [True, True]


def test_managers_are_told_to_have_the_junk_folder_checked(make: MakeContract, enter: Enter) -> None:
    """Managers are told to have the junk folder checked."""
    contract = make()
    person = contract.person("Bruno", "Castelli")
    contract.enroll(person)
    manager = enter(contract)
    manager.tick(person)
    manager.press("Envoyer une réinitialisation du mot de passe")
    manager.sees("faites vérifier le dossier des indésirables")
    manager.press("Envoyer 1 email")
    manager.is_told(f"Email envoyé : {person.name}")
    manager.sees("faites vérifier le dossier des indésirables")


def fetched(manager: Manager, address: str | None) -> bytes:
    """Fetches a PDF with the session of the manager, and checks that it is whole."""
    assert address is not None
    answer = manager.page.request.get(address)
    assert answer.headers["content-type"] == "application/pdf"
    content = answer.body()
    with pikepdf.open(io.BytesIO(content)) as document:
        assert len(document.pages) == 1
    return content
