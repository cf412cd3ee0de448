"""`matricule person correct-email`: operators may correct at once, with a reason, where a manager may not."""

import json
from typing import Any

import pytest

from models.base import new_id
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    enrol_also,
    participant,
)
from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call, Called
from workers.actors import enrollments
from workers.database import transaction
from workers.engine.claimer import this_process
from workers.engine.ledger import JOBS, claim
from workers.requests.queues import Queue

WHY = ("--reason", "lost the mailbox, ticket 12", "--yes")


@pytest.fixture(autouse=True)
def _shared_account(fresh_database: str) -> None:
    """Creates an activated person at two companies."""
    with transaction() as session:
        participant(session)
        enrol_also(session)


def work() -> None:
    """Does the due jobs."""
    with transaction() as session:
        claimed = claim(session, JOBS, Queue.ENROLLMENTS, size=10, lease=30, worker=this_process())
    enrollments.do_batch(claimed)


def answer(called: Called) -> Any:
    """Returns the result of the job, which stands after the log lines of the work done here."""
    return json.loads(called.out[called.out.index("{\n") :])["result"]


@pytest.mark.parametrize("by", ["address", "identifier"])
def test_an_account_of_two_companies_is_corrected_and_the_reason_kept(call: Call, by: str) -> None:
    [(account_id,)] = rows("SELECT id FROM account")
    called = call("person", "correct-email", f"<{OLD.upper()}>" if by == "address" else account_id, NEW, *WHY)
    assert (called.code, called.json["state"], called.json["kind"]) == (0, "queued", "correct_email_by_ops")
    assert rows(
        "SELECT i.key LIKE 'ops:%', i.portal_id = j.portal_id FROM idempotency i JOIN job j ON j.id = i.job_id"
    ) == [(True, True)]
    work()
    assert rows("SELECT email_norm, credential_version FROM account") == [(NEW, 2)]
    [(asker, reason, result)] = rows(
        "SELECT requested_by LIKE 'shell:_%', detail ->> 'reason', result FROM audit"
        " WHERE action = 'correct_email_by_ops'"
    )
    assert (asker, reason, result) == (True, WHY[1], "corrected")


def test_it_waits_for_the_answer_and_a_refusal_is_exit_code_1(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        participant(session, NEW)
    monkeypatch.setattr("workers.cli.asking.wake", lambda _: work())
    taken = call("person", "correct-email", OLD, NEW, *WHY, "--wait", "5")
    assert (taken.code, answer(taken)["people"][0]["code"]) == (1, "address_taken")
    nobody = call("person", "correct-email", new_id(), "other@example.org", *WHY, "--wait")
    assert (nobody.code, answer(nobody)["people"][0]["code"]) == (1, "not_found")
    done = call("person", "correct-email", OLD, "other@example.org", *WHY, "--wait")
    assert (done.code, answer(done)["people"][0]["code"]) == (0, "corrected")


@pytest.mark.parametrize(("said", "jobs"), [("n\n", 0), ("", 0), ("y\n", 1)])
def test_an_account_is_handed_over_when_it_is_meant(call: Call, said: str, jobs: int) -> None:
    called = call("person", "correct-email", OLD, NEW, *WHY[:2], stdin=said)
    assert called.code == (0 if jobs else 1)
    assert "The reader of its mail has the account" in called.err
    assert rows("SELECT count(*) FROM job WHERE kind = 'correct_email_by_ops'") == [(jobs,)]


def test_not_finished_within_the_wait(call: Call) -> None:
    called = call("person", "correct-email", OLD, NEW, *WHY, "--wait", "0")
    assert called.code == 75
    assert called.json["id"] in called.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((OLD, NEW), 2),
        ((OLD, *WHY), 2),
        (("nobody@example.com", NEW, *WHY), 65),
        (("nobody", NEW, *WHY), 65),
        ((OLD, "no address", *WHY), 65),
        ((OLD, "a@b@c.fr", *WHY), 65),
        ((OLD, NEW, "--reason", ""), 65),
        ((OLD, NEW, "--reason", f"{NEW} wrote to us"), 65),
        ((OLD, NEW, "--reason", "two\nlines\x00"), 65),
    ],
)
def test_wrong_use_records_nothing_and_repeats_no_address(call: Call, arguments: tuple[str, ...], code: int) -> None:
    before = rows("SELECT count(*) FROM job")
    called = call("person", "correct-email", *arguments)
    assert called.code == code
    assert "nobody" not in called.out + called.err
    assert rows("SELECT count(*) FROM job") == before
