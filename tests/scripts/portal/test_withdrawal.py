"""Supprimer: the page says which seats come back, does it for those alone, and names who stays and why."""

from uuid import uuid4

import pytest

from scripts.portal import selections
from tests.kit.processes.support import change, rows
from tests.scripts.portal.acting import done, enrollment, heading, jobs, words
from tests.scripts.portal.conftest import Browser, hidden_field

PAGE = "/participants/supprimer"


def begin(name: str) -> None:
    change("UPDATE enrollment SET progress = 'in_progress', started_at = now() WHERE id = :id", id=enrollment(name))


def confirmed(manager: Browser, *names: str) -> dict[str, str]:
    """Returns the fields of the confirmation for these people."""
    page = manager.post(PAGE, {"enrollment_id": [enrollment(name) for name in names]})
    return {name: hidden_field(page.text, name) for name in ("selection", "key")}


def test_two_lists_say_whose_seat_comes_back(manager: Browser) -> None:
    begin("bob")
    page = manager.post(PAGE, {"enrollment_id": [enrollment("ada"), enrollment("bob")]})
    assert heading(page) == "1 des 2 personnes sélectionnées peut être retirée"
    shown = words(page)
    back, stays = shown.index("Retraits à confirmer : la place revient"), shown.index("Retraits impossibles")
    assert back < shown.index("ada@example.com") < stays < shown.index("bob@example.com")
    assert "Supprimer 1 participant" in shown
    assert "Formation commencée le" in shown
    assert "2 au lieu de 3" in shown
    assert jobs("withdraw") == 0


def test_only_those_of_the_first_list_are_withdrawn(manager: Browser) -> None:
    begin("bob")
    page = done(manager, manager.post(f"{PAGE}/faire", confirmed(manager, "ada", "bob") | {"notify": "1"}))
    assert heading(page) == "Retrait fait : Zoé Le Dû"
    assert "bob@example.com" not in words(page)
    assert rows("SELECT count(*) FROM enrollment WHERE withdrawn_at IS NOT NULL") == [(1,)]
    assert rows("SELECT count(*) FROM email WHERE kind = 'withdrawal'") == [(1,)]
    assert "ada@example.com" not in words(manager.get("/participants"))


def test_people_are_told_only_if_the_manager_wants_it(manager: Browser) -> None:
    done(manager, manager.post(f"{PAGE}/faire", confirmed(manager, "ada")))
    assert rows("SELECT count(*) FROM email WHERE kind = 'withdrawal'") == [(0,)]


def test_a_double_click_is_one_job(manager: Browser) -> None:
    fields = confirmed(manager, "ada", "zoe")
    first, second = (manager.post(f"{PAGE}/faire", fields) for _ in range(2))
    assert first.url == second.url
    assert jobs("withdraw") == 1
    assert heading(done(manager, second)) == "2 retraits faits, 2 places reviennent"


def test_who_begins_meanwhile_is_named_with_the_reason(manager: Browser) -> None:
    fields = confirmed(manager, "ada", "bob")
    begin("bob")
    page = done(manager, manager.post(f"{PAGE}/faire", fields))
    assert heading(page) == "1 retrait fait sur 2"
    shown = words(page)
    assert (
        shown.index("Retraits non faits, et pourquoi") < shown.index("bob@example.com") < shown.index("Retraits faits")
    )
    assert "La formation est commencée" in shown
    assert 'class="answer warn"' in page.text


def test_a_selection_that_stays_whole_has_no_button(manager: Browser) -> None:
    begin("ada")
    page = manager.post(PAGE, {"enrollment_id": enrollment("ada")})
    assert heading(page) == "Cette personne ne peut pas être retirée"
    assert f"{PAGE}/faire" not in page.text


def test_no_ticked_row_asks_to_tick_one(manager: Browser) -> None:
    assert heading(manager.post(PAGE, {})) == "Aucune ligne n’est cochée"


def test_rows_of_another_company_leave_no_trace(manager: Browser) -> None:
    theirs = enrollment("eva", "C-2")
    page = manager.post(PAGE, {"enrollment_id": [theirs, enrollment("ada"), "x", str(uuid4())]})
    assert page.status_code == 200
    assert "eva" not in page.text
    assert "2 lignes ne sont pas dans la liste de ce contrat" in words(page)
    packed = selections.pack([theirs, enrollment("ada")])
    result = done(manager, manager.post(f"{PAGE}/faire", {"selection": packed}))
    assert heading(result) == "1 retrait fait sur 2"
    assert "eva" not in result.text
    assert theirs not in result.text
    assert rows("SELECT withdrawn_at FROM enrollment WHERE id = :id", id=theirs) == [(None,)]


@pytest.mark.parametrize("packed", ["x", "é", "AAAA", "!!!!", "A" * 23])
def test_a_selection_that_is_not_ours_is_refused(manager: Browser, packed: str) -> None:
    answer = manager.post(f"{PAGE}/faire", {"selection": packed})
    assert answer.status_code == 400
    assert jobs("withdraw") == 0


def test_everyone_of_a_filter_is_more_than_the_page(manager: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selections, "SHOWN", 2)
    page = manager.post(PAGE, {"everyone": "1", "filtre": "not_started", "enrollment_id": enrollment("ada")})
    assert heading(page) == "Les 3 personnes sélectionnées peuvent être retirées"
    assert "1 à 2 sur 3" in words(page)
    following = {"selection": hidden_field(page.text, "selection"), "allowed_from": "2"}
    later = manager.post(PAGE, following)
    assert "3 à 3 sur 3" in words(later)
    assert "Supprimer 3 participants" in words(later)


def test_a_result_of_another_company_or_kind_is_not_shown(browser: Browser) -> None:
    browser.sign_in("acme")
    fields = confirmed(browser, "ada")
    page = done(browser, browser.post(f"{PAGE}/faire", fields))
    address = f"{PAGE}/fait?{page.url.query.decode()}"
    assert browser.get(address.replace("supprimer", "reinitialisations")).status_code == 404
    assert browser.get(f"{PAGE}/fait?demande=x").status_code == 404
    browser.sign_in("autre")
    assert browser.get(address).status_code == 404


def test_the_page_is_in_english_too(manager: Browser) -> None:
    manager.get("/participants?lang=en")
    page = manager.post(PAGE, {"enrollment_id": enrollment("ada")})
    assert heading(page) == "This person can be removed"
