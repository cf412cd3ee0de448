"""Corrections by operators: done twice they have one effect, killed half-way they leave nothing."""

import json

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import all_rows, claimed, fail_half_way
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    account_id,
    confirm,
    correct,
    participant,
)
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.corrections import changes as correction_changes
from workers.corrections import jobs as corrections
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.internal import CorrectEmailByOps

CORRECTED = "SELECT email_norm FROM account"
MAILS = "SELECT kind, to_address FROM email WHERE kind LIKE 'correction_applied' ORDER BY to_address"


@pytest.fixture(autouse=True)
def _asked(fresh_database: str) -> None:
    """Creates an activated person with a confirmed pending correction; operators request another address."""
    with transaction() as session:
        correct(session, participant(session), "other@example.org")
        confirm(session)
        session.execute(text("UPDATE job SET due_at = NULL, leased_until = NULL"))
        request = CorrectEmailByOps(account_id=account_id(session), email=NEW, reason="lost the mailbox")
        body = json.dumps(request.model_dump(mode="json"))
        accept_internal(session, LOCAL_PORTAL_ID, request, body, key="ops:once")


def run() -> bool:
    return BatchRun(JOBS, do_jobs).run(claimed())


def test_done_twice_it_is_done_once() -> None:
    taken = claimed()
    assert BatchRun(JOBS, do_jobs).run(taken)
    before = all_rows()
    assert rows(CORRECTED) == [(NEW,)]
    assert BatchRun(JOBS, do_jobs).run(taken)  # by a worker that had seemed dead
    assert all_rows() == before


def test_asked_twice_the_second_changes_nothing() -> None:
    assert run()
    mails = rows(MAILS)
    with transaction() as session:
        request = CorrectEmailByOps(account_id=account_id(session, NEW), email=NEW, reason="once more")
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="ops:twice")
    assert run()
    assert (rows(CORRECTED), rows(MAILS)) == ([(NEW,)], mails)
    assert rows("SELECT result FROM audit WHERE action = 'correct_email_by_ops' ORDER BY id") == [
        ("corrected",), ("unchanged",)]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (corrections, "end_pending"),
        (corrections, "insert_correction"),
        (corrections, "follow_up"),
        (correction_changes, "owe"),
        (corrections, "record"),
        (correction_changes, "cancel_mails_to_former_addresses"),
    ],
)
def test_killed_half_way_it_leaves_nothing_and_is_done_again(
    monkeypatch: pytest.MonkeyPatch, module: object, step: str
) -> None:
    fail_half_way(monkeypatch, module, step)  # type: ignore[arg-type]
    assert rows(CORRECTED) == [(OLD,)]
    assert run()
    assert rows(CORRECTED) == [(NEW,)]
    assert set(rows(MAILS)) == {("correction_applied", OLD), ("correction_applied", NEW)}
    assert rows("SELECT state, ground FROM email_correction ORDER BY asked_at, id") == [
        ("superseded", "taken_back"), ("applied", "ops")]  # fmt: skip
