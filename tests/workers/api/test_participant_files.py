"""The file of participants: read by spreadsheets, harmless in them, corrected and imported again."""

import csv
import io
from uuid import UUID

import httpx2
import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, enrolled, someone
from tests.kit.builders.imports import work
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import keyed, problem
from workers.database import transaction
from workers.reading import participant_files
from workers.rosters.known_columns import KNOWN_COLUMNS
from workers.rosters.reader import read_roster

PATH = "/contracts/C-1/participants.csv"


@pytest.fixture
def portal(fresh_database: str, small_chunks: None) -> UUID:
    """Makes a contract of `local` with three participants."""
    with transaction() as session:
        add_contract(session, seats=100)
        enrolled(
            session,
            someone("ada@example.com", "Ada", "Byron", external_id="00412"),
            someone("bob@example.com", "Bob", "'t Hooft", external_id="-33", locale="en"),
            someone("zoe@example.com", "Zoé", "Le Dû"),
        )
    return LOCAL_PORTAL_ID


def table(answer: httpx2.Response, delimiter: str = ",") -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def test_the_file_has_the_model_and_what_is_known(api: httpx2.Client) -> None:
    began = "progress = 'in_progress', started_at = '2026-03-01T23:30:00Z'"
    change(f"UPDATE enrollment SET {began} WHERE external_id = '00412'")
    answer = api.get(PATH)
    assert answer.content.startswith(b"\xef\xbb\xbfNom,")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="C-1.csv"'
    header, zoe, bob, ada = table(answer)
    assert header == ["Nom", "Prénom", "E-mail", "Langue", "Matricule", *KNOWN_COLUMNS["fr"]]
    assert ada[:8] == ["Byron", "Ada", "ada@example.com", "fr", "00412", "en cours", "2026-03-02", ""]
    assert bob[:6] == ["''t Hooft", "Bob", "bob@example.com", "en", "'-33", "non commencé"]
    assert zoe[4] == ""
    assert zoe[10] == "en attente"
    assert [(UUID(zoe[12]),)] == rows("SELECT id FROM enrollment e ORDER BY id DESC LIMIT 1")


def test_the_file_speaks_english_and_semicolons(api: httpx2.Client) -> None:
    header, zoe, *_ = table(api.get(f"{PATH}?locale=en&delimiter=;"), ";")
    assert (header[0], header[5], zoe[5], zoe[10]) == ("Last name", "Progress", "not started", "queued")
    for query in ("locale=de", "delimiter=x", "limit=1"):
        problem(api.get(f"{PATH}?{query}"), 400, "invalid_request")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_every_participant_is_in_it_once(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(participant_files, "CHUNK", size)
    assert [row[1] for row in table(api.get(PATH))] == ["Prénom", "Zoé", "Bob", "Ada"]


def test_who_left_or_was_erased_is_not_in_it(api: httpx2.Client) -> None:
    change("UPDATE enrollment SET withdrawn_at = now() WHERE external_id = '00412'")
    change("UPDATE account SET erased_at = now() WHERE first_name = 'Zoé'")
    assert [row[1] for row in table(api.get(PATH))] == ["Prénom", "Bob"]


@pytest.mark.parametrize("query", ["", "?locale=en", "?delimiter=;"])
def test_a_corrected_file_is_imported_again(api: httpx2.Client, query: str) -> None:
    file = api.get(f"{PATH}{query}").content.decode()
    assert "zoe@example.com" in file
    corrected = file.replace("zoe@example.com", "zoe.ledu@example.com").replace("Ada", "Augusta Ada")
    job = api.post("/contracts/C-1/rosters", content=corrected.encode(), headers=keyed()).json()["id"]
    work()
    report = api.get(f"/rosters/{job}").json()
    assert report["result"]["counts"] == {"already_enrolled": 2, "enrolled": 1}
    assert [one["header"] for one in report["file"]["reading"]["ignored_columns"]] == [
        *KNOWN_COLUMNS["en" if "en" in query else "fr"]
    ]


def test_guarded_cells_are_read_as_they_were(api: httpx2.Client) -> None:
    [_, bob, _] = read_roster(api.get(PATH).content).rows
    assert (bob.last_name, bob.external_id) == ("'t Hooft", "-33")


def test_participants_of_others_are_not_found(api: httpx2.Client, base_url: str, portal: UUID) -> None:
    for key in (make_key(make_portal("other")), make_key(portal, companies=["autre"])):
        with client_of(base_url, key) as client:
            problem(client.get(PATH), 404, "not_found")
    problem(api.get("/contracts/none/participants.csv"), 404, "not_found")


def test_a_reference_cannot_break_the_headers(api: httpx2.Client) -> None:
    reference = 'C-"2026\\/7;é'.replace("é", "%")
    with transaction() as session:
        add_contract(session, reference)
    answer = api.get("/contracts/C-%222026%5C%2F7%3B%25/participants.csv")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"C-_2026__7__.csv\"; filename*=UTF-8''C-%222026__7%3B%25.csv"
    )
