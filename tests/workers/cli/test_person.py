"""`matricule person` exports the data of a person as JSON, in a file only its owner reads, or erases it on
confirmation.
"""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    did,
    someone,
)
from tests.kit.processes.support import Processes, change, rows
from tests.workers.cli.conftest import Call
from workers.cli import edge
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.requests.registry import parse

ANNE = "anne@example.com"
NAME = "Anne\u0000 <b>\u202e 😀"


@pytest.fixture(autouse=True)
def _people(fresh_database: str) -> None:
    """Enrolls Anne and Zoé on a contract, and adds refused rows for Anne with hostile names."""
    with transaction() as session:
        add_contract(session)
        did(session, asking(someone(ANNE, "Anne", "Lorval"), "zoe"))
        people = [{"email": ANNE, "first_name": name, "last_name": "?"} for name in (NAME, "\ud83d")]
        body = json.dumps({"contract": "C-1", "policy": "valid_rows", "people": people})
        accept(session, LOCAL_PORTAL_ID, parse("enroll", body), body, key="hostile")
        did(session)


@pytest.fixture
def worker(processes: Processes) -> Processes:
    processes.worker("maintenance")
    return processes


def typed(person: Any) -> list[str]:
    return [one["row"]["first_name"] for one in person["typed"] if "row" in one]


def test_the_export_is_printed_and_its_operator_recorded(call: Call, worker: Processes) -> None:
    called = call("person", "export", " Anne@Example.com ")
    assert (called.code, called.err) == (0, "")
    assert called.json["account"]["last_name"] == "Lorval"
    assert typed(called.json) == ["Anne", NAME, "\ud83d"]
    assert "zoe" not in called.out
    audited = rows("SELECT action, requested_by LIKE 'shell:_%' FROM audit WHERE action = 'export_person'")
    assert audited == [("export_person", True)]
    assert rows("SELECT count(*) FROM idempotency WHERE key LIKE 'ops:%'") == [(1,)]


def test_a_file_is_for_its_owner_alone_and_none_is_written_over(call: Call, worker: Processes, tmp_path: Path) -> None:
    file = tmp_path / "anne.json"
    called = call("person", "export", ANNE, "--output", file)
    assert (called.code, called.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert typed(json.loads(file.read_text("utf-8"))) == ["Anne", NAME, "\ud83d"]
    before = file.read_bytes()
    again = call("person", "export", ANNE, "--output", file)
    assert (again.code, "there already" in again.err, file.read_bytes()) == (65, True, before)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert call("person", "export", ANNE, "--output", link).code == 65
    assert call("person", "export", ANNE, "--output", tmp_path / "no" / "folder").code == 65
    assert not (tmp_path / "elsewhere").exists()


def test_a_person_is_erased_after_confirmation(call: Call, worker: Processes) -> None:
    no = call("person", "erase", ANNE, "--reason", "lettre du 3 mars", stdin="n\n")
    nobody = call("person", "erase", ANNE, "--reason", "lettre du 3 mars", stdin="")
    assert (no.code, nobody.code, rows("SELECT count(*) FROM job WHERE kind = 'erase_person'")) == (1, 1, [(0,)])
    yes = call("person", "erase", ANNE, "--reason", "lettre du 3 mars", stdin="y\n")
    result = json.loads(yes.out[yes.out.index("{") :])  # after the typed text
    assert (yes.code, result["code"], result["counts"]["seats"]) == (0, "erased", 1)
    assert rows("SELECT count(*) FROM account WHERE last_name = 'Lorval'") == [(0,)]
    assert rows("SELECT detail ->> 'reason' FROM audit WHERE action = 'erase_person'") == [("lettre du 3 mars",)]
    for command in (("erase", ANNE, "--reason", "x", "--yes"), ("export", ANNE)):
        called = call("person", *command)
        assert (called.code, called.out, called.err) == (1, "", "refused: no account has this address (not_found)\n")


@pytest.mark.parametrize(
    "args",
    [
        ("export", "no address"),
        ("erase", ANNE, "--reason", "", "--yes"),
        ("erase", "x", "--reason", "x", "--yes"),
        ("erase", ANNE, "--reason", f"{ANNE} asked for it", "--yes"),
    ],
)
def test_an_invalid_request_is_reported(call: Call, args: tuple[str, ...]) -> None:
    called = call("person", *args)
    assert (called.code, called.json["accepted"]) == (65, False)
    assert rows("SELECT count(*) FROM job WHERE kind LIKE '%_person'") == [(0,)]


@pytest.mark.parametrize("args", [("export",), ("erase", ANNE), ("forget", ANNE), ("export", ANNE, "--wait", "-1")])
def test_wrong_use_says_how(call: Call, args: tuple[str, ...]) -> None:
    assert call("person", *args).code == 2


def test_a_job_not_finished_in_time_says_so(call: Call) -> None:
    called = call("person", "export", ANNE, "--wait", "0.1")
    assert (called.code, called.out, "goes on" in called.err) == (75, "", True)


def test_a_dead_job_is_named_and_not_the_person(call: Call) -> None:
    change("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
           " NEW.state = 'dead'; NEW.due_at = NULL; NEW.finished_at = now(); RETURN NEW; END $$")  # fmt: skip
    change("CREATE TRIGGER die BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION die()")
    called = call("person", "export", ANNE)
    assert (called.code, "matricule retry" in called.err, "anne" in called.err) == (70, True, False)


@pytest.mark.parametrize("text", ["é", "\ud83d", "a\udc00b", "\\ud83d", "\u0000"])
def test_printed_json_is_what_it_was(text: str) -> None:
    printed = edge.to_json({"a": text})
    assert json.loads(printed.encode("utf-8")) == {"a": text}


def test_help_tells_the_exit_codes(call: Call) -> None:
    for command in ("export", "erase"):
        shown = call("person", command, "--help").out
        assert "75  not" in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert ("no reason" in shown, "answered no" in shown) == (command == "erase",) * 2
        assert ("FILE is there" in shown) is (command == "export")
