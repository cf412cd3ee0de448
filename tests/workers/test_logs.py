"""Log lines are JSON with the facts operators need, and without a name, an address, a link or a token."""

import io
import json
import logging
import os
import subprocess
import sys

import psycopg
import pytest
from sqlalchemy import text

from models.words import Code
from tests.kit.actors.messages import message, push, send
from tests.kit.processes.support import (
    PROJECT,
    Processes,
    change,
    rows,
    wait_until,
)
from workers.database import Session
from workers.errors import InvalidRequest, Permanent, Problem, Transient
from workers.logs import describe, get_logger, masked, safe_reason
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.enrollment import Enroll, PersonToEnroll

TOKEN = "AbCdEfGh-_" * 6 + "1234"
LINK = f"https://formation.test/activation?token={TOKEN}"
SECRETS = ("Zéphyrine", "Quasimodo", "zephyrine", "quasimodo.test", "formation.test", "token=", TOKEN, TOKEN[:40])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("nothing to hide", "nothing to hide"),
        ("mail to a.b+c@example.com failed", "mail to [address] failed"),
        ("<a@example.com>, 'b@x.fr'", "<[address]>, '[address]'"),
        ("perle@société-lorval.example", "[address]"),
        (f"see {LINK} now", "see [link] now"),
        ("http://x", "[link]"),
        (f"token {TOKEN}.", "token [token]."),
        ("x" * 59, "x" * 59),
        ("01a20aaa-2857-73fe-bbb2-858345009f66", "01a20aaa-2857-73fe-bbb2-858345009f66"),
    ],
)
def test_addresses_links_and_tokens_are_masked(said: str, shown: str) -> None:
    assert masked(said) == shown


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Permanent("no key for a@example.com"), "no key for [address]"),
        (Transient("relay away"), "relay away"),
        (InvalidRequest(Problem(Code.INVALID_EMAIL, "people.3.email")), "invalid_email: people.3.email"),
        (ValueError("Zéphyrine"), ""),
        (KeyError("a@example.com"), ""),
        (psycopg.OperationalError("connection to 10.0.0.1 failed"), ""),
    ],
)
def test_only_our_own_errors_are_quoted(error: Exception, reason: str) -> None:
    assert safe_reason(error) == reason


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT CAST('Zéphyrine' AS uuid)", "invalid input syntax for type uuid"),
        (
            "INSERT INTO portal VALUES (gen_random_uuid(), 'local')",
            'duplicate key value violates unique constraint "uq_portal_name"',
        ),
    ],
)
def test_postgresql_is_quoted_without_its_values(session: Session, statement: str, reason: str) -> None:
    with pytest.raises(Exception) as failed:  # noqa: PT011
        session.execute(text(statement))
    assert safe_reason(failed.value) == reason


def test_an_error_is_described_whole_for_the_ledger() -> None:
    try:
        raise ValueError("Zéphyrine \x00 \ud800 " + "xxx " * 5_000)
    except ValueError as error:
        kept = describe(error)
    assert kept["class"] == "ValueError"
    assert kept["message"].startswith("Zéphyrine \ufffd ? xxx")
    assert len(kept["message"]) == 2_000
    assert "test_logs.py" not in kept["message"]
    assert len(kept["traceback"]) <= 8_000
    json.dumps(kept).encode()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO suppression VALUES ('quasimodo@zephyrine.fr', 'x'), ('quasimodo@zephyrine.fr', 'x')",
        "INSERT INTO suppression (email_norm, reason) VALUES ('Quasimodo', NULL)",
        'SELECT CAST(\'{"name": "Quasimodo \\u0000"}\' AS jsonb)',
    ],
)
def test_an_error_is_kept_without_the_values_it_failed_on(session: Session, statement: str) -> None:
    with pytest.raises(Exception) as failed:  # noqa: PT011
        session.execute(text(statement.replace(":", "\\:")))
    try:
        raise RuntimeError(f"mail to quasimodo@zephyrine.fr with {LINK}") from failed.value
    except RuntimeError as error:
        wrapped = describe(error)
    kept = json.dumps([describe(failed.value), wrapped])
    assert "uasimodo" not in kept.replace(json.dumps(statement)[1:-1], "")
    assert "[hidden]" in kept
    assert "[address] with [link]" in wrapped["message"]
    assert TOKEN not in kept


