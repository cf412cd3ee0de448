"""Importing a roster file: every row once, in chunks, resumed at the next row, for every kind of file and policy."""

import io
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import all_rows
from tests.kit.builders.certificates import job
from tests.kit.builders.contracts import (
    add_contract,
    enrol_people,
    query,
    seats,
    someone,
)
from tests.kit.builders.imports import (
    HEADER,
    codes,
    contract,
    drop,
    file_of,
    lines,
    work,
)
from tests.kit.processes.support import rows
from workers.database import transaction
from workers.engine import claimer
from workers.imports import importing as roster_imports
from workers.imports import running as imports
from workers.imports.files import open_file, store_file
from workers.imports.reports import errors_file
from workers.rosters.reader import read_roster
from workers.settings import get_settings

pytestmark = pytest.mark.usefixtures("small_chunks")


def errors(job_id: UUID, locale: str = "fr") -> str:
    with transaction() as session:
        return "".join(errors_file(session, job_id, locale))


def test_every_row_is_dealt_with_once_in_parts() -> None:
    contract()
    people = ["a", "b", "c", "d", "e", "x@y", "b", "f", "a", "g", ""]
    job_id = drop(file_of(*people)).job_id
    work()
    assert codes(job_id) == [
        *["enrolled"] * 5,
        *("invalid_email", "duplicate_in_file", "enrolled", "duplicate_in_file", "enrolled", "invalid_email"),
    ]
    shown = job(job_id)
    assert (shown["state"], shown["result"]["rows"], shown["result"]["rows_done"]) == ("succeeded", 11, 11)
    assert shown["result"]["counts"] == {"enrolled": 7, "invalid_email": 2, "duplicate_in_file": 2}
    assert {name: shown["progress"][name] for name in ("rows", "rows_done", "percent", "seconds_left")} == {
        "rows": 11, "rows_done": 11, "percent": 100, "seconds_left": 0,
    }  # fmt: skip
    with transaction() as session:
        assert seats(session) == 7
    assert rows("SELECT count(*) FROM roster_address") == [(0,)]
    assert rows("SELECT count(*), count(DISTINCT queue) FROM email") == [(7, 1)]
    assert lines(job_id)[5] == (7, "invalid_email")


def test_the_same_results_as_enrolling_the_same_people() -> None:
    contract(6)
    with transaction() as session:
        add_contract(session, "C-2", 6)
    people = ["a", "b", "a", "!", "c", "d", "e", "f", "g", "b"]
    data = file_of(*[one if one != "!" else "@" for one in people])
    job_id = drop(data).job_id
    work()
    with transaction() as session:
        given = [someone("@" if one == "!" else one, "Zoé", f"Dû{place}") for place, one in enumerate(people)]
        direct = enrol_people(session, *given, contract="C-2", policy="until_full")
    expected = [code.replace("attached", "enrolled") for code in direct]
    assert codes(job_id) == expected
    assert Counter(codes(job_id))["no_seat_left"] == 1


def test_a_worker_that_dies_between_two_chunks_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    contract()
    job_id = drop(file_of(*[f"p{number}" for number in range(11)], "p2")).job_id
    chunks: list[object] = []

    def stop_after_two(*arguments: Any, **options: Any) -> Any:
        found = real(*arguments, **options)
        chunks.append(found)
        if len(chunks) == 2:
            claimer.STOPPING.set()
        return found

    real = roster_imports.import_chunk
    monkeypatch.setattr("workers.imports.running.import_chunk", stop_after_two)
    work()
    assert rows("SELECT position, state FROM job") == [(8, "queued")]
    progress = job(job_id)["progress"]
    assert (progress["rows"], progress["rows_done"], progress["percent"]) == (12, 8, 66)
    claimer.STOPPING.clear()
    imports._close(job_id)
    work()
    assert codes(job_id) == [*["enrolled"] * 11, "duplicate_in_file"]
    assert job(job_id)["state"] == "succeeded"


def test_a_chunk_that_fails_is_done_again_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    contract()
    job_id = drop(file_of(*[f"p{number}" for number in range(10)])).job_id
    calls = []

    def fail_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("killed half-way")
        return real(*arguments)

    real = roster_imports._remember
    monkeypatch.setattr(roster_imports, "_remember", fail_once)
    work()
    assert rows("SELECT position, failures FROM job") == [(4, 1)]
    work()
    assert codes(job_id) == ["enrolled"] * 10
    with transaction() as session:
        assert seats(session) == 10


@pytest.mark.parametrize("policy", ["until_full", "valid_rows", "all_or_nothing"])
def test_a_dry_run_says_the_plan_and_changes_nothing(policy: str) -> None:
    contract(6)
    data = file_of(*"abcdebfgh", "x@y")
    before = all_rows()
    planned = drop(data, "dry", policy=policy, dry_run=True).job_id
    work()
    after = all_rows()
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"job", "job_person", "idempotency", "roster", "roster_file", "roster_part", "throttle"}
    real = drop(data, "real", policy=policy).job_id
    work()
    assert codes(planned) == codes(real)
    results = [job(one)["result"] for one in (planned, real)]
    assert results[0]["counts"] == results[1]["counts"]


