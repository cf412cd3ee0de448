"""`matricule jobs` lists the ledger for operators, and shows one job with all known facts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import typer
from sqlalchemy import text

from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.cli.options import moment
from workers.database import transaction
from workers.requests.base import lane_id
from workers.sql import fetch_values


@pytest.fixture
def jobs(fresh_database: str, call: Call) -> list[str]:
    """Creates three jobs, oldest first: one that died five hours ago, one refused two hours ago, one that waits."""
    made = []
    for name in ("Acmé", "Autre", "Troisième"):
        body = {"reference": "acme", "name": name}
        made.append(str(call("enqueue", "put_company", "--file", "-", stdin=body).json["id"]))
    dead = """UPDATE job SET state = 'dead', due_at = NULL, created_at = now() - interval '5 hours',
      error = '{"class": "[/b]BoomError", "message": "Zoé"}' WHERE id = CAST(:id AS uuid)"""
    refused = """UPDATE job SET state = 'refused', due_at = NULL, created_at = now() - interval '2 hours',
      kind = 'enroll', result = '{"code": "contract_expired"}' WHERE id = CAST(:id AS uuid)"""
    change(dead, id=made[0])
    change(refused, id=made[1])
    return made


def listed(call: Call, *options: str) -> list[str]:
    called = call("jobs", *options, "--json")
    assert called.code == 0
    return [job["id"] for job in called.json]


def test_the_latest_come_first_and_options_narrow_them_down(call: Call, jobs: list[str]) -> None:
    dead, refused, waiting = jobs
    assert listed(call) == [waiting, refused, dead]
    for options, found in {
        ("--limit", "1"): [waiting],
        ("--state", "dead"): [dead],
        ("--kind", "enroll"): [refused],
        ("--kind", "put_company"): [waiting, dead],
        ("--portal", "local"): [waiting, refused, dead],
        ("--portal", "elsewhere"): [],
        ("--since", "3h"): [waiting, refused],
        ("--since", "90min"): [waiting],
        ("--since", "2000-01-01"): [waiting, refused, dead],
        ("--since", "3h", "--state", "refused"): [refused],
        ("--until", "3h"): [dead],
        ("--queue", "enrollments"): [waiting, refused, dead],
        ("--queue", "rosters"): [],
        ("--contract", "C-1"): [],
        ("--contract", "C-1", "--state", "refused"): [],
    }.items():
        assert listed(call, *options) == found, options


def test_scheduled_jobs_without_a_fault_are_left_out(call: Call, jobs: list[str]) -> None:
    body = """INSERT INTO job (id, portal_id, kind, queue, lane, state, created_at)
      SELECT gen_random_uuid(), id, 'scan_inboxes', 'rosters', id, CAST(:state AS text), now() FROM portal"""
    for state in ("succeeded", "dead"):
        change(body, state=state)
    [dead] = listed(call, "--kind", "scan_inboxes", "--state", "dead")
    assert listed(call) == [dead, *jobs[::-1]]
    assert len(listed(call, "--all")) == 5
    assert len(listed(call, "--kind", "scan_inboxes")) == 2
    assert len(listed(call, "--state", "succeeded")) == 1


def test_each_job_is_on_one_line_with_why(call: Call, jobs: list[str]) -> None:
    heading, *lines = call("jobs").out.splitlines()
    assert heading.split() == ["id", "recorded", "(UTC)", "state", "kind", "portal", "why"]
    assert [line.split()[0] for line in lines] == jobs[::-1]
    assert lines[0].split()[3:] == ["queued", "put_company", "local"]
    assert lines[1].split()[3:] == ["refused", "enroll", "local", "contract_expired"]
    assert lines[2].split()[3:] == ["dead", "put_company", "local", "[/b]BoomError"]
    assert "the latest 1; --limit shows more" in call("jobs", "--limit", "1").out
    assert call("jobs", "--state", "succeeded").out == "no job is like this\n"


def test_programs_read_facts_and_neither_requests_nor_people(call: Call, jobs: list[str]) -> None:
    called = call("jobs", "--state", "dead", "--json")
    [job] = called.json
    assert (job["state"], job["why"], job["failures"], job["due_at"]) == ("dead", "[/b]BoomError", 0, None)
    assert datetime.fromisoformat(job["created_at"]) < datetime.now(UTC)
    assert "Acmé" not in called.out
    assert "Zoé" not in called.out


def test_one_job_is_shown_as_its_portal_sees_it(call: Call, jobs: list[str]) -> None:
    shown = call("jobs", "show", jobs[1])
    assert (shown.code, shown.json["state"], shown.json["finished"]) == (0, "refused", True)
    assert shown.json["result"] == {"code": "contract_expired", "people": []}
    unknown = call("jobs", "show", uuid4())
    assert (unknown.code, unknown.out, unknown.err) == (1, "", "no job has this identifier\n")
    assert rows("SELECT count(*) FROM job") == [(3,)]


@pytest.mark.parametrize(
    "words", [("show",), ("show", "no-job"), ("--state", "gone"), ("--since", "yesterday"), ("--limit", "0")]
)
def test_wrong_use_says_how(call: Call, fresh_database: str, words: tuple[str, ...]) -> None:
    assert call("jobs", *words).code == 2


def test_a_moment_is_a_date_a_time_or_so_long_ago() -> None:
    assert moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment("2026-03-01T08:30") == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert moment("2026-03-01T08:30+02:00") == datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
    for said, ago in {"30min": timedelta(minutes=30), "2h": timedelta(hours=2), "3d": timedelta(days=3)}.items():
        assert abs(datetime.now(UTC) - ago - moment(said)) < timedelta(seconds=10)
    for said in ("", "h", "2", "2 weeks", "-2h", "2026-13-01"):
        with pytest.raises(typer.BadParameter):
            moment(said)


def test_the_jobs_of_a_contract_are_found_by_their_lane(call: Call, jobs: list[str]) -> None:
    with transaction() as session:
        [portal] = fetch_values(session, UUID, text("SELECT id FROM portal"))
    change("UPDATE job SET lane = :lane WHERE id = CAST(:id AS uuid)", lane=lane_id(portal, "contract:C-1"), id=jobs[1])
    assert listed(call, "--contract", "C-1") == [jobs[1]]
    assert listed(call, "--contract", "C-1", "--portal", "elsewhere") == []


def test_the_jobs_of_a_person_are_found_by_the_traces_they_left(call: Call, jobs: list[str]) -> None:
    account = uuid4()
    change("INSERT INTO audit (action, requested_by, result, account_id, job_id)"
           " VALUES ('x', '', '', :account, CAST(:id AS uuid))",
           account=account, id=jobs[0])  # fmt: skip
    assert listed(call, "--person", str(account)) == [jobs[0]]
    assert listed(call, "--person", str(account), "--state", "refused") == []
    assert listed(call, "--person", "nobody@example.com") == []
    assert listed(call, "--person", str(uuid4())) == []
