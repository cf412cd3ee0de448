"""scripts/retry: dead work gets its attempts again, once, and who asked is recorded."""

import pytest

from models.base import new_id
from scripts.commands import enqueue
from scripts.commands.retry import app
from tests.scripts.commands.conftest import Call
from tests.support import rows

COMPANY = {"reference": "acme", "name": "Acmé"}


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Each test has its own."""


@pytest.fixture
def dead_job(call: Call) -> str:
    job_id = str(call(enqueue.app, "put_company", "--file", "-", stdin=COMPANY).json["id"])
    rows("UPDATE job SET state = 'dead', due_at = NULL, failures = 8, finished_at = now() RETURNING id")
    return job_id


@pytest.fixture
def failed_mail() -> str:
    mail_id = new_id()
    rows(
        """INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state)
        VALUES (:id, 'invitation', 'emails', :id, 'k', 'a@exemple.test', 'fr', '<a@b>', now(), now(), 'failed')
        RETURNING id""",
        id=mail_id,
    )
    return str(mail_id)


def test_a_dead_job_is_due_again_and_a_second_time_changes_nothing(call: Call, dead_job: str) -> None:
    first, second = call(app, dead_job), call(app, dead_job)
    assert (first.code, "due again now on enrollments" in first.out) == (0, True)
    assert (second.code, "job is queued, not dead" in second.out) == (1, True)
    assert rows("SELECT state, failures, due_at IS NOT NULL FROM job") == [("queued", 0, True)]
    audit = rows("SELECT action, job_id::text, subject_id::text, requested_by LIKE 'shell:_%' FROM audit")
    assert audit == [("retry", dead_job, dead_job, True)]


def test_a_failed_mail_is_owed_again(call: Call, failed_mail: str) -> None:
    called = call(app, failed_mail)
    assert (called.code, "email was failed: due again now on emails" in called.out) == (0, True)
    assert rows("SELECT state FROM email") == [("owed",)]
    assert rows("SELECT action, job_id, subject_id::text FROM audit") == [("retry", None, failed_mail)]


def test_an_unknown_id_is_told_and_the_others_are_revived(call: Call, dead_job: str) -> None:
    called = call(app, new_id(), dead_job)
    assert called.code == 1
    assert [("unknown" in line, "due again" in line) for line in called.out.splitlines()] == [
        (True, False),
        (False, True),
    ]
    assert rows("SELECT state FROM job") == [("queued",)]


@pytest.mark.parametrize("args", [(), ("pas-un-identifiant",)])
def test_wrong_use_says_how(call: Call, args: tuple[str, ...]) -> None:
    assert call(app, *args).code == 2