def test_a_policy_that_refuses_leaves_everything_as_it_was() -> None:
    contract(2)
    job_id = drop(file_of("a", "b", "c"), policy="all_or_nothing").job_id
    work()
    assert job(job_id)["state"] == "refused"
    assert codes(job_id) == ["not_carried_out", "not_carried_out", "no_seat_left"]
    with transaction() as session:
        assert seats(session) == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"%PDF-1.7", "unsupported_format"),
        (HEADER.encode(), "empty_file"),
        (b"a;b\n1;2\n", "missing_column"),
        (HEADER.encode() + "Dû;Zoé;a@b.fr\n".encode("cp1252"), "encoding_not_recognised"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(data: bytes, code: str) -> None:
    contract()
    job_id = drop(data).job_id
    work()
    shown = job(job_id)
    assert (shown["state"], shown["result"]["code"], shown["result"]["field"]) == ("refused", code, "file")
    assert rows("SELECT count(*) FROM enrollment") == [(0,)]


def test_an_unknown_contract_is_told_for_every_row() -> None:
    job_id = drop(file_of("a", "b")).job_id
    work()
    assert (job(job_id)["state"], job(job_id)["result"]["code"]) == ("refused", "unknown_contract")
    assert codes(job_id) == ["unknown_contract"] * 2


def test_two_different_addresses_in_a_cell_are_refused() -> None:
    contract()
    cells = ["a@x.fr <b@y.fr>", '"""a@x.fr"" <b@y.fr>"', "c@x.fr <C@x.fr>"]
    data = HEADER + "".join(f"Dû;Zoé;{cell};\r\n" for cell in cells)
    job_id = drop(data.encode()).job_id
    work()
    assert codes(job_id) == ["invalid_email", "invalid_email", "enrolled"]
    assert rows("SELECT email_norm FROM account") == [("c@x.fr",)]


def test_the_errors_can_be_corrected_and_dropped_again() -> None:
    contract()
    data = (HEADER + 'Dû;Zoé;zoe@x;Paie\r\n"=1+1";Ève;eve@;"L""a;b"\r\nOk;Ok;ok@example.com;\r\n').encode()
    job_id = drop(data, "one").job_id
    work()
    written = errors(job_id)
    assert written.splitlines() == [
        "\ufeffNom;Prénom;E-mail;Service;ligne;code;motif",
        "Dû;Zoé;zoe@x;Paie;2;invalid_email;L’adresse e-mail n’est pas valable : corrigez-la".replace(" :", "\xa0:"),
        '\'=1+1;Ève;eve@;"L""a;b";3;invalid_email;L’adresse e-mail n’est pas valable : corrigez-la'.replace(
            " :", "\xa0:"
        ),
    ]
    corrected = written.replace("zoe@x;", "zoe@example.com;").replace("eve@;", "eve@example.com;").encode()
    assert read_roster(corrected).rows[1].last_name == "=1+1"
    again = drop(corrected, "two").job_id
    work()
    assert codes(again) == ["enrolled", "enrolled"]
    assert rows("SELECT last_name FROM account ORDER BY last_name") == [("=1+1",), ("Dû",), ("Ok",)]
    assert errors(again, "en") == "\ufeffNom;Prénom;E-mail;Service;line;code;reason\r\n"


def test_the_file_of_errors_of_a_file_of_errors_has_our_columns_once() -> None:
    contract()
    first = drop(file_of("x@y"), "one").job_id
    work()
    written = errors(first)
    second = drop(written.encode(), "two").job_id
    work()
    assert errors(second).splitlines()[0] == written.splitlines()[0]
    assert ";2;invalid_email;" in errors(second)


def test_a_large_file_is_kept_in_parts_and_comes_back_whole() -> None:
    data = file_of(*[f"p{number}" for number in range(60_000)])
    assert len(data) > 2 << 20
    with transaction() as session:
        sha256 = store_file(session, LOCAL_PORTAL_ID, io.BytesIO(data))
        store_file(session, LOCAL_PORTAL_ID, io.BytesIO(data))
    assert rows("SELECT count(*) FROM roster_part") == [(-(-len(data) // (1 << 20)),)]
    with transaction() as session:
        found = open_file(session, LOCAL_PORTAL_ID, sha256)
        assert found is not None
        with found:
            found.seek(0)
            assert found.read() == data
        session.execute(text("DELETE FROM roster_part WHERE number = 1"))
        assert open_file(session, LOCAL_PORTAL_ID, sha256) is None
        assert query(session, "SELECT count(*) FROM roster_file") == [(1,)]


def test_a_full_disk_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    contract()
    job_id = drop(file_of("a")).job_id

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("workers.imports.running.open_file", full)
        work()
    assert rows("SELECT state, failures FROM job") == [("queued", 1)]
    work()
    assert codes(job_id) == ["enrolled"]


def test_a_dry_run_of_a_file_ends_where_too_much_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRY_RUN_COMPANY_LIMIT", "6")
    get_settings.cache_clear()
    contract()
    job_id = drop(file_of(*"abcdefghij"), dry_run=True).job_id
    work()
    shown = job(job_id)
    assert (shown["state"], shown["result"]["code"], shown["result"]["counts"]) == (
        "refused", "throttled", {"enrolled": 4, "throttled": 4},
    )  # fmt: skip
    assert "from" in shown["result"]
    real = drop(file_of(*"abcdefghij"), "real").job_id
    work()
    assert codes(real) == ["enrolled"] * 10