def test_an_exception_is_logged_by_its_class_and_place(logged: io.StringIO) -> None:
    try:
        raise ValueError("Zéphyrine <zephyrine@quasimodo.test>")
    except ValueError as error:
        get_logger().warning("it.failed", exc_info=error, job="1", to=f"{LINK} {TOKEN}")
        logging.getLogger("library").exception("oh no, zephyrine@quasimodo.test")
    ours, theirs = (json.loads(line) for line in logged.getvalue().splitlines())
    assert (ours["event"], ours["error"], ours["reason"], ours["job"]) == ("it.failed", "ValueError", "", "1")
    assert ours["frames"][0].startswith("test_logs.py") or "test_logs.py" in ours["frames"][0]
    assert (theirs["event"], theirs["error"]) == ("oh no, [address]", "ValueError")
    assert not [secret for secret in SECRETS if secret in logged.getvalue()]


def test_a_crash_is_logged_through_the_masks() -> None:
    code = "from workers.logs import configure_logs; configure_logs(); raise ValueError('a@quasimodo.test')"
    crashed = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert crashed.returncode == 1
    (line,) = crashed.stderr.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["error"]) == ("process.crashed", "ValueError")


def hostile(number: int, contract: str = "K-1") -> Enroll:
    person = PersonToEnroll(
        email=f"zephyrine{number}@quasimodo.test", first_name="Zéphyrine", last_name="Quasimodo", external_id=TOKEN
    )
    return Enroll(contract=contract, people=[person], requested_by=LINK, report_to="zephyrine@quasimodo.test")


def test_a_worker_logs_job_and_attempt_and_no_name(processes: Processes) -> None:
    worker = processes.worker("requests", "enrollments", LEASE_SECONDS="5")
    send(PutCompany(reference="C", name="Quasimodo"), "company")
    send(PutTraining(reference="T", title="Zéphyrine"), "training")
    wait_until(lambda: len(rows("SELECT 1 FROM job WHERE state = 'succeeded'")) == 2, say=processes.logs)
    send(PutContract(reference="K-1", company="C", training="T", planned_seats=5), "contract")
    wait_until(lambda: len(rows("SELECT 1 FROM job WHERE state = 'succeeded'")) == 3, say=processes.logs)

    send(hostile(1), f"{LINK} zephyrine@quasimodo.test")  # done
    send(hostile(2), f"{LINK} zephyrine@quasimodo.test")  # another body under the same key: refused
    push(message(json.dumps({"zephyrine@quasimodo.test": "Zéphyrine"}), kind="enroll", key=TOKEN))
    push(message(actor_name="Zéphyrine", kwargs={"to": "zephyrine@quasimodo.test", "link": LINK}))
    push(b"Z\xc3\xa9phyrine <zephyrine@quasimodo.test> " + LINK.encode())
    wait_until(lambda: len(rows("SELECT 1 FROM job WHERE state = 'refused'")) == 4, say=processes.logs)
    wait_until(lambda: rows("SELECT 1 FROM job WHERE kind = 'enroll' AND state = 'succeeded'"), say=processes.logs)

    change("ALTER TABLE enrollment ADD CONSTRAINT nobody CHECK (external_id IS NULL) NOT VALID")
    send(hostile(3), "fails")  # its work fails, and the details of the error quote the row
    wait_until(lambda: rows("SELECT 1 FROM job WHERE failures > 0"), say=processes.logs)
    change("ALTER TABLE idempotency RENAME TO idempotency_away")
    send(hostile(4), "waits")  # accepting it meets an unexpected error
    wait_until(lambda: "accept.waits" in processes.logs(), say=processes.logs)
    change("ALTER TABLE idempotency_away RENAME TO idempotency")
    wait_until(lambda: len(rows("SELECT 1 FROM job WHERE failures > 0")) == 2, say=processes.logs)
    worker.terminate()
    worker.wait(timeout=20)

    said = processes.logs()
    assert not [secret for secret in SECRETS if secret in said]
    # Dramatiq's master logs before our code is loaded, and only about its processes.
    lines = [json.loads(line) for line in said.splitlines() if "[dramatiq.MainProcess]" not in line]
    events = {line["event"] for line in lines}
    assert {"requests.accepted", "message.refused", "work.done", "work.failed", "accept.waits"} <= events
    ids = {str(job_id) for (job_id,) in rows("SELECT id FROM job")}
    accepted = {row for line in lines if line["event"] == "requests.accepted" for row in line["rows"]}
    refused = {line["job"] for line in lines if line["event"] == "message.refused"}
    assert {row.removesuffix("#0") for row in accepted} | refused == ids
    for line in lines:
        if line["event"].startswith("work."):
            assert all(row.split("#")[0] in ids and int(row.split("#")[1]) > 0 for row in line["rows"]), line
        assert {"event", "level", "timestamp"} <= line.keys()
    (failed, *_) = [line for line in lines if line["event"] == "work.failed"]
    assert failed["error"] == "IntegrityError"
    assert "violates check constraint" in failed["reason"]
