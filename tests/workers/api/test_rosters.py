"""Roster files over HTTP: reports, rows to correct, stopping, undoing, and the model that managers fill in."""

import io
import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from uuid import UUID, uuid4

import httpx2
import openpyxl
import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.imports import drop, file_of, rows_of, work
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import keyed, problem
from workers.database import transaction
from workers.rosters.reader import read_roster

WRONG = rows_of("Dû;Zoé;zoe@example.com;Paie", "=Dû;Zoé;;Paie", ";Ada;ada@example.com;Paie")


@pytest.fixture
def portal(fresh_database: str, small_chunks: None) -> UUID:
    """Makes two contracts of `local`, of two companies."""
    with transaction() as session:
        add_contract(session, seats=100)
        add_contract(session, "C/2", company="autre")
    return LOCAL_PORTAL_ID


def uploaded(api: httpx2.Client, data: bytes, **query: str) -> str:
    answer = api.post("/contracts/C-1/rosters", content=data, params=query, headers=keyed())
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_an_import_is_reported_with_its_counts(api: httpx2.Client) -> None:
    job = uploaded(api, WRONG, filename="équipe.csv", policy="until_full")
    waiting = api.get(f"/rosters/{job}").json()
    assert (waiting["state"], waiting["contract"], waiting["dry_run"]) == ("queued", "C-1", False)
    assert (waiting["progress"]["rows"], waiting["file"]["name"]) == (None, "équipe.csv")
    work()
    done = api.get(f"/rosters/{job}").json()
    assert (done["state"], done["progress"]["percent"]) == ("succeeded", 100)
    assert done["result"]["counts"] == {"enrolled": 1, "missing_email": 1, "missing_name": 1}
    assert done["file"]["reading"]["header"]["email"] == {"column": 3, "header": "E-mail"}
    assert "people" not in done["result"]


def test_a_dry_run_changes_nothing(api: httpx2.Client) -> None:
    job = uploaded(api, file_of("ada", "bob"), dry_run="true", notify="false")
    work()
    report = api.get(f"/rosters/{job}").json()
    assert (report["dry_run"], report["notify"], report["result"]["counts"]) == (True, False, {"enrolled": 2})
    assert rows("SELECT count(*) FROM enrollment") == [(0,)]


def test_files_that_take_long_keep_no_other_call_waiting(api: httpx2.Client, base_url: str) -> None:
    job = uploaded(api, WRONG, policy="until_full")
    work()
    with ThreadPoolExecutor(8) as pool, client_of(base_url, make_key(make_portal("other"))) as other:
        with transaction() as session:
            session.execute(text("LOCK TABLE roster_part IN ACCESS EXCLUSIVE MODE"))  # now no file can be made
            asked = [pool.submit(api.get, f"/rosters/{job}/errors.csv") for _ in range(8)]
            refused = [one.result() for one in islice(as_completed(asked), 7)]
            assert other.get("/contracts").status_code == 200
            assert api.get(f"/rosters/{job}").status_code == 200
        [made] = [one.result() for one in asked if one.result() not in refused]
    for one in refused:
        problem(one, 503, "unavailable")
        assert one.headers["retry-after"] == "5"
    assert (made.status_code, made.text.count("\r\n")) == (200, 3)


def test_the_rows_to_correct_are_a_file_to_send_again(api: httpx2.Client) -> None:
    job = uploaded(api, WRONG, filename="équipe.csv")
    work()
    answer = api.get(f"/rosters/{job}/errors.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"_quipe.errors.csv\"; filename*=UTF-8''%C3%A9quipe.errors.csv"
    )
    text = answer.content.decode()
    assert text.startswith("\ufeffNom;Prénom;E-mail;Service;ligne;code;motif\r\n'=Dû;Zoé;;Paie;3;missing_email;")
    assert "line;code;reason" in api.get(f"/rosters/{job}/errors.csv?locale=en").text
    corrected = text.replace("Zoé;;", "Zoé;zoe.du@example.com;").replace("\r\n;Ada", "\r\nByron;Ada").replace("'=", "")
    again = uploaded(api, corrected.encode())
    work()
    assert api.get(f"/rosters/{again}").json()["result"]["counts"] == {"enrolled": 2}


def test_rows_that_cannot_be_given_are_a_problem(api: httpx2.Client) -> None:
    waiting = uploaded(api, file_of("ada"))
    problem(api.get(f"/rosters/{waiting}/errors.csv"), 404, "not_found")
    work()
    assert api.get(f"/rosters/{waiting}/errors.csv").text.count("\r\n") == 1
    change("DELETE FROM roster_file")
    problem(api.get(f"/rosters/{waiting}/errors.csv"), 410, "not_kept")


