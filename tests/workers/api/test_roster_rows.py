"""Rows of an imported file, the import of a file that is kept, and what undoing an import would do."""

import io
from typing import Any

import httpx2
import openpyxl
import pytest

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.imports import drop, file_of, rows_of, work
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key
from tests.workers.api.test_frame import keyed, problem
from tests.workers.api.test_rosters import uploaded
from workers.database import transaction
from workers.reading import roster_rows

MIXED = rows_of("Dû;Zoé;zoe@example.com;Paie", "Ôt;Ada;ada@;", "Roy;Jean;jean@example.com;", "Dû;Zoé;ZOE@example.com;")


@pytest.fixture
def portal(fresh_database: str, small_chunks: None) -> Any:
    """Makes a contract of `local`."""
    with transaction() as session:
        add_contract(session, seats=100)
    return LOCAL_PORTAL_ID


def shown(api: httpx2.Client, job: str, **query: Any) -> list[dict[str, Any]]:
    """Returns the rows of all pages."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = api.get(f"/rosters/{job}/rows", params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["next"] is None:
            return found
        cursor = {"cursor": answer.json()["next"]}


def said(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["line"], row["first_name"], row["last_name"], row["email"], row["code"]


def test_rows_say_what_the_file_says_and_what_came_of_it(api: httpx2.Client) -> None:
    job = uploaded(api, MIXED)
    assert shown(api, job) == []
    work()
    zoe, ada, jean, twice = shown(api, job)
    assert said(zoe) == (2, "Zoé", "Dû", "zoe@example.com", "enrolled")
    assert said(ada) == (3, "Ada", "Ôt", "ada@", "invalid_email")
    assert said(jean) == (4, "Jean", "Roy", "jean@example.com", "enrolled")
    assert (said(twice), twice["detail"]["earlier_line"]) == (
        (5, "Zoé", "Dû", "ZOE@example.com", "duplicate_in_file"),
        2,
    )
    assert (zoe["participant"]["last_name"], zoe["participant"]["mail"]["state"]) == ("Dû", "queued")
    assert (ada["participant"], ada["field"]) == (None, "email")
    one = api.get(f"/enrollments/{zoe['enrollment_id']}").json()
    assert {name: one[name] for name in zoe["participant"]} == zoe["participant"]


def test_rows_are_filtered_and_come_page_by_page(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_rows, "LOOKED_AT", 3)
    job = uploaded(api, MIXED)
    work()
    assert [one["line"] for one in shown(api, job, limit=1)] == [2, 3, 4, 5]
    assert [one["line"] for one in shown(api, job, only="refused")] == [3, 5]
    assert [one["line"] for one in shown(api, job, only="accepted", limit=1)] == [2, 4]
    assert [one["line"] for one in shown(api, job, code="invalid_email")] == [3]
    assert shown(api, job, only="accented") == []  # UTF-8 leaves no doubt
    problem(api.get(f"/rosters/{job}/rows?only=others"), 400, "invalid_request")
    problem(api.get(f"/rosters/{job}/rows?cursor=x"), 400, "invalid_request")


def test_rows_to_correct_are_those_that_no_seat_would_help(api: httpx2.Client) -> None:
    change("UPDATE contract SET planned_seats = 1")
    job = uploaded(api, MIXED, policy="until_full", dry_run="true")
    work()
    assert [one["code"] for one in shown(api, job, only="refused")] == [
        "invalid_email",
        "no_seat_left",
        "duplicate_in_file",
    ]
    assert [one["line"] for one in shown(api, job, only="to_correct")] == [3, 5]


def test_accents_that_tell_the_encoding_are_found(api: httpx2.Client) -> None:
    job = uploaded(api, rows_of("Roy;Jean;jean@example.com;", "Lefèvre;Zoé;zoe@example.com;").decode().encode("cp1252"))
    work()
    assert [one["last_name"] for one in shown(api, job, only="accented")] == ["Lefèvre"]


def test_a_dry_run_tells_no_name_of_another_account(api: httpx2.Client) -> None:
    drop(file_of("zoe"), key="first")
    work()
    change("UPDATE enrollment SET withdrawn_at = now()")
    job = uploaded(api, rows_of("Autre;Nom;zoe@example.com;"), dry_run="true")
    work()
    [row] = shown(api, job)
    assert (said(row), row["participant"]) == ((2, "Nom", "Autre", "zoe@example.com", "attached"), None)


def test_a_workbook_has_rows_too(api: httpx2.Client) -> None:
    book = openpyxl.Workbook()
    for line in (("Nom", "Prénom", "E-mail"), ("Dû", "Zoé", "zoe@example.com")):
        book.active.append(line)
    file = io.BytesIO()
    book.save(file)
    job = uploaded(api, file.getvalue())
    work()
    assert [said(one) for one in shown(api, job)] == [(2, "Zoé", "Dû", "zoe@example.com", "enrolled")]


def test_results_outlive_the_file(api: httpx2.Client) -> None:
    job = uploaded(api, MIXED)
    work()
    change("DELETE FROM roster_file")
    found = shown(api, job)
    assert [said(one) for one in found][1] == (3, None, None, None, "invalid_email")
    assert found[0]["participant"]["email"] == "zoe@example.com"


def test_large_files_are_read_apart(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_rows, "READ_AT_ONCE", 1)
    job = uploaded(api, MIXED)
    work()
    assert [one["line"] for one in shown(api, job)] == [2, 3, 4, 5]


def test_a_dry_run_is_done_without_sending_the_file_again(api: httpx2.Client) -> None:
    job = uploaded(api, MIXED, dry_run="true", filename="équipe.csv", notify="false", policy="until_full")
    work()
    key = keyed()
    answers = [api.post(f"/rosters/{job}/import", json={"policy": "valid_rows"}, headers=key) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202]
    [done] = {one.json()["id"] for one in answers}
    assert (done == job, answers[1].headers["idempotency-replayed"]) == (False, "true")
    problem(api.post(f"/rosters/{job}/import", json={"policy": "until_full"}, headers=key), 409, "idempotency_conflict")
    work()
    report = api.get(f"/rosters/{done}").json()
    assert (report["dry_run"], report["notify"], report["policy"]) == (False, False, "valid_rows")
    assert (report["file"]["name"], report["result"]["counts"]["enrolled"]) == ("équipe.csv", 2)
    assert rows("SELECT count(*) FROM enrollment") == [(2,)]


def test_a_file_that_is_kept_no_longer_is_not_imported(api: httpx2.Client) -> None:
    job = uploaded(api, MIXED, dry_run="true")
    work()
    problem(api.post(f"/rosters/{job}/import"), 400, "idempotency_key_required")
    problem(api.post(f"/rosters/{job}/import", json={"policy": "all"}, headers=keyed()), 400, "invalid_request")
    problem(api.post(f"/rosters/{job}/import", json={"report_to": "ada"}, headers=keyed()), 400, "invalid_request")
    change("DELETE FROM roster_file")
    problem(api.post(f"/rosters/{job}/import", headers=keyed()), 410, "not_kept")
    assert rows("SELECT count(*) FROM job") == [(1,)]


def test_what_undoing_would_do_is_what_it_does(api: httpx2.Client) -> None:
    job = uploaded(api, file_of("ada", "bob", "eve", "joe", "zoe"))
    work()
    for who, what in {
        "bob": "progress = 'in_progress', started_at = now()",
        "eve": "withdrawn_at = now()",
        "joe": "progress = 'completed', started_at = now(), completed_at = now(), detached_at = now()",
    }.items():
        change(
            f"UPDATE enrollment SET {what} WHERE account_id = (SELECT id FROM account WHERE email_norm = :email)",
            email=f"{who}@example.com",
        )
    outlook = api.get(f"/rosters/{job}/undo").json()
    assert outlook["counts"] == {"withdrawn": 2, "already_started": 1, "already_withdrawn": 1, "detached": 1}
    assert [(one["line"], one["email"], one["code"]) for one in outlook["keeping"]] == [
        (3, "bob@example.com", "already_started"),
        (5, "joe@example.com", "detached"),
    ]
    assert outlook["keeping"][0]["detail"]["progress"] == "in_progress"
    undone = api.post(f"/rosters/{job}/undo", headers=keyed()).json()["id"]
    work()
    assert api.get(f"/jobs/{undone}").json()["result"]["counts"] == outlook["counts"]


def test_other_jobs_have_no_rows(api: httpx2.Client, base_url: str) -> None:
    put = api.put("/companies/ACME", json={"name": "Acme"}).json()["id"]
    job = uploaded(api, MIXED)
    with client_of(base_url, make_key(LOCAL_PORTAL_ID, {Scope.READ})) as reader:
        for path in ("rows", "undo"):
            problem(api.get(f"/rosters/{put}/{path}"), 404, "not_found")
            problem(api.get(f"/rosters/nothing/{path}"), 404, "not_found")
            assert reader.get(f"/rosters/{job}/{path}").status_code == 200
        problem(reader.post(f"/rosters/{job}/import", headers=keyed()), 403, "insufficient_scope")
    problem(api.post(f"/rosters/{put}/import", headers=keyed()), 404, "not_found")
