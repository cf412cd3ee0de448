"""« Ajout unique » and « Ajout multiple » on the real API: results, refusals with their cure, and what was typed."""

import re

import pytest

from scripts.portal.persons import PersonFault, TypedPerson, email_cure, faults_of, wrong_part
from scripts.portal.routes.adding import MOST_ROWS, rows_offered
from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.processes.support import change, rows
from tests.scripts.portal.conftest import Browser, hidden_field
from tests.scripts.portal.working import resent, said, sent
from workers.database import transaction

UNIQUE = "/participants/ajout"
SEVERAL = "/participants/ajout-multiple"


def typed(email: str, first: str = "Léa", last: str = "Marchand", **more: str) -> dict[str, str]:
    return {"email": email, "first_name": first, "last_name": last, **more}


def filled(*people: tuple[str, str, str]) -> dict[str, list[str]]:
    """Returns the rows of the form for several."""
    return {name: [one[place] for one in people] for place, name in enumerate(("email", "first_name", "last_name"))}


def value(html: str, field: str) -> str | None:
    found = re.search(f'<input class="input" id="{field}"[^>]*? value="([^"]*)"', html)
    return found[1] if found else None


def test_one_person_is_added_and_appears_at_once(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@example.com", notify="1"))
    assert "Inscription faite : Léa Marchand" in said(answer)
    assert "Un compte est créé pour lea@example.com. L’invitation part à l’instant." in said(answer)
    assert "Invitation en cours d’envoi" in said(answer)
    assert "Léa Marchand" in manager.get("/participants").text
    assert rows("SELECT kind FROM email WHERE to_address = 'lea@example.com'") == [("invitation",)]
    assert manager.get(str(answer.url)).text.count("Inscription faite") == answer.text.count("Inscription faite")


def test_the_invitation_is_optional(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@example.com"))
    assert "Aucun message n’est parti, comme demandé" in said(answer)
    assert rows("SELECT count(*) FROM email WHERE to_address = 'lea@example.com'") == [(0,)]


def test_a_refused_form_keeps_what_was_typed_and_names_each_cure(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@", "Léa & co", ""))
    told = said(answer)
    assert "La personne n’est pas encore inscrite" in told
    assert "Il manque la partie après le @, par exemple « entreprise.fr »" in told
    assert 'href="#email"' in answer.text
    assert 'href="#last_name"' in answer.text
    assert (value(answer.text, "email"), value(answer.text, "first_name")) == ("lea@", "Léa &amp; co")
    assert 'name="notify" value="1" aria' in answer.text  # not ticked, as before
    corrected = sent(manager, UNIQUE, typed("lea@example.com", notify="1"), page=str(answer.url))
    assert "Inscription faite" in said(corrected)


def test_an_attached_account_keeps_its_name_and_this_is_told(manager: Browser) -> None:
    with transaction() as session:
        enrolled(session, "max", contract="C-2")
    [(first, last)] = rows("SELECT first_name, last_name FROM account WHERE email_norm = 'max@example.com'")
    answer = sent(manager, UNIQUE, typed("MAX@example.com", "Maxime", "Autre", notify="1"))
    assert f"Inscription faite : {first} {last}" in said(answer)
    assert f"garde le nom « {first} {last} »" in said(answer)
    assert "Vous avez saisi « Maxime Autre »" in said(answer)


def test_a_person_on_the_contract_costs_nothing(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("ada@example.com", notify="1"))
    assert "Inscription déjà faite" in said(answer)
    assert "aucune place n’est utilisée" in said(answer)
    assert rows("SELECT count(*) FROM enrollment") == [(4,)]


def test_a_probable_typing_mistake_is_asked_about(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@gmial.com"))
    assert "Vouliez-vous écrire gmail.com ?" in said(answer)


def test_without_a_seat_the_page_says_so_and_has_no_form(manager: Browser) -> None:
    fields = manager.hidden(UNIQUE)
    change("UPDATE contract SET planned_seats = enrolled_count WHERE reference = 'C-1'")
    for page in (UNIQUE, SEVERAL):
        answer = manager.get(page)
        assert "Les 3 places sont utilisées" in said(answer)
        assert f'action="{page}"' not in answer.text
    late = resent(manager, UNIQUE, fields | typed("lea@example.com"))
    assert "Il ne reste plus de place" in said(late)
    assert value(late.text, "email") == "lea@example.com"


def test_on_a_contract_that_has_ended_no_one_is_added(manager: Browser) -> None:
    fields = manager.hidden(UNIQUE)
    change("UPDATE contract SET starts_on = '2020-01-01', ends_on = '2020-12-31' WHERE reference = 'C-1'")
    for page in (UNIQUE, SEVERAL, "/participants/import"):
        answer = manager.get(page)
        assert "Le contrat est terminé : les ajouts sont fermés" in said(answer)
        assert f'action="{page}"' not in answer.text
    assert "Le contrat est terminé" in said(resent(manager, UNIQUE, fields | typed("lea@example.com")))


def test_a_double_click_is_one_job_and_a_correction_another(manager: Browser) -> None:
    fields = manager.hidden(UNIQUE) | typed("lea@example.com")
    first, again = resent(manager, UNIQUE, fields), resent(manager, UNIQUE, fields)
    assert first.url == again.url
    other = resent(manager, UNIQUE, fields | {"email": "lea.marchand@example.com"})  # a step back, and corrected
    assert other.url != first.url
    assert "Inscription faite" in said(other)
    assert rows("SELECT count(*) FROM job") == [(2,)]


def test_another_company_finds_no_result(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@example.com"))
    several = sent(manager, SEVERAL, filled(("zed@example.com", "Zed", "Dû")))
    manager.sign_in("autre")
    for url in (answer.url, several.url):
        found = manager.get(str(url))
        assert (found.status_code, "Léa" in found.text or "Zed" in found.text) == (404, False)


def test_text_that_cannot_be_sent_is_told_at_once(manager: Browser) -> None:
    fields = manager.hidden(UNIQUE) | typed("lea@example.com", "L\0a")
    assert "caractères interdits" in said(resent(manager, UNIQUE, fields))


def test_there_is_a_row_for_each_seat_left(manager: Browser) -> None:
    assert [rows_offered(left) for left in (-1, 0, 1, 200, 201)] == [0, 0, 1, 200, MOST_ROWS]
    change("UPDATE contract SET planned_seats = enrolled_count + 2 WHERE reference = 'C-1'")
    assert manager.get(SEVERAL).text.count('name="email"') == 2
    change("UPDATE contract SET planned_seats = enrolled_count + 500 WHERE reference = 'C-1'")
    answer = manager.get(SEVERAL)
    assert answer.text.count('name="email"') == MOST_ROWS
    assert "Il reste 500 places : cette page en remplit 200 à la fois" in said(answer)


def test_several_are_added_and_each_refused_one_is_corrected_in_place(manager: Browser) -> None:
    people = filled(
        ("lea@example.com", "Léa", "Marchand"),
        ("", "", ""),
        ("bob@martel", "Bob", "Roy"),
        ("ADA@example.com", "Ada", "Lovelace"),
        ("Lea@example.com", "Jean", "Petit"),
    )
    answer = sent(manager, SEVERAL, people)
    told = said(answer)
    assert "1 participant ajouté, 2 à corriger" in told
    assert "1 personne figurait déjà dans la liste" in told
    assert "Bob Roy : L’email n’est pas valable. Il manque la fin de l’adresse, par exemple « martel.fr »" in told
    assert "La même adresse a été saisie pour Léa Marchand" in told
    assert [value(answer.text, f"email-{row}") for row in (1, 2, 3)] == ["bob@martel", "Lea@example.com", None]
    assert rows("SELECT kind FROM email WHERE to_address = 'lea@example.com'") == [("invitation",)]
    corrected = filled(("bob@martel.fr", "Bob", "Roy"), ("", "", ""))
    done = sent(manager, SEVERAL, corrected, page=str(answer.url))
    assert "1 participant ajouté" in said(done)
    assert "à corriger" not in said(done)


def test_rows_beyond_the_last_seat_are_kept(manager: Browser) -> None:
    fields = manager.hidden(SEVERAL)
    change("UPDATE contract SET planned_seats = enrolled_count + 1 WHERE reference = 'C-1'")
    people = filled(("lea@example.com", "Léa", "M"), ("tom@example.com", "Tom", "D"))
    answer = resent(manager, SEVERAL, fields | people)
    assert "1 participant ajouté, 1 à corriger" in said(answer)
    assert "Tom D : Il ne reste plus de place" in said(answer)
    assert value(answer.text, "email-1") == "tom@example.com"


def test_empty_rows_alone_are_not_sent(manager: Browser) -> None:
    answer = sent(manager, SEVERAL, filled(("", "", ""), (" ", "", "")))
    assert (answer.status_code, "Aucune ligne n’est remplie" in said(answer)) == (422, True)
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_the_pages_are_there_in_english(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@example.com"))
    assert "Enrolled: Léa Marchand" in said(manager.get(f"{answer.url.path}?lang=en"))
    assert "Add several" in said(manager.get(SEVERAL))


def test_hostile_names_are_text(manager: Browser) -> None:
    answer = sent(manager, UNIQUE, typed("lea@example.com", "<script>alert(1)</script>", '"><img src=x>'))
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text


@pytest.mark.parametrize(
    ("email", "cure"),
    [
        ("lea", "email.no_at"),
        ("lea@", "email.no_domain"),
        ("@martel.example", "email.no_name"),
        ("lea@martel", "email.no_end"),
        ("lea@martel.", "email.no_end"),
        ("lea marchand@martel.example", "email.space"),
        ("lea@martel,example", "email.comma"),
        ("lea@@martel.example", "email.two_ats"),
        ("lea@martel..example", "email.other"),
    ],
)
def test_an_address_has_a_cure_of_its_own(email: str, cure: str) -> None:
    assert email_cure(email)[0] == cure


def test_the_wrong_part_of_an_address_is_found() -> None:
    fault = PersonFault("email", "invalid_email", cure="email.no_end")
    assert wrong_part(fault, "lea@martel") == ("lea@", "martel")
    assert wrong_part(fault._replace(cure="email.no_at"), "lea") == ("", "lea")


def test_every_fault_of_a_person_is_told() -> None:
    detail = {"faults": [{"code": "missing_email", "field": "email"}, {"code": "missing_name", "field": "first_name"}]}
    found = faults_of("missing_email", "email", detail, "")
    assert [(one.field, one.reason) for one in found] == [
        ("email", "missing_email"),
        ("first_name", "missing_first_name"),
    ]
    earlier = faults_of(
        "duplicate_in_file", "email", {"earlier_position": 0}, "a@b.fr", [TypedPerson("a@b.fr", "A", "B")]
    )
    assert [dict(one.values) for one in earlier] == [{"name": "A B"}]
    assert faults_of("no_seat_left", "contract", None, None)[0].field == ""


def test_refused_people_are_not_sent_to_another_contract(manager: Browser) -> None:
    with transaction() as session:
        add_contract(session, "C-3")
    answer = sent(manager, SEVERAL, filled(("lea@", "Léa", "Marchand"), ("tom@example.com", "Tom", "Petit")))
    manager.post("/formations", {"reference": "C-3"})  # in another tab
    again = manager.get(str(answer.url))
    assert hidden_field(again.text, "contract") == "C-1"
    corrected = manager.client.post(
        SEVERAL, data=manager.hidden(str(answer.url)) | filled(("lea@example.com", "Léa", "Marchand"))
    )
    assert corrected.status_code == 403
    assert rows("SELECT count(*) FROM account WHERE email_norm = 'lea@example.com'") == [(0,)]


def test_a_refused_person_is_not_sent_to_another_contract(manager: Browser) -> None:
    with transaction() as session:
        add_contract(session, "C-3")
    answer = sent(manager, UNIQUE, typed("lea@"))
    manager.post("/formations", {"reference": "C-3"})  # in another tab
    assert hidden_field(manager.get(str(answer.url)).text, "contract") == "C-1"