def test_a_file_that_was_refused_says_why(api: httpx2.Client) -> None:
    job = uploaded(api, b"Nom;Prenom\r\nX;Y\r\n")
    work()
    report = api.get(f"/rosters/{job}").json()
    assert (report["state"], report["result"]["code"]) == ("refused", "missing_column")
    problem(api.get(f"/rosters/{job}/errors.csv"), 404, "not_found")


def test_an_import_is_stopped_and_undone(api: httpx2.Client) -> None:
    job = uploaded(api, file_of("ada", "bob"))
    stopped = api.post(f"/rosters/{job}/cancel", headers=keyed())
    undone = api.post(f"/rosters/{job}/undo", json={"notify": False}, headers=keyed())
    assert (stopped.status_code, undone.status_code) == (202, 202)
    assert rows("SELECT kind, request FROM job WHERE kind <> 'import_roster' ORDER BY kind") == [
        ("cancel_import", {"job": job}),
        ("undo_import", {"job": job, "notify": False}),
    ]


@pytest.mark.parametrize("what", ["cancel", "undo"])
def test_only_imports_are_stopped_and_undone_there(api: httpx2.Client, what: str) -> None:
    put = api.put("/companies/ACME", json={"name": "Acme"}).json()["id"]
    for job in (put, str(uuid4()), "nothing", "%00", "..%2F.."):
        problem(api.post(f"/rosters/{job}/{what}", headers=keyed()), 404, "not_found")
    problem(api.get(f"/rosters/{put}"), 404, "not_found")
    problem(api.post(f"/rosters/{uploaded(api, file_of('ada'))}/{what}"), 400, "idempotency_key_required")


def test_imports_of_others_are_not_found(api: httpx2.Client, base_url: str, portal: UUID) -> None:
    job = uploaded(api, file_of("ada"))
    keys = [make_key(make_portal("other")), make_key(portal, companies=["autre"])]
    for key in keys:
        with client_of(base_url, key) as client:
            for path in (f"/rosters/{job}", f"/rosters/{job}/errors.csv"):
                problem(client.get(path), 404, "not_found")
            for path in (f"/rosters/{job}/cancel", f"/rosters/{job}/undo"):
                problem(client.post(path, headers=keyed()), 404, "not_found")
    assert rows("SELECT count(*) FROM job") == [(1,)]


def test_a_key_of_one_company_uploads_for_that_company(base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, {Scope.ENROLL, Scope.READ}, companies=["autre"])) as client:
        for contract in ("C-1", "none"):
            answer = client.post(f"/contracts/{contract}/rosters", content=file_of("ada"), headers=keyed())
            problem(answer, 404, "not_found")
        assert rows("SELECT count(*) FROM roster_file") == [(0,)]
        answer = client.post("/contracts/C%2F2/rosters", content=file_of("ada"), headers=keyed())
        assert answer.status_code == 202
        assert client.get(f"/rosters/{answer.json()['id']}").status_code == 200


def test_an_import_of_the_queue_is_reported_too(api: httpx2.Client) -> None:
    job = drop(file_of("ada"), name="a.b.csv").job_id
    work()
    assert api.get(f"/rosters/{job}").json()["result"]["rows"] == 1
    disposition = api.get(f"/rosters/{job}/errors.csv").headers["content-disposition"]
    assert disposition == 'attachment; filename="a.b.errors.csv"'


def test_the_model_is_read_by_our_own_reader(api: httpx2.Client) -> None:
    for query, sign in [("", ","), ("?delimiter=;", ";"), ("?locale=en&delimiter=%3B", ";")]:
        answer = api.get(f"/roster-model.csv{query}")
        assert answer.headers["content-disposition"] == 'attachment; filename="participants.csv"'
        assert read_roster(answer.content).reading.delimiter == sign
        assert len(read_roster(answer.content).rows) == 2
    book = api.get("/roster-model.xlsx?locale=en")
    assert re.fullmatch(r"application/vnd\..*\.sheet", book.headers["content-type"])
    sheet = openpyxl.load_workbook(io.BytesIO(book.content)).active
    assert sheet["A1"].value == "Last name"


@pytest.mark.parametrize("query", ["delimiter=%7C", "delimiter=", "locale=de", "x=1", "locale=fr&locale=en"])
def test_another_model_there_is_not(api: httpx2.Client, query: str) -> None:
    problem(api.get(f"/roster-model.csv?{query}"), 400, "invalid_request")
