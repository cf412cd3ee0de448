"""`matricule person correct-name`: operators may correct a name at once, with a reason, where a manager may not."""

import json
from typing import Any

import pytest

from models.base import new_id
from tests.kit.builders.corrections import OLD, enrol_also, participant
from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call, Called
from tests.workers.cli.test_correct_email import work
from workers.database import transaction

WHY = ("--reason", "asked by the person, ticket 12", "--yes")
NAMES = "SELECT first_name, last_name FROM account"


@pytest.fixture(autouse=True)
def _shared_account(fresh_database: str) -> None:
    """Creates an activated person at two companies."""
    with transaction() as session:
        participant(session)
        enrol_also(session)


def answer(called: Called) -> Any:
    """Returns the result of the job, which stands after the log lines of the work done here."""
    return json.loads(called.out[called.out.index("{\n") :])["result"]


@pytest.mark.parametrize("by", ["address", "identifier"])
def test_the_name_of_an_account_of_two_companies_is_corrected(call: Call, by: str) -> None:
    [(account_id,)] = rows("SELECT id FROM account")
    who = OLD if by == "address" else account_id
    called = call("person", "correct-name", who, "--last-name", "Durand", *WHY)
    assert (called.code, called.json["state"], called.json["kind"]) == (0, "queued", "correct_name_by_ops")
    work()
    assert rows(NAMES) == [("Zoé", "Durand")]
    [(reason, result)] = rows("SELECT detail ->> 'reason', result FROM audit WHERE action = 'correct_name_by_ops'")
    assert (reason, result) == (WHY[1], "name_corrected")


def test_it_waits_for_the_answer_and_a_refusal_is_exit_code_1(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.cli.asking.wake", lambda _: work())
    nobody = call("person", "correct-name", new_id(), "--first-name", "A", *WHY, "--wait")
    assert (nobody.code, answer(nobody)["people"][0]["code"]) == (1, "not_found")
    done = call("person", "correct-name", OLD, "--first-name", "Zoë", *WHY, "--wait")
    assert (done.code, answer(done)["people"][0]["code"]) == (0, "name_corrected")
    again = call("person", "correct-name", OLD, "--first-name", "Zoë", *WHY, "--wait")
    assert (again.code, answer(again)["people"][0]["code"]) == (0, "unchanged")


@pytest.mark.parametrize(("said", "jobs"), [("n\n", 0), ("", 0), ("y\n", 1)])
def test_a_name_is_changed_when_it_is_meant(call: Call, said: str, jobs: int) -> None:
    called = call("person", "correct-name", OLD, "--last-name", "Durand", *WHY[:2], stdin=said)
    assert called.code == (0 if jobs else 1)
    assert "last name Durand" in called.err
    assert rows("SELECT count(*) FROM job WHERE kind = 'correct_name_by_ops'") == [(jobs,)]


@pytest.mark.parametrize("names", [(), ("--last-name", ""), ("--first-name", "A\u202eB")])
def test_names_that_cannot_be_kept_are_refused(call: Call, names: tuple[str, ...]) -> None:
    assert call("person", "correct-name", OLD, *names, *WHY).code == 65
