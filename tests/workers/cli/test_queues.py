"""`matricule queues`: operators see the queues, pause one or lanes of it, and let it go on; it is audited."""

from datetime import UTC, datetime
from typing import Any

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, query
from tests.kit.builders.ledgers import owe
from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.database import transaction
from workers.engine import ledger as books
from workers.engine.claimer import this_process
from workers.engine.ledger import EMAILS, JOBS
from workers.requests.base import lane_id

pytestmark = pytest.mark.usefixtures("fresh_database")

WHY = ("--reason", "the relay is repaired")


def claimed(queue: str) -> int:
    """Claims from a queue in a transaction that is not committed; returns the number of rows."""
    ledger = EMAILS if queue.startswith("emails") else JOBS
    with transaction() as session:
        found = len(books.claim(session, ledger, queue, size=9, lease=30, worker=this_process()))
        session.rollback()
    return found


def audited() -> list[tuple[object, ...]]:
    return rows(
        "SELECT action, requested_by LIKE 'shell:%', detail->>'queue', detail->>'reason' FROM audit ORDER BY id"
    )


def listed(call: Call, queue: str) -> Any:
    return next(row for row in call("queues", "--json").json if row["queue"] == queue)


def test_a_queue_is_paused_with_an_end_and_goes_on_when_asked(call: Call) -> None:
    with transaction() as session:
        owe(session, JOBS, queue="rosters")
    said = call("queues", "pause", "rosters", "--for", "2h", *WHY)
    assert (said.code, said.out.endswith("UTC; what runs is finished\n"), claimed("rosters")) == (0, True, 0)
    row = listed(call, "rosters")
    [pause] = row["pauses"]
    assert (row["waiting"], row["running"], row["oldest_due_seconds"] >= 1) == (1, 0, True)
    assert (pause["reason"], pause["reference"], 7_190 < pause["seconds_left"] <= 7_200) == (WHY[1], None, True)
    [line] = [line for line in call("queues").out.splitlines() if line.startswith("rosters ")]
    assert line.split()[:3] == ["rosters", "1", "0"]
    assert ("whole" in line, "the relay is repaired" in line, "shell:" in line) == (True, True, True)
    assert call("queues", "resume", "rosters", *WHY).out == "goes on\n"
    assert (claimed("rosters"), listed(call, "rosters")["pauses"]) == (1, [])
    assert audited() == [(f"{verb}_queue", True, "rosters", WHY[1]) for verb in ("pause", "resume")]


def test_a_lane_is_a_contract_of_jobs_and_a_company_of_mails(call: Call) -> None:
    with transaction() as session:
        add_contract(session, reference="C-1")
        [(company_id, company)] = query(session, "SELECT id, reference FROM company")
        owe(session, JOBS, queue="rosters", lane=lane_id(LOCAL_PORTAL_ID, "contract:C-1"))
        owe(session, JOBS, queue="rosters", lane=lane_id(LOCAL_PORTAL_ID, "contract:C-2"))
        owe(session, EMAILS, queue="emails", lane=company_id)
    assert call("queues", "pause", "rosters", "--lane", "C-1", "--for", "30min", *WHY).code == 0
    assert call("queues", "pause", "emails", "--lane", company, "--for", "3d", "--json", *WHY).json["lanes"] == [
        company
    ]
    assert (claimed("rosters"), claimed("emails")) == (1, 0)
    assert [one["waiting"] for one in listed(call, "rosters")["pauses"]] == [1]
    assert call("queues", "resume", "rosters", *WHY).code == 1
    assert call("queues", "resume", "rosters", "--lane", "C-1", *WHY).code == 0
    assert claimed("rosters") == 2


def test_a_second_pause_takes_the_place_of_the_first(call: Call) -> None:
    for lasting in ("3d", "30min"):
        call("queues", "pause", "emails", "--for", lasting, *WHY)
    [pause] = listed(call, "emails")["pauses"]
    assert pause["seconds_left"] <= 1_800
    assert rows("SELECT count(*) FROM queue_pause WHERE until <= now()") == [(1,)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("pause", "lunch", "--for", "2h"), "unknown_queue"),
        (("pause", "webhooks", "--for", "2h"), "unknown_queue"),
        (("pause", "requests", "--for", "2h"), "unknown_queue"),
        (("pause", "certificates", "--lane", "C-1", "--for", "2h"), "no_lanes"),
        (("pause", "rosters", "--lane", "C-404", "--for", "2h"), "unknown_lane"),
        (("pause", "rosters", "--for", "0min"), "past_end"),
        (("pause", "rosters", "--until", "2026-01-01"), "past_end"),
        (("pause", "rosters", "--for", "8d"), "too_long"),
        (("resume", "lunch"), "unknown_queue"),
        (("resume", "rosters"), "not_paused"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_code(call: Call, words: tuple[str, ...], code: str) -> None:
    refused = call("queues", *words, "--json", *WHY)
    assert (refused.code, refused.json, bool(refused.err)) == (1, {"answer": code}, True)
    assert (rows("SELECT 1 FROM queue_pause"), audited()) == ([], [])


def test_one_end_and_a_reason_are_needed(call: Call) -> None:
    both = ("--for", "2h", "--until", f"{datetime.now(UTC):%Y-%m-%d}")
    for words in ((), both, ("--for", "soon")):
        assert call("queues", "pause", "rosters", *words, *WHY).code == 2
    assert call("queues", "pause", "rosters", "--for", "2h").code == 2
    assert call("queues", "pause", "rosters", "--for", "2h", "--reason", "a@b.fr asked").code == 65


def test_status_names_the_pause_and_the_command_that_ends_it(call: Call) -> None:
    call("queues", "pause", "emails_bulk", "--for", "2h", *WHY)
    status = call("status")
    told = " ".join(status.out.split())
    assert status.code == 1
    assert f"({WHY[1]}), 0 waiting; it goes on by itself, or at once by matricule queues resume emails_bulk" in told
    change("UPDATE queue_pause SET until = now()")
    assert "is paused" not in call("status").out
