"""The list of participants, as a manager without script sees it."""

from tests.scripts.portal.conftest import Browser


def test_the_list_has_counters_and_everyone_on_the_contract(manager: Browser) -> None:
    answer = manager.get("/participants")
    assert answer.status_code == 200
    for shown in ("Inscriptions prévues", "Participants inscrits", "Places restantes", "ada@example.com", "3 places"):
        assert shown in answer.text
    assert "eva@example.com" not in answer.text
