"""`matricule enqueue` accepts without a worker, answers when there is one, and has the right exit codes."""

import json
from typing import Any

import pytest

from tests.kit.processes.support import Processes, rows
from tests.workers.cli.conftest import Call
from tests.workers.cli.test_seed import ALL
from workers.cli import edge
from workers.cli.options import with_seconds

PERSON = {"email": "ines@exemple.test", "first_name": "Inès", "last_name": "d’Alméras"}
ENROLL = {"contract": "C-1", "people": [PERSON]}
COMPANY = {"reference": "acme", "name": "Acmé"}


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def test_a_request_is_accepted_without_any_worker(call: Call) -> None:
    called = call("enqueue", "put_company", "--file", "-", "--key", "k", stdin=COMPANY)
    assert (called.code, called.json["state"], called.json["key"], called.json["repeated"]) == (0, "queued", "k", False)
    assert rows("SELECT kind, state FROM job") == [("put_company", "queued")]


def test_the_same_key_is_the_same_job_and_another_body_under_it_a_conflict(call: Call) -> None:
    first = call("enqueue", "put_company", "--file", "-", "--key", "k", stdin=COMPANY)
    again = call("enqueue", "put_company", "--file", "-", "--key", "k", stdin=COMPANY)
    assert (again.code, again.json["id"], again.json["repeated"]) == (0, first.json["id"], True)
    other = call("enqueue", "put_company", "--file", "-", "--key", "k", stdin=COMPANY | {"name": "Autre"})
    assert (other.code, other.json["code"], other.json["problems"][0]["field"]) == (65, "idempotency_conflict", "key")


@pytest.mark.parametrize("command", [("enqueue", "put_company", "--file", "-"), ("seed", "-")])
def test_no_more_of_a_document_is_read_than_is_allowed(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    document = json.dumps(COMPANY).encode()
    monkeypatch.setattr(edge, "MOST_BYTES", len(document))
    called = call(*command, stdin=document + b" ")
    assert (called.code, called.json["code"]) == (65, "request_too_large")
    assert call("enqueue", "put_company", "--file", "-", stdin=document).code == 0


def test_without_a_key_each_request_is_a_new_one(call: Call) -> None:
    jobs = {call("enqueue", "put_company", "--file", "-", stdin=COMPANY).json["id"] for _ in range(2)}
    assert len(jobs) == 2


@pytest.mark.parametrize(
    ("kind", "content", "code", "fields"),
    [
        ("nothing", {}, "unknown_kind", ["kind"]),
        ("purge", {}, "unknown_kind", ["kind"]),
        ("enroll", "{", "invalid_request", [""]),
        ("enroll", b"\xe9", "invalid_request", [""]),
        ("enroll", {"contract": "C-1", "people": []}, "invalid_request", ["people"]),
        ("enroll", ENROLL | {"polcy": 1}, "invalid_request", ["polcy"]),
        ("enroll", ENROLL | {"policy": "some"}, "invalid_request", ["policy"]),
        ("enroll", {"contract": 7, "people": 7, "policy": 7}, "invalid_request", ["contract", "people", "policy"]),
        ("enroll", ENROLL | {"report_to": "personne"}, "invalid_email", ["report_to"]),
        ("put_contract", ALL["contracts"][0] | {"planned_seats": -1}, "invalid_request", ["planned_seats"]),
    ],
)  # fmt: skip
def test_an_invalid_request_names_every_field(
    call: Call, kind: str, content: Any, code: str, fields: list[str]
) -> None:
    called = call("enqueue", kind, "--file", "-", stdin=content)
    assert (called.code, called.json["accepted"], called.json["code"]) == (65, False, code)
    assert [problem["field"] for problem in called.json["problems"]] == fields
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_an_unknown_portal_and_a_key_that_cannot_be_one_are_named(call: Call) -> None:
    portal = call("enqueue", "put_company", "--file", "-", "--portal", "ailleurs", stdin=COMPANY)
    key = call("enqueue", "put_company", "--file", "-", "--key", "x" * 201, stdin=COMPANY)
    assert (portal.code, portal.json["code"]) == (65, "unknown_portal")
    assert (key.code, key.json["problems"][0]["field"]) == (65, "key")


def test_a_job_not_finished_within_the_wait_says_so_and_goes_on(call: Call) -> None:
    called = call("enqueue", "put_company", "--file", "-", "--key", "k", "--wait", "0.1", stdin=COMPANY)
    assert (called.code, called.json["finished"], "--key k" in called.err) == (75, False, True)


@pytest.mark.parametrize(("state", "code"), [("dead", 70), ("refused", 1), ("cancelled", 1), ("succeeded", 0)])
def test_the_exit_code_tells_how_a_finished_job_ended(call: Call, state: str, code: int) -> None:
    call("enqueue", "put_company", "--file", "-", "--key", "k", stdin=COMPANY)
    rows("UPDATE job SET state = :state, due_at = NULL, finished_at = now() RETURNING id", state=state)
    assert call("enqueue", "put_company", "--file", "-", "--key", "k", "--wait", stdin=COMPANY).code == code


def test_with_a_worker_the_answer_has_a_result_per_person(call: Call, processes: Processes) -> None:
    call("seed", "-", stdin=ALL)
    processes.worker("enrollments")
    two = {"contract": "C-1", "people": [PERSON, PERSON], "policy": "until_full"}
    planned = call("enqueue", "enroll", "--file", "-", "--wait", stdin=two | {"dry_run": True})
    done = call("enqueue", "enroll", "--file", "-", "--wait", stdin=two)
    unknown = call("enqueue", "enroll", "--file", "-", "--wait", stdin=ENROLL | {"contract": "C-9"})
    codes = ["enrolled", "duplicate_in_file"]
    assert (planned.code, [person["code"] for person in planned.json["result"]["people"]]) == (0, codes)
    assert (planned.json["result"]["dry_run"], planned.json["result"]["people"][0]["account_id"]) == (True, None)
    assert (done.code, [person["code"] for person in done.json["result"]["people"]]) == (0, codes)
    assert (unknown.code, unknown.json["result"]["code"]) == (1, "unknown_contract")
    assert rows("SELECT enrolled_count FROM contract") == [(1,)]


@pytest.mark.parametrize(
    ("args", "full"),
    [
        (["--wait"], ["--wait", "60"]),
        (["--wait", "5"], ["--wait", "5"]),
        (["--wait", "0.5", "--key", "k"], ["--wait", "0.5", "--key", "k"]),
        (["--wait", "--key", "k"], ["--wait", "60", "--key", "k"]),
        (["--wait", "enroll"], ["--wait", "60", "enroll"]),
        (["--key", "k"], ["--key", "k"]),
    ],
)
def test_seconds_may_be_left_out(args: list[str], full: list[str]) -> None:
    assert with_seconds(args) == full


def test_help_lists_the_kinds_their_fields_and_the_exit_codes(call: Call) -> None:
    shown = call("enqueue", "--help").out
    for word in (
        "put_contract:",
        "planned_seats",
        "all_or_nothing | valid_rows | until_full",
        "external_id",
        "enrollment_ids list of 1 to 10000 uuid",
        "progress       not_started | in_progress | completed",
        "75  not",
    ):
        assert word in shown
    assert not [word for word in ("purge", "issue_certificate", "None") if word in shown]
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("args", [(), ("enroll",), ("enroll", "--file", "/nowhere")])
def test_wrong_use_says_how(call: Call, args: tuple[str, ...]) -> None:
    assert call("enqueue", *args).code == 2
