"""The pages on files: inboxes with what waits in them, imports with their progress, refused rows, stop and undo."""

from pathlib import Path

import pytest

from models.base import new_id
from tests.kit.builders import inboxes
from tests.kit.builders.imports import close_open_files, contract, drop, file_of, work
from tests.kit.builders.inboxes import folder as folder  # noqa: PLC0414 - a fixture
from tests.kit.console.visiting import visiting
from tests.kit.processes.support import change, rows

HOSTILE_NAME = "<img src=x onerror=alert(1)> zoe@example.com.csv"


def test_an_inbox_shows_its_looks_and_the_files_that_wait(folder: Path) -> None:
    inboxes.drop(folder)
    inboxes.scan()
    change("UPDATE schedule SET next_run_at = now() + interval '1 minute'")  # as the clock plans it
    with visiting() as visit:
        page = visit.get("/ops/files").text
        [inbox] = visit.get("/ops/files?format=json&table=inboxes").json()["rows"]
    assert "liste.csv" in page
    assert (inbox["reference"], inbox["waiting"], inbox["trouble"]) == ("rh", 1, None)
    assert inbox["scanned_at"]
    assert inbox["next_at"]


def test_a_refused_file_leads_to_its_report(folder: Path) -> None:
    inboxes.drop(folder, data=b"no header at all")
    inboxes.scan_to_the_end()
    [[job]] = rows("SELECT job_id FROM roster")
    with visiting() as visit:
        page = visit.get("/ops/files").text
        assert f"/ops/files/{job}" in page
        assert "refused" in visit.get(f"/ops/files/{job}").text


def test_an_operator_lets_the_inboxes_be_looked_into_now(folder: Path) -> None:
    assert folder.exists()
    with visiting("operator", "otto") as visit:
        answer = visit.post("/ops/files/scan")
        assert "A look was asked for" in visit.get(answer.headers["location"]).text
        assert rows("SELECT next_run_at <= now() FROM schedule WHERE name = 'inboxes'") == [(True,)]
        change("UPDATE schedule SET paused = true WHERE name = 'inboxes'")
        paused = visit.post("/ops/files/scan")
        assert "No look is possible" in visit.get(paused.headers["location"]).text
    assert rows("SELECT requested_by FROM audit WHERE action = 'run_schedule'") == [("ops:otto",)]


def test_an_import_shows_what_was_understood_and_its_results() -> None:
    contract()
    drop(file_of("ana", "bob", "nobody@"), name=HOSTILE_NAME)
    work()
    close_open_files()
    [[job]] = rows("SELECT job_id FROM roster")
    with visiting() as visit:
        listed, page = visit.get("/ops/files").text, visit.get(f"/ops/files/{job}").text
        [one] = visit.get("/ops/files?format=json&table=imports").json()["rows"]
    assert "3 of 3 rows done" in page
    assert "utf-8" in page
    assert "email = E-mail" in page
    assert (one["rows"], one["rows_done"], one["percent"]) == (3, 3, 100)
    assert set(one["counts"].split()) == {"enrolled=2", "invalid_email=1"}
    for shown in (listed, page):
        assert "<img" not in shown
        assert "zoe@example.com" not in shown


def test_support_takes_the_refused_rows_and_that_is_audited() -> None:
    contract()
    drop(file_of("ana", "nobody@"))
    work()
    close_open_files()
    [[job]] = rows("SELECT job_id FROM roster")
    with visiting("support", "sam") as visit:
        answer = visit.get(f"/ops/files/{job}/errors.csv?lang=en")
        assert visit.get(f"/ops/files/{new_id()}/errors.csv").status_code == 404
    assert answer.headers["content-disposition"] == f'attachment; filename="{job}.errors.csv"'
    assert "nobody@" in answer.text
    assert "ana@example.com" not in answer.text
    assert rows("SELECT requested_by, job_id FROM audit WHERE action = 'show_errors_file'") == [("ops:sam", job)]


def test_an_import_is_stopped_and_undone_in_the_name_of_its_portal() -> None:
    contract()
    drop(file_of("ana", "bob"))
    work()
    close_open_files()
    [[job]] = rows("SELECT job_id FROM roster")
    with visiting("operator", "otto") as visit:
        undone = visit.post(f"/ops/files/{job}/undo")
        told = visit.get(undone.headers["location"]).text
        stopped = visit.post(f"/ops/files/{job}/cancel")
        assert visit.post(f"/ops/files/{new_id()}/undo").status_code == 404
    assert "The withdrawal is asked for" in told
    assert stopped.status_code == 303
    asked = rows("SELECT kind, requested_by, request ->> 'notify' FROM job WHERE kind LIKE '%_import' ORDER BY kind")
    assert asked == [("cancel_import", "ops:otto", None), ("undo_import", "ops:otto", "false")]


def test_a_large_import_is_undone_after_its_rows_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.routes.files.TYPED_FROM", 2)
    contract()
    drop(file_of("ana", "bob"))
    work()
    close_open_files()
    [[job]] = rows("SELECT job_id FROM roster")
    with visiting("operator") as visit:
        for typed in ("", "3", "two"):
            told = visit.get(visit.post(f"/ops/files/{job}/undo", typed=typed).headers["location"]).text
            assert ("Nothing was changed" in told, 'name="typed"' in told) == (True, True)
        assert rows("SELECT count(*) FROM job WHERE kind = 'undo_import'") == [(0,)]
        assert "acted=undo" in visit.post(f"/ops/files/{job}/undo", typed=" 2 ").headers["location"]
    assert rows("SELECT count(*) FROM job WHERE kind = 'undo_import'") == [(1,)]


@pytest.mark.parametrize(("role", "status"), [("reader", 403), ("support", 403)])
def test_who_is_no_operator_changes_no_file(role: str, status: int) -> None:
    with visiting(role) as visit:
        for path in ("scan", f"{new_id()}/cancel", f"{new_id()}/undo"):
            assert visit.post(f"/ops/files/{path}").status_code == status
        errors = visit.get(f"/ops/files/{new_id()}/errors.csv").status_code
        assert errors == (403 if role == "reader" else 404)
        assert "No inbox" in visit.get("/ops/files").text


def test_imports_are_listed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    contract()
    for number in range(3):
        drop(file_of(f"p{number}"), key=f"key-{number}", name=f"{number}.csv")
    monkeypatch.setattr("workers.ops.file_list.PAGE", 2)
    with visiting() as visit:
        first = visit.get("/ops/files?format=json&table=imports").json()["rows"]
        second = visit.get(f"/ops/files?after={first[-1]['id']}&format=json&table=imports").json()["rows"]
        assert visit.get("/ops/files?after=x").status_code == 400
    assert (len(first), len(second)) == (2, 1)
    assert len({row["id"] for row in (*first, *second)}) == 3
