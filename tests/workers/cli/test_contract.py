"""`matricule contract` lists contracts with the counters that managers read, and the participants of one."""

import pytest

from tests.kit.builders.contracts import add_contract, asking, did, someone
from tests.kit.processes.support import change
from tests.workers.cli.conftest import Call
from workers.database import transaction


@pytest.fixture(autouse=True)
def _contracts(fresh_database: str) -> None:
    """Enrolls Anne and Zoé on a contract of ten seats, withdraws a third person, and creates an empty contract."""
    with transaction() as session:
        add_contract(session, "C-0", 4, company="other")
        add_contract(session)
        did(session, asking(someone("anne", "Anne", "Lorval"), someone("zoe", "Zoé", "[b]Dû[/b]"), "gone"))
    change("UPDATE email SET state = 'failed' WHERE to_address LIKE 'anne%'")
    change(
        "UPDATE enrollment SET withdrawn_at = now() WHERE account_id ="
        " (SELECT id FROM account WHERE email_norm LIKE 'gone%')"
    )
    change("UPDATE contract SET enrolled_count = 2, ends_on = '2036-12-31' WHERE reference = 'C-1'")
    change("INSERT INTO portal (id, name) VALUES (gen_random_uuid(), 'lms')")


def test_contracts_are_listed_with_their_three_counters(call: Call) -> None:
    heading, *lines = call("contract").out.splitlines()
    assert "Inscriptions prévues  Participants inscrits  Places restantes" in heading
    assert [line.split() for line in lines] == [
        ["C-1", "local", "Acmé", "Sécurité", "10", "2", "8"],
        ["C-0", "local", "Acmé", "Sécurité", "4", "0", "4"],
    ]
    assert "the latest 1 of 2; --limit shows more" in call("contract", "--limit", "1").out
    [first, _] = call("contract", "--json").json
    numbers = [first[name] for name in ("planned_seats", "enrolled_count", "remaining")]
    assert (first["reference"], numbers, first["ends_on"]) == ("C-1", [10, 2, 8], "2036-12-31")
    assert call("contract", "--portal", "lms", "--json").json == []
    assert call("contract", "--portal", "lms").out == "no contract is like this\n"


def test_one_shows_its_participants_with_progress_and_mail(call: Call) -> None:
    shown = call("contract", "show", "C-1").out
    assert "Inscriptions prévues 10 · Participants inscrits 2 · Places restantes 8\n" in shown
    assert "to 2036-12-31" in shown
    people = [line.split()[1:] for line in shown.splitlines() if "@" in line]
    assert people == [
        ["Anne", "Lorval", "anne@example.com", "not_started", "invitation", "failed"],
        ["Zoé", "[b]Dû[/b]", "zoe@example.com", "not_started", "invitation", "owed"],
    ]
    told = call("contract", "show", "C-1", "--json").json
    assert [(one["email"], one["mail"], one["mail_state"]) for one in told["participants"]] == [
        ("anne@example.com", "invitation", "failed"),
        ("zoe@example.com", "invitation", "owed"),
    ]
    assert told["remaining"] == 8
    assert "@" not in call("contract", "show", "C-0").out


def test_a_participant_without_any_mail_is_shown(call: Call) -> None:
    change("DELETE FROM email")
    [anne, _] = call("contract", "show", "C-1", "--json").json["participants"]
    assert (anne["first_name"], anne["mail"], anne["mail_state"]) == ("Anne", None, None)


@pytest.mark.parametrize("words", [("C-9",), ("C-1", "--portal", "lms"), ("C-1", "--portal", "nobody")])
def test_a_contract_the_portal_does_not_have(call: Call, words: tuple[str, ...]) -> None:
    called = call("contract", "show", *words)
    assert (called.code, called.out, called.err) == (1, "", "this portal has no such contract\n")


def test_options_of_the_list_are_not_taken_for_those_of_one(call: Call) -> None:
    called = call("contract", "--portal", "lms", "show", "C-1")
    assert (called.code, "behind" in called.err) == (2, True)
