"""`matricule import check` shows how a file was read, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kit.processes.support import PROJECT
from tests.workers.cli.conftest import Call

SAMPLES = PROJECT / "tests" / "workers" / "rosters" / "samples"
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text("utf-8"))["files"]
LENIENT = {"written_by", "encoding", "encoding_accepts", "refused", "accepts", "real_encoding"}


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected["file_code"] is None])
def test_a_sample_gives_its_entry(call: Call, name: str) -> None:
    expected = EXPECTED[name]
    called = call("import", "check", SAMPLES / name, "--json")
    assert called.code == 0
    entry = called.json
    assert {key: entry.get(key) for key in expected if key not in LENIENT} == {
        key: value for key, value in expected.items() if key not in LENIENT
    }
    assert entry.get("encoding") in expected.get("encoding_accepts", [None])
    assert [row["line"] for row in entry["refused"]] == [row["line"] for row in expected["refused"]]
    for row, wanted in zip(entry["refused"], expected["refused"], strict=True):
        assert row["code"] in {wanted["code"], *wanted.get("accepts", [])}


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected["file_code"]])
def test_an_ambiguous_sample(call: Call, name: str) -> None:
    called = call("import", "check", SAMPLES / name, "--json")
    assert (called.code, called.json["kind"]) == (1, None)
    assert called.json["file_code"] in {EXPECTED[name]["file_code"], *EXPECTED[name].get("file_code_accepts", [])}
    assert EXPECTED[name]["file_code"] in call("import", "check", SAMPLES / name).out


def test_people_read_each_refused_row_with_its_reason(call: Call) -> None:
    called = call("import", "check", SAMPLES / "s10-sirh.csv")
    assert called.code == 0
    assert "Read as text, utf-8, delimiter ';', header on line 4" in called.out
    assert "ignored: Direction, Nom de naissance, E-mail du responsable" in called.out
    assert "email = Adresse électronique" in called.out
    assert "L’adresse e-mail manque" in called.out
    assert "9 accepted, 3 refused of 12 rows" in called.out
    assert "The email address is missing" in call("import", "check", SAMPLES / "s10-sirh.csv", "--locale", "en").out


def test_no_database_is_needed_and_nothing_is_written(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    file = tmp_path / "liste.csv"
    file.write_bytes((SAMPLES / "s01-modele.csv").read_bytes())
    before = file.stat()
    assert call("import", "check", file).code == 0
    after = file.stat()
    assert (before.st_mtime_ns, before.st_size, list(tmp_path.iterdir())) == (after.st_mtime_ns, after.st_size, [file])


def test_a_file_that_is_not_there(call: Call, tmp_path: Path) -> None:
    assert call("import", "check", tmp_path / "absent.csv").code == 2
