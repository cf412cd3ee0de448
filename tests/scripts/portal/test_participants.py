"""The list of participants, as a manager without script sees it."""

import re
from datetime import timedelta

from sqlalchemy import text

from scripts.portal.moments import now
from tests.kit.builders.contracts import add_contract, enrolled
from tests.scripts.portal.conftest import Browser
from workers.database import transaction


def change(statement: str, **values: object) -> None:
    with transaction() as session:
        session.execute(text(statement), values)


def addresses(html: str) -> list[str]:
    return re.findall(r'class="sub">([^<]+@[^<]+)<', html)


def chips(html: str) -> dict[str, str]:
    """Returns the numbers beside the filters."""
    found = re.findall(r'class="chip.*?>(?:<svg.*?</svg>)?([^<]+) <span class="count">([^<]+)<', html)
    return {name.strip(): number for name, number in found}


def test_the_list_has_counters_and_everyone_on_the_contract(manager: Browser) -> None:
    html = manager.get("/participants").text
    figures = re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd>", html)
    assert figures == [("Inscriptions prévues", "10"), ("Participants inscrits", "3"), ("Places restantes", "7")]
    assert "3 places utilisées sur 10" in html
    assert addresses(html) == ["zoe@example.com", "bob@example.com", "ada@example.com"]
    assert "3 participants affichés sur 3" in html
    assert "Une ligne par place restante\N{NARROW NO-BREAK SPACE}: 7 au plus" in html


def test_the_page_is_never_old(manager: Browser) -> None:
    assert manager.get("/participants").headers["cache-control"] == "no-store"
    with transaction() as session:
        enrolled(session, "dan")
    assert addresses(manager.get("/participants").text)[0] == "dan@example.com"


def test_filters_have_numbers_and_keep_the_search(manager: Browser) -> None:
    change("UPDATE enrollment SET progress = 'completed', completed_at = now() WHERE words LIKE '%ada%'")
    change(
        "UPDATE email SET state = 'failed', due_at = NULL, finished_at = now(), error = CAST(:error AS json) "
        "WHERE to_address = 'bob@example.com'",
        error='{"reason": "address_rejected"}',
    )
    html = manager.get("/participants?q=dû").text
    assert chips(html) == {"Tous": "3", "À traiter": "1", "Non commencé": "2", "En cours": "0", "Terminé": "1"}
    assert 'href="/participants?q=d%C3%BB&amp;filtre=completed"' in html
    assert addresses(manager.get("/participants?filtre=completed").text) == ["ada@example.com"]
    todo = manager.get("/participants?filtre=todo").text
    assert addresses(todo) == ["bob@example.com"]
    assert "Corriger l’adresse" in todo
    assert addresses(html)[0] == "bob@example.com"  # those to act on come first
    assert addresses(manager.get("/participants?filtre=nothing").text) == addresses(manager.get("/participants").text)


def test_long_lists_go_on_page_by_page(manager: Browser) -> None:
    change("UPDATE contract SET planned_seats = 200")
    with transaction() as session:
        enrolled(session, *[f"person{number:02}" for number in range(60)])
    first = manager.get("/participants").text
    assert len(addresses(first)) == 50
    assert "Sélectionner les 63 participants" in first
    following = re.search(r'href="(/participants\?apres=[^"]+)" rel="next"', first)
    assert following is not None
    second = manager.get(following[1]).text
    assert len(addresses(second)) == 13
    assert not set(addresses(first)) & set(addresses(second))
    assert ">Premiers participants<" in second
    assert "Sélectionner les" not in manager.get("/participants?q=person").text.replace("Sélectionner les 50", "")


def test_an_empty_list_says_what_to_do(manager: Browser) -> None:
    assert (
        "Aucun participant ne correspond à «\N{NARROW NO-BREAK SPACE}dupond"
        in manager.get("/participants?q=dupond").text
    )
    assert "Rien à traiter" in manager.get("/participants?filtre=todo").text
    assert "Aucun participant dans ce filtre" in manager.get("/participants?filtre=in_progress").text
    with transaction() as session:
        add_contract(session, "C-3", seats=1)
    manager.post("/formations", {"reference": "C-3"})
    assert "1 place vous attend" in manager.get("/participants").text


def test_a_full_contract_says_why_nobody_can_be_added(manager: Browser) -> None:
    change("UPDATE contract SET planned_seats = enrolled_count")
    html = manager.get("/participants").text
    assert 'aria-disabled="true" aria-describedby="plein"' in html
    assert "Une place revient quand vous retirez une personne qui n’a pas commencé" in html
    assert 'href="/participants/ajout"' not in html


def test_a_contract_outside_its_dates_says_so(manager: Browser) -> None:
    today = now().date()
    change("UPDATE contract SET starts_on = :day", day=today + timedelta(days=2))
    assert "Ce contrat commence le" in manager.get("/participants").text
    change("UPDATE contract SET starts_on = NULL, ends_on = :day", day=today - timedelta(days=1))
    html = manager.get("/participants").text
    assert "Ce contrat a pris fin le" in html
    assert 'href="/participants/ajout"' not in html


def test_a_company_without_contract_is_told(manager: Browser) -> None:
    change("UPDATE contract SET portal_id = (SELECT id FROM portal WHERE name <> 'local' LIMIT 1) WHERE false")
    change("UPDATE contract SET company_id = (SELECT id FROM company WHERE reference = 'autre')")
    manager.post("/deconnexion", {}, page="/connexion")
    assert "Aucun contrat pour l’instant" in manager.sign_in("acme").text


def test_the_whole_list_is_a_file(manager: Browser) -> None:
    answer = manager.get("/participants/liste.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="participants.csv"' in answer.headers["content-disposition"]
    assert answer.content.decode("utf-8-sig").count("@example.com") == 3


def test_the_language_and_the_theme_are_kept(manager: Browser) -> None:
    html = manager.get("/participants?lang=en&theme=dark&q=ada").text
    assert '<html lang="en" data-theme="dark">' in html
    assert "Seats planned" in html
    assert 'href="/participants?q=ada&amp;lang=fr"' in html
    assert '<html lang="en" data-theme="dark">' in manager.get("/participants").text
    assert '<html lang="fr">' in manager.get("/participants?lang=fr&theme=auto").text
    assert '<html lang="fr">' in manager.get("/participants?lang=xx&theme=xx").text


def test_a_contract_with_seats_left_is_shown_first(manager: Browser) -> None:
    change("UPDATE contract SET planned_seats = enrolled_count WHERE reference = 'C-1'")
    with transaction() as session:
        add_contract(session, "C-3")
    manager.post("/deconnexion", {})
    assert "Contrat C-3" in manager.sign_in("acme").text
    assert manager.get("/formations").text.count("Afficher") == 1
