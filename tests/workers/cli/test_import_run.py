"""`matricule import run` stores a file, follows its import, saves its errors, and has an exit code for each result."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.processes.support import rows, wait_until
from tests.workers.cli.conftest import Call
from workers.actors import rosters
from workers.database import transaction
from workers.engine.claimer import this_process
from workers.engine.ledger import JOBS, claim
from workers.requests.queues import Queue

CATALOG = {
    "companies": [{"reference": "acme", "name": "Acmé"}],
    "trainings": [{"reference": "t", "title": "Hygiène"}],
    "contracts": [{"reference": "k", "company": "acme", "training": "t", "planned_seats": 2}],
}
LINES = "Nom;Prénom;E-mail\nDû;Zoé;a@b.fr\nDû;Ève;b@b\nDû;Luc;c@b.fr\nDû;Max;d@b.fr\n"


@pytest.fixture
def file(fresh_database: str, call: Call, tmp_path: Path) -> Path:
    """Creates a contract of two seats, and a file of four people, one with a wrong address."""
    assert call("seed", "-", stdin=CATALOG).code == 0
    made = tmp_path / "équipe.csv"
    made.write_text(LINES, "utf-8")
    return made


@pytest.fixture
def worker() -> Iterator[None]:
    """Does imports beside the command."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            with transaction() as session:
                found = claim(session, JOBS, Queue.ROSTERS, size=1, lease=30, worker=this_process())
            rosters.do_batch(found)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_an_import_is_recorded_without_a_worker(file: Path, call: Call) -> None:
    called = call("import", "run", file, "--contract", "k", "--key", "one")
    assert (called.code, called.json["repeated"]) == (0, False)
    assert call("import", "run", file, "--contract", "k", "--key", "two").json["job"] == called.json["job"]
    assert rows("SELECT kind, state FROM job") == [("import_roster", "queued")]
    assert rows("SELECT file_name FROM roster") == [("équipe.csv",)]


def test_with_wait_a_summary_and_the_errors(file: Path, worker: None, call: Call, tmp_path: Path) -> None:
    errors = tmp_path / "erreurs.csv"
    report = tmp_path / "rapport.jsonl"
    called = call("import", "run", file, "--contract", "k", "--wait", "60", "--errors", errors, "--report", report)
    told = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    assert [(one["line"], one["code"], one["read"][1]) for one in told] == [
        *((2, "enrolled", "Zoé"), (3, "invalid_email", "Ève"), (4, "enrolled", "Luc"), (5, "no_seat_left", "Max")),
    ]
    assert told[1]["reason"].startswith("L’adresse e-mail n’est pas valable")
    assert called.code == 0
    assert "2 of 2 seats used, 0 left" in called.out
    assert "Il ne reste plus de place dans le contrat" in called.out
    assert [line.split(";")[-2] for line in errors.read_text("utf-8-sig").splitlines()] == [
        *("code", "invalid_email", "no_seat_left"),
    ]
    assert errors.stat().st_mode & 0o777 == 0o600


def test_a_dry_run_and_a_refusal(file: Path, worker: None, call: Call) -> None:
    assert call("import", "run", file, "--contract", "k", "--dry-run", "--wait", "60").code == 0
    assert rows("SELECT count(*) FROM enrollment") == [(0,)]
    refused = call("import", "run", file, "--contract", "k", "--policy", "all_or_nothing", "--wait", "60")
    assert refused.code == 1
    file.write_bytes(b"%PDF-1.7")
    unreadable = call("import", "run", file, "--contract", "k", "--wait", "60", "--locale", "en")
    assert (unreadable.code, "unsupported_format" in unreadable.out) == (1, True)


def test_wrong_use(file: Path, call: Call) -> None:
    assert call("import", "run", file.with_name("absent.csv"), "--contract", "k").code == 2
    assert call("import", "run", file, "--contract", "k", "--report-to", "personne").code == 65
    assert call("import", "run", file, "--contract", "k", "--key", "inbox:mine").code == 65
    unfinished = call("import", "run", file, "--contract", "k", "--wait", "0.1")
    assert unfinished.code == 75
    wait_until(lambda: rows("SELECT 1 FROM job"))
