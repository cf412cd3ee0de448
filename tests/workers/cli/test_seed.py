"""`matricule seed` does everything or nothing, does it once when run twice, and names every refusal."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call, Called
from workers.cli.seed import EXAMPLE

COMPANY = {"reference": "acme", "name": "Acmé"}
TRAINING = {"reference": "sst", "title": "SST"}
CONTRACT = {"reference": "C-1", "company": "acme", "training": "sst", "planned_seats": 5, "ends_on": "2036-12-31"}
ALL: dict[str, Any] = {"companies": [COMPANY], "trainings": [TRAINING], "contracts": [CONTRACT]}


def picture() -> str:
    written = io.BytesIO()
    Image.new("RGB", (30, 10), "#0b5d4b").save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


LOGO = picture()


def outcomes(called: Called) -> list[str]:
    return [
        line.split()[2]
        for line in called.out.splitlines()[1:]
        if line.split()[0] in ("company", "training", "contract")
    ]


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def test_records_are_created_then_left_alone_then_changed(call: Call) -> None:
    assert outcomes(call("seed", "-", stdin=ALL)) == ["created", "created", "created"]
    again = call("seed", "-", stdin=ALL)
    assert (again.code, outcomes(again)) == (0, ["unchanged", "unchanged", "unchanged"])
    changed = call("seed", "-", stdin=ALL | {"contracts": [CONTRACT | {"planned_seats": 6}]})
    assert outcomes(changed) == ["unchanged", "unchanged", "changed"]
    assert rows("SELECT reference, planned_seats FROM contract") == [("C-1", 6)]
    assert rows("SELECT count(*) FROM audit") == [(4,)]


@pytest.mark.parametrize(
    "option",
    [{"reminders": False}, {"release_after_days": 60}, {"manager_email": "chef@acme.test"}, {"manager_locale": "en"}],
)
def test_an_option_of_a_contract_that_changes_is_seen(call: Call, option: dict[str, object]) -> None:
    call("seed", "-", stdin=ALL)
    changed = ALL | {"contracts": [CONTRACT | option]}
    assert [outcomes(call("seed", "-", stdin=changed))[-1] for _ in range(2)] == ["changed", "unchanged"]
    assert outcomes(call("seed", "-", stdin=ALL))[-1] == "unchanged"  # an option left out keeps its value
    assert len(rows("SELECT 1 FROM contract WHERE manager_email IS NOT NULL OR manager_locale = 'en' OR NOT reminders"
                    " OR release_after_days IS NOT NULL")) == 1  # fmt: skip


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("companies", {"colour": "#0B5D4B"}),
        ("companies", {"logo": LOGO}),
        ("trainings", {"nature": "skills_assessment", "modality": "remote"}),
        ("trainings", {"objectives": ["Alerter", "Secourir"], "planned_minutes": 420}),
    ],
)
def test_facts_for_certificates_change_and_are_kept_when_left_out(
    call: Call, name: str, more: dict[str, object]
) -> None:
    call("seed", "-", stdin=ALL)
    changed = ALL | {name: [ALL[name][0] | more]}
    place = list(ALL).index(name)
    assert [outcomes(call("seed", "-", stdin=changed))[place] for _ in range(2)] == ["changed", "unchanged"]
    assert outcomes(call("seed", "-", stdin=ALL)) == ["unchanged"] * 3
    assert outcomes(call("seed", "-", stdin=changed))[place] == "unchanged"


def test_the_example_is_what_can_be_given(call: Call, tmp_path: Path) -> None:
    example = tmp_path / "example.json"
    example.write_text(call("seed", "--example").out)
    assert json.loads(example.read_text()) == EXAMPLE
    assert outcomes(call("seed", example)) == ["created"] * 6


def test_after_one_refusal_nothing_is_recorded(call: Call) -> None:
    wrong = ALL | {"contracts": [CONTRACT, CONTRACT | {"reference": "C-2", "company": "inconnue"}]}
    called = call("seed", "-", stdin=wrong)
    assert (called.code, "unknown_company" in called.out, "Nothing was recorded" in called.out) == (65, True, True)
    assert rows("SELECT (SELECT count(*) FROM company), (SELECT count(*) FROM contract)") == [(0, 0)]


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ("{", [""]),
        ("[]", [""]),
        ("{}", [""]),
        (b"\xff\xfe", [""]),
        ({"companies": [COMPANY | {"nom": "x"}]}, ["companies.0.nom"]),
        (
            {"companies": [{"reference": "a"}], "trainings": [{}]},
            ["companies.0.name", "trainings.0.reference", "trainings.0.title"],
        ),
        ({"companies": [COMPANY, COMPANY]}, [""]),
        ({"societes": []}, ["societes"]),
        ({"contracts": [CONTRACT | {"planned_seats": "5"}]}, ["contracts.0.planned_seats"]),
        ({"contracts": [CONTRACT | {"starts_on": "2037-01-01"}]}, ["contracts.0.ends_on"]),
    ],
)
def test_every_wrong_field_is_named(call: Call, content: Any, fields: list[str]) -> None:
    called = call("seed", "-", stdin=content)
    assert called.code == 65
    assert [problem["field"] for problem in called.json["problems"]] == fields
    assert all(problem["code"] for problem in called.json["problems"])


def test_an_unknown_portal_is_named(call: Call) -> None:
    called = call("seed", "-", "--portal", "ailleurs", stdin=ALL)
    assert (called.code, called.json["code"]) == (65, "unknown_portal")


@pytest.mark.parametrize("args", [(), ("/nowhere/file.json",), ("--nothing",)])
def test_wrong_use_says_how(call: Call, args: tuple[str, ...]) -> None:
    assert call("seed", *args).code == 2
