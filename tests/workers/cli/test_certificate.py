"""`matricule organisation` and `certificate`: from the signatory to the file on disk."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.certificates import (
    SIRET,
    complete,
    did,
    training,
)
from tests.kit.builders.contracts import add_contract, enrolled, someone
from tests.kit.processes.support import Processes, rows, wait_until
from tests.workers.cli.conftest import Call
from workers.cli.certificate import FIND, _sought
from workers.database import Session, transaction

FACTS = {
    "--legal-name": "Formation Pro SAS",
    "--signatory-name": "Claire Martin",
    "--signatory-quality": "Directrice",
    "--place": "Paris",
    "--siret": SIRET,
    "--address": "12 rue des Écoles",
    "--portal": "local",
}
PUT = ("put", "of-1", *(word for option in FACTS.items() for word in option))


@pytest.fixture
def worker(processes: Processes) -> Processes:
    processes.worker("maintenance", "certificates")
    return processes


@pytest.fixture
def zoe(fresh_database: str) -> str:
    """Creates a person who completed a training; there is no signatory yet."""
    with transaction() as session:
        add_contract(session)
        did(session, training())
        [enrollment] = enrolled(session, someone("zoe", "Zoé", "Le Dû"))
        complete(session, enrollment)
    return str(enrollment)


def test_from_the_signatory_to_the_duplicate_on_disk(call: Call, worker: Processes, zoe: str, tmp_path: Path) -> None:
    assert call("organisation", *PUT).code == 0
    [shown] = call("organisation", "show").json
    assert (shown["legal_name"], shown["portals"]) == ("Formation Pro SAS", ["local"])
    wait_until(lambda: rows("SELECT 1 FROM certificate"))
    [known] = call("certificate", "show", zoe).json
    assert known["certificate"]["last_name"] == "Le Dû"
    assert (
        call("certificate", "show", known["number"]).json
        == call("certificate", "show", known["code"].lower()).json
        == [known]
    )

    file = tmp_path / "zoe.pdf"
    made = call("certificate", "duplicate", zoe, "--contract", "C-1", "--output", file, "--key", "once")
    assert (made.code, made.json["result"]["counts"]) == (0, {"duplicated": 1})
    assert made.json["result"]["file"]["link"].startswith("http://127.0.0.1:8020/files/")
    assert file.read_bytes().startswith(b"%PDF-")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = tmp_path / "again.pdf"
    assert call("certificate", "fetch", made.json["id"], "--output", again).code == 0
    assert again.read_bytes() == file.read_bytes()
    assert call("certificate", "fetch", made.json["id"], "--output", again).code == 65
    assert rows("SELECT requested_by LIKE 'shell:_%' FROM certificate_duplicate") == [(True,)]

    assert (
        call("certificate", "show", f"{known['number']}-D1").json == call("certificate", "show", known["number"]).json
    )
    assert call("certificate", "show", f"{known['number']}-D2").code == 1
    nowhere = call("certificate", "duplicate", zoe, "--contract", "C-1", "--output", tmp_path / "no folder" / "zoe.pdf")
    assert (nowhere.code, "no folder" in nowhere.err) == (65, True)
    assert rows("SELECT count(*) FROM certificate_duplicate") == [(1,)]

    corrected = call("certificate", "correct", zoe, "--last-name", "Le Du", "--reason", "accent")
    assert (corrected.code, corrected.json["result"]["replaces"]) == (0, known["number"])
    assert call("certificate", "show", known["number"]).json[0]["replaced_by"] == corrected.json["result"]["number"]
    revoked = call("certificate", "revoke", zoe, "--reason", "double", "--yes")
    assert revoked.json["result"]["code"] == "revoked"
    refused = call("certificate", "duplicate", zoe, "--contract", "C-1")
    assert (refused.code, "is revoked" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("option", "value", "code", "said"),
    [
        ("--siret", "73282932000075", 65, "invalid_siret"),
        ("--activity-number", "123", 65, "invalid_activity_number"),
        ("--colour", "#ffff00", 1, "low_contrast"),
        ("--colour", "red", 1, "invalid_colour"),
        ("--portal", "inconnu", 1, "unknown_portal"),
    ],
)
def test_a_fact_that_cannot_be_printed_is_refused_with_its_code(
    call: Call, worker: Processes, option: str, value: str, code: int, said: str
) -> None:
    called = call("organisation", *PUT, option, value)
    assert (called.code, said in called.out + called.err) == (code, True)
    assert rows("SELECT count(*) FROM organisation") == [(0,)]


def test_a_picture_that_is_none_is_refused(call: Call, worker: Processes, tmp_path: Path) -> None:
    picture = tmp_path / "logo.svg"
    picture.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    called = call("organisation", *PUT, "--logo", picture)
    assert (called.code, called.json["code"]) == (1, "unsupported_image")


@pytest.mark.parametrize("which", ["2026-999999", "0000-0000-0000-16JD", "'; DROP TABLE certificate; --", ""])
def test_a_missing_certificate_is_reported(call: Call, fresh_database: str, which: str) -> None:
    called = call("certificate", "show", which)
    assert (called.code, called.out) == (1, "")
    assert "no certificate" in called.err


def test_nothing_is_revoked_by_mistake(call: Call, fresh_database: str, zoe: str) -> None:
    assert call("certificate", "revoke", zoe, "--reason", "x").code != 0
    assert rows("SELECT count(*) FROM job WHERE kind = 'revoke_certificate'") == [(0,)]


def test_no_certificate_is_looked_for_among_all(session: Session) -> None:
    session.execute(text("SET LOCAL enable_seqscan = off"))
    session.execute(text("SET LOCAL enable_indexscan = off"))
    plan = "\n".join(session.execute(text(f"EXPLAIN {FIND.text}"), _sought(str(new_id()))).scalars())
    assert "Index Cond: (enrollment_id" in plan, plan
