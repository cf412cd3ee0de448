"""Beside the straight way: races, mistakes, refusals, the back button, two tabs, a session that ends."""

import csv
import re
import time

import pytest
from itsdangerous import TimestampSigner
from playwright.sync_api import Page, expect
from starlette.responses import Response

from scripts.portal.sessions import MANAGER, Sessions
from tests.browser.conftest import Enter, MakeContract, OpenPage
from tests.kit.browser.contracts import INVITED, PASSWORD
from tests.kit.browser.manager import Manager, roster
from tests.kit.browser.system import BOCAGE, FERRAND, WholeSystem

pytestmark = pytest.mark.heavy

AT_ONE_MOMENT = (
    "moment => void setTimeout(() => document.querySelector('main form').requestSubmit(), moment - Date.now())"
)


def test_two_managers_take_the_last_seat_at_the_same_moment(make: MakeContract, enter: Enter) -> None:
    contract = make(1)
    people = [contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur")]
    managers = [enter(contract), enter(contract)]
    for manager, person in zip(managers, people, strict=True):
        manager.add("Ajout unique")
        manager.fill_in(person)
    moment = 1000 * time.time() + 500
    for manager in managers:
        manager.page.evaluate(AT_ONE_MOMENT, moment)
    told = re.compile("Inscription faite|La personne n’est pas encore inscrite")
    for manager in managers:
        expect(manager.page.get_by_role("heading", name=told)).to_be_visible()
    done = [manager.page.get_by_role("heading", name="Inscription faite").count() for manager in managers]
    assert sorted(done) == [0, 1]
    late, person = managers[done.index(0)], people[done.index(0)]
    late.sees("Il ne reste plus de place")
    expect(late.page.get_by_label("Email", exact=True)).to_have_value(person.email)
    late.see_list()
    assert late.counters() == (1, 1, 0)


def test_a_file_with_mistakes_is_corrected_and_dropped_again(make: MakeContract, enter: Enter) -> None:
    contract = make(6)
    good = [contract.person("Léa", "Lefèvre"), contract.person("Anaïs", "Petit")]
    wrong, nameless = contract.person("Paul", "Vidal"), contract.person("Maud", "Caron")
    manager = enter(contract)
    manager.add("Import CSV")
    lines = [*good, wrong._replace(email=wrong.email.replace("@", "")), nameless._replace(last_name=""), good[0]]
    manager.drop("liste.csv", roster(*lines))
    manager.is_told("Vérifiez avant d’importer")
    manager.sees("3 lignes à corriger", "Il manque le @", "Le nom manque", "La même adresse figure déjà à la ligne 2")
    assert manager.page.get_by_label("Places du contrat").count() == 0
    manager.press("Importer 2 participants")
    manager.is_told("2 participants inscrits, 3 lignes restent à corriger")
    assert manager.counters() == (6, 2, 4)
    with manager.page.expect_download() as downloaded:
        manager.page.get_by_role("link", name="Télécharger ces lignes").first.click()
    assert downloaded.value.suggested_filename == "liste à corriger.csv"
    corrected = correct(downloaded.value.path().read_text("utf-8-sig"), {"Paul": wrong.email, "Maud": nameless.email})
    manager.page.get_by_role("link", name="Déposer le fichier corrigé").click()
    manager.drop("liste à corriger.csv", corrected)
    manager.is_told("Vérifiez avant d’importer")
    manager.press("Importer 2 participants")
    manager.is_told(re.compile("^2 participants inscrits"))
    manager.see_list()
    assert manager.counters() == (6, 4, 2)
    for person in (*good, wrong, nameless):
        expect(manager.row(person)).to_contain_text(person.name)


def correct(errors: str, addresses: dict[str, str]) -> bytes:
    """Corrects the lines of a file of errors as a person does in Excel, and leaves its other columns as they are.

    Parameters:
      addresses: the right ones by first name; the lines of other people are deleted.
    """
    dialect = csv.Sniffer().sniff(errors.splitlines()[0], delimiters=";,")
    [header, *lines] = list(csv.reader(errors.splitlines(), dialect))
    first, last, email = (header.index(name) for name in ("Prénom", "Nom", "E-mail"))
    kept = [line for line in lines if line[first] in addresses]
    for line in kept:
        line[email] = addresses[line[first]]
        line[last] = line[last] or "Caron"
    rows = [header, *kept]
    return "".join(f"{dialect.delimiter.join(row)}\r\n" for row in rows).encode("utf-8-sig")


def test_each_refusal_says_what_to_do(make: MakeContract, enter: Enter) -> None:
    contract = make(3)
    known, begun = contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur")
    contract.enroll(known, begun, notify=False)
    contract.report(begun, "in_progress")
    manager = enter(contract)
    manager.add("Ajout unique")
    manager.fill_in(known._replace(email="lea.marchand"))
    manager.press("Ajouter un participant")
    manager.sees("La personne n’est pas encore inscrite", "L’email n’est pas valable", "Il manque le @")
    expect(manager.page.get_by_role("alert")).to_be_focused()
    expect(manager.page.get_by_label("Email", exact=True)).to_have_value("lea.marchand")
    manager.page.get_by_role("alert").get_by_role("link").click()
    expect(manager.page.get_by_label("Email", exact=True)).to_be_focused()
    manager.fill_in(known)
    manager.press("Ajouter un participant")
    manager.is_told(f"Inscription déjà faite : {known.name}")
    manager.sees("aucune place n’est utilisée")
    manager.see_list()
    assert manager.counters() == (3, 2, 1)
    manager.other_action(known, "Modifier l’email")
    for label in ("Nouvelle adresse", "Nouvelle adresse, une seconde fois"):
        manager.page.get_by_label(label, exact=True).fill(begun.email)
    manager.press("Modifier l’email")
    manager.is_told(f"Email non modifié : {known.name}")
    manager.sees("Un autre compte a déjà cette adresse")
    manager.see_list()
    manager.tick(begun)
    manager.press("Supprimer")
    manager.is_told("Cette personne ne peut pas être retirée")
    manager.sees("La place reste utilisée", "place revient seulement si la formation n’est pas commencée")
    expect(manager.page.get_by_role("button", name="Supprimer")).to_have_count(0)
    refused = re.compile("erreur|échec|succès", re.IGNORECASE)
    expect(manager.page.get_by_role("main")).not_to_contain_text(refused)


def test_a_mail_that_is_refused_leads_to_the_right_address(make: MakeContract, enter: Enter) -> None:
    contract = make(3)
    lost, right = contract.person("Ines", "Caron", "+550"), contract.person("Ines", "Caron")
    other = contract.person("Maud", "Caron")
    contract.enroll(other)
    contract.invitation(other)  # a refusal is believed of a relay that accepts other mails
    contract.enroll(lost)
    contract.mails_are_out()
    manager = enter(contract)
    expect(manager.row(lost)).to_contain_text("Email non remis")
    manager.page.get_by_role("link", name="À traiter 1").click()
    manager.row(lost).get_by_role("link", name="Corriger l’adresse").click()
    for label in ("Nouvelle adresse", "Nouvelle adresse, une seconde fois"):
        manager.page.get_by_label(label, exact=True).fill(right.email)
    manager.press("Modifier l’email")
    manager.is_told(f"Email modifié : {lost.name}")
    assert INVITED in contract.invitation(right).subject
    contract.mails_are_out()
    manager.see_list()
    expect(manager.row(right)).to_contain_text("Invitation envoyée")
    expect(manager.page.get_by_role("link", name="À traiter 0")).to_be_visible()


def test_an_activated_account_is_corrected_with_both_mailboxes(
    make: MakeContract, enter: Enter, open_page: OpenPage, system: WholeSystem
) -> None:
    contract = make(3)
    before, after = contract.person("Bruno", "Castelli"), contract.person("Bruno", "Castelli-Roy")
    contract.enroll(before)
    contract.activate(before)
    manager = enter(contract)
    manager.other_action(before, "Modifier l’email")
    manager.sees("Le changement doit être confirmé", "72 heures")
    for label in ("Nouvelle adresse", "Nouvelle adresse, une seconde fois"):
        manager.page.get_by_label(label, exact=True).fill(after.email)
    manager.press("Demander le changement")
    manager.is_told(f"Changement d’adresse demandé : {before.name}")
    confirmation = system.mailbox.wait_for(after.email, "adresse")
    notice = system.mailbox.wait_for(before.email, "adresse")
    assert after.email not in notice.text
    manager.see_list()
    expect(manager.row(before)).to_contain_text("Changement d’adresse à confirmer")
    person = open_page()
    follow(person, notice.link, "Acceptez-vous ce changement d’adresse ?", "Accepter le changement")
    follow(person, confirmation.link, "Confirmez votre adresse e-mail", "Confirmer cette adresse")
    expect(person.get_by_role("heading", level=1)).to_have_text("L’adresse du compte est changée")
    assert system.portal.sign_in(before.email, PASSWORD).account_id is None
    assert system.portal.sign_in(after.email, PASSWORD).account_id is not None
    manager.see_list()
    expect(manager.row(after)).to_contain_text(before.name)
    assert manager.counters() == (3, 1, 2)


def follow(page: Page, link: str, heading: str, button: str) -> None:
    """Follows the link of a mail, and presses a button there."""
    page.goto(link)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text(heading)


def test_the_back_button_does_nothing_twice(make: MakeContract, enter: Enter, system: WholeSystem) -> None:
    contract = make(3)
    person, other = contract.person("Léa", "Marchand"), contract.person("Hugo", "Vasseur")
    manager = enter(contract)
    manager.add("Ajout unique")
    manager.fill_in(person)
    manager.press("Ajouter un participant")
    manager.is_told(f"Inscription faite : {person.name}")
    manager.page.reload()
    manager.is_told(f"Inscription faite : {person.name}")
    manager.page.go_back()
    manager.is_told("Ajout unique")
    manager.fill_in(person)
    manager.press("Ajouter un participant")
    manager.is_told(re.compile(r"^Inscription (faite|déjà faite)\s:\sLéa Marchand$"))
    manager.page.go_back()
    manager.is_told("Ajout unique")
    manager.fill_in(other)
    manager.press("Ajouter un participant")
    manager.is_told(f"Inscription faite : {other.name}")
    manager.see_list()
    assert manager.counters() == (3, 2, 1)
    contract.mails_are_out()
    assert len(system.mailbox.mails(person.email)) == 1


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
def test_a_double_click_is_one_request(make: MakeContract, enter: Enter, system: WholeSystem, script: bool) -> None:
    contract = make(3)
    person = contract.person("Léa", "Marchand")
    manager = enter(contract, java_script_enabled=script)
    manager.page.goto("/participants/ajout")
    manager.fill_in(person)
    manager.page.get_by_role("button", name="Ajouter un participant").dblclick()
    manager.is_told(f"Inscription faite : {person.name}")
    manager.page.goto("/participants")
    manager.tick(person)
    manager.press("Renvoyer l’invitation")
    manager.is_told("Cette personne recevra son invitation")
    manager.page.get_by_role("button", name="Envoyer 1 invitation").dblclick()
    manager.is_told(f"Invitation envoyée : {person.name}")
    contract.mails_are_out()
    assert len(system.mailbox.mails(person.email)) == 2
    assert manager.page.get_by_role("row").count() == 2
    manager.see_list()
    assert manager.counters() == (3, 1, 2)


def test_a_session_that_ended_keeps_what_was_filled_in(
    make: MakeContract, enter: Enter, system: WholeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = make(3)
    person = contract.person("Léa", "Marchand")
    manager = enter(contract)
    manager.page.goto("/participants/ajout")
    manager.fill_in(person)
    end_session(manager, contract.reference, system, monkeypatch)
    manager.press("Ajouter un participant")
    manager.is_told("Votre session a expiré")
    manager.sees("ce que vous avez rempli vous attend")
    manager.press("Continuer en tant que Claire Aubrac")
    manager.is_told("Votre formulaire est prêt")
    manager.press("Envoyer")
    manager.is_told(f"Inscription faite : {person.name}")
    end_session(manager, contract.reference, system, monkeypatch)
    manager.page.goto("/participants?filtre=not_started")
    manager.is_told("Votre session a expiré")
    manager.press("Continuer en tant que Claire Aubrac")
    expect(manager.page).to_have_url(re.compile("filtre=not_started$"))


def end_session(manager: Manager, contract: str, system: WholeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the browser a session that was signed nine hours ago, as it is left by a manager who comes back."""
    answer = Response()
    with monkeypatch.context() as during:
        during.setattr(TimestampSigner, "get_timestamp", lambda _signer: int(time.time()) - 9 * 3600)
        Sessions(system.settings.secret).start(answer, MANAGER, {"company": BOCAGE, "contract": contract})
    found = re.match(r"gestion=([^;]+);", answer.headers["set-cookie"])
    assert found is not None
    manager.page.context.add_cookies([{"name": "gestion", "value": found[1], "url": system.site}])


def test_a_form_of_another_tab_does_not_reach_the_wrong_training(make: MakeContract, enter: Enter) -> None:
    shown, chosen = make(3), make(3)
    manager = enter(shown)
    manager.add("Ajout unique")
    manager.fill_in(shown.person("Léa", "Marchand"))
    other = Manager(manager.page.context.new_page())
    other.choose(chosen)
    manager.press("Ajouter un participant")
    manager.is_told("Vous avez changé de formation dans un autre onglet")
    assert shown.participants() == chosen.participants() == []
    other.page.reload()
    other.is_told(chosen.title)


def test_an_old_tab_shows_the_counters_of_now_once_it_is_told(make: MakeContract, enter: Enter) -> None:
    contract = make(3)
    person = contract.person("Léa", "Marchand")
    manager = enter(contract)
    assert manager.counters() == (3, 0, 3)
    contract.enroll(person)
    expect(manager.row(person)).to_have_count(1)
    assert manager.counters() == (3, 1, 2)


def test_each_company_sees_its_own_people_alone(make: MakeContract, enter: Enter) -> None:
    ours, theirs = make(3), make(3, company=FERRAND)
    mine, other = ours.person("Léa", "Marchand"), theirs.person("Hugo", "Vasseur")
    ours.enroll(mine, notify=False)
    theirs.enroll(other, notify=False)
    enrollment = theirs.participant(other).enrollment_id
    manager = enter(ours)
    for address in (
        f"/progression/{enrollment}",
        f"/participants/{enrollment}/email",
        f"/participants/{enrollment}/nom",
    ):
        manager.page.goto(address)
        manager.is_told("Cette page n’existe pas")
    for address in (f"/participants?q={other.email}", f"/progression?q={other.email}"):
        manager.page.goto(address)
        manager.sees("Aucun participant ne correspond à")
        expect(manager.page.get_by_role("main")).not_to_contain_text(other.name)
    manager.page.goto(f"/participants/supprimer?enrollment_id={enrollment}")
    expect(manager.page.get_by_role("main")).not_to_contain_text(other.name)
    manager.page.goto("/formations")
    expect(manager.page.get_by_role("main")).not_to_contain_text(theirs.title)
    neighbour = enter(theirs)
    neighbour.see_list()
    expect(neighbour.row(other)).to_have_count(1)
    expect(neighbour.page.get_by_role("main")).not_to_contain_text(mine.name)
    assert [one.email for one in theirs.participants()] == [other.email]
