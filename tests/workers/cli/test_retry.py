"""`matricule retry` gives dead work all its attempts again, once, and records the operator."""

from datetime import timedelta

import pytest

from models.base import new_id
from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call

COMPANY = {"reference": "acme", "name": "Acmé"}


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


@pytest.fixture
def dead_job(call: Call) -> str:
    job_id = str(call("enqueue", "put_company", "--file", "-", stdin=COMPANY).json["id"])
    rows("UPDATE job SET state = 'dead', due_at = NULL, failures = 8, finished_at = now() RETURNING id")
    return job_id


def unsent_mail(state: str, *, due: str | None = None, expires: str = "-1 day") -> str:
    mail_id = new_id()
    rows(
        """INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, state, due_at,
          expires_at)
        VALUES (:id, 'invitation', 'emails', :id, 'k', 'a@exemple.test', 'fr', '<a@b>', now(), :state,
          now() + CAST(:due AS interval), now() + CAST(:expires AS interval)) RETURNING id""",
        id=mail_id,
        state=state,
        due=due,
        expires=expires,
    )
    return str(mail_id)


def test_a_dead_job_is_due_again_and_a_second_time_changes_nothing(call: Call, dead_job: str) -> None:
    first, second = call("retry", dead_job), call("retry", dead_job)
    assert (first.code, "due again now on enrollments" in first.out) == (0, True)
    assert (second.code, "job is queued, which needs no retry" in second.out) == (1, True)
    assert rows("SELECT state, failures, due_at IS NOT NULL FROM job") == [("queued", 0, True)]
    audit = rows("SELECT action, job_id::text, subject_id::text, requested_by LIKE 'shell:_%' FROM audit")
    assert audit == [("retry", dead_job, dead_job, True)]


@pytest.mark.parametrize("state", ["failed", "expired", "uncertain"])
def test_a_mail_that_was_not_sent_is_owed_again_and_has_time_to_be_sent(call: Call, state: str) -> None:
    mail = unsent_mail(state)
    called = call("retry", mail)
    assert (called.code, f"email was {state}: due again now on emails" in called.out) == (0, True)
    assert rows("SELECT state, due_at <= now(), date_trunc('day', expires_at - due_at) FROM email") == [
        ("owed", True, timedelta(days=5))
    ]
    assert rows("SELECT action, job_id, subject_id::text FROM audit") == [("retry", None, mail)]


def test_a_mail_that_had_more_time_keeps_it(call: Call) -> None:
    call("retry", unsent_mail("failed", expires="9 days"))
    assert rows("SELECT expires_at > now() + interval '8 days' FROM email") == [(True,)]


@pytest.mark.parametrize(
    ("state", "due"), [("uncertain", "9 min"), ("owed", "9 min"), ("sent", None), ("cancelled", None)]
)
def test_a_mail_that_is_tried_anyway_or_was_settled_is_left_alone(call: Call, state: str, due: str | None) -> None:
    mail = unsent_mail(state, due=due)
    before = rows("SELECT CAST(e AS text) FROM email e")
    called = call("retry", mail)
    assert (called.code, f"email is {state}, which needs no retry" in called.out) == (1, True)
    assert rows("SELECT CAST(e AS text) FROM email e") == before


def test_a_job_whose_request_is_no_longer_kept_is_left_alone(call: Call, dead_job: str) -> None:
    rows("UPDATE job SET request = NULL RETURNING id")
    before = rows("SELECT CAST(j AS text) FROM job j")
    called = call("retry", dead_job)
    assert (called.code, "job is dead, and what it asked for is no longer kept" in called.out) == (1, True)
    assert rows("SELECT CAST(j AS text) FROM job j") == before
    assert rows("SELECT count(*) FROM audit") == [(0,)]


@pytest.mark.parametrize("change", ["to_address = ''", "finished_at = now() - interval '31 days'"])
def test_a_mail_whose_address_or_words_are_no_longer_kept_is_left_alone(call: Call, change: str) -> None:
    mail = unsent_mail("failed")
    rows(f"UPDATE email SET {change} RETURNING id")
    called = call("retry", mail)
    assert (called.code, "email is failed, and what it asked for is no longer kept" in called.out) == (1, True)
    assert rows("SELECT state FROM email") == [("failed",)]


def test_a_mail_that_failed_lately_is_owed_again(call: Call) -> None:
    mail = unsent_mail("failed")
    rows("UPDATE email SET finished_at = now() - interval '29 days' RETURNING id")
    assert call("retry", mail).code == 0


def test_an_unknown_id_is_told_and_the_others_are_revived(call: Call, dead_job: str) -> None:
    called = call("retry", new_id(), dead_job)
    assert called.code == 1
    assert [("unknown" in line, "due again" in line) for line in called.out.splitlines()] == [
        (True, False),
        (False, True),
    ]
    assert rows("SELECT state FROM job") == [("queued",)]


@pytest.mark.parametrize("args", [(), ("pas-un-identifiant",)])
def test_wrong_use_says_how(call: Call, args: tuple[str, ...]) -> None:
    assert call("retry", *args).code == 2
