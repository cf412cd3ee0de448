"""Retention times: a row stays until just before its time and is gone just after it; unfinished rows stay."""

from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest
from sqlalchemy import text

from models.retention import RETENTION, RetentionClass
from tests.kit.builders.accounts import make_account
from tests.kit.builders.contracts import (
    add_contract,
    enrolled,
    everything,
    query,
)
from tests.kit.builders.rows_by_age import (
    ERROR,
    action,
    at_age,
    audit,
    correction,
    duplicates_file,
    holder,
    id_of,
    inbox_file,
    job,
    job_with_people,
    link,
    mail,
    name_correction,
    ops_session,
    queue_pause,
    roster,
    roster_address,
    roster_file,
    roster_upload,
    webhook,
    webhook_attempt,
)
from workers.database import Session
from workers.people.retention import STATEMENTS, purge

MARGIN: Final = timedelta(minutes=5)


class Case(NamedTuple):
    """One line of the table.

    Parameters:
      make: creates a row that ended at a moment.
      left: a query of the row while it is kept, and when it ended.
    """

    matter: RetentionClass
    make: Any
    query: str
    before: Any
    after: Any


GONE: Final[list[Any]] = []

CASES: Final = [
    Case(RetentionClass.REQUEST, job, "SELECT request IS NULL, result IS NULL FROM job",
         [(False, False)], [(True, False)]),
    Case(RetentionClass.REQUEST, lambda s, at: job(s, at, request=None, message=b"?", state="refused"),
         "SELECT message IS NULL FROM job", [(False,)], [(True,)]),
    Case(RetentionClass.DEAD_REQUEST, lambda s, at: job(s, at, state="dead"), "SELECT request IS NULL FROM job",
         [(False,)], [(True,)]),
    Case(RetentionClass.EXPORT, lambda s, at: job(s, at, kind="export_person"),
         "SELECT result IS NULL, request IS NULL FROM job", [(False, False)], [(True, False)]),
    Case(RetentionClass.JOB, job, "SELECT 1 FROM job", [(1,)], GONE),
    Case(RetentionClass.PEOPLE, job_with_people, "SELECT 1 FROM job_person", [(1,)], GONE),
    Case(RetentionClass.JOB, job_with_people, "SELECT 1 FROM job", [(1,)], GONE),
    Case(RetentionClass.MAIL_WORDS, mail,
         "SELECT context IS NULL, result IS NULL, to_address, CAST(error AS text) FROM email",
         [(False, False, "a@example.com", ERROR)],
         [(True, True, "a@example.com", '{"class" : "failed", "reason" : "recipient_refused"}')]),
    Case(RetentionClass.MAIL_ADDRESS, mail, "SELECT to_address FROM email", [("a@example.com",)], [("",)]),
    Case(RetentionClass.MAIL, mail, "SELECT 1 FROM email", [(1,)], GONE),
    *(Case(RetentionClass.LINK, lambda s, at, how=how: link(s, at, how), "SELECT 1 FROM link", [(1,)], GONE)
      for how in ("used", "voided", "expired")),
    Case(RetentionClass.CORRECTION, correction, "SELECT old_email, new_email, state FROM email_correction",
         [("a@a.test", "b@a.test", "applied")], [("", "", "applied")]),
    Case(RetentionClass.NAME_CORRECTION, name_correction,
         "SELECT old_first_name, old_last_name, new_first_name, new_last_name, state FROM name_correction",
         [("Ana", "Dû", "Anna", "Dû", "applied")], [("", "", "", "", "applied")]),
    Case(RetentionClass.ROSTER_UPLOAD, roster_upload, "SELECT 1 FROM roster_part", [(1,)], GONE),
    Case(RetentionClass.ROSTER_FILE, roster_file, "SELECT 1 FROM roster_part", [(1,)], GONE),
    Case(RetentionClass.ROSTER_NAME, roster, "SELECT file_name, reading IS NULL FROM roster",
         [("équipe.csv", False)], [("", True)]),
    Case(RetentionClass.ROSTER, roster, "SELECT 1 FROM roster", [(1,)], GONE),
    Case(RetentionClass.ROSTER_ADDRESS, roster_address, "SELECT 1 FROM roster_address", [(1,)], GONE),
    Case(RetentionClass.INBOX_FILE, inbox_file, "SELECT 1 FROM inbox_file", [(1,)], GONE),
    *(Case(RetentionClass.ROUTINE, lambda s, at, kind=kind: job(s, at, kind=kind), "SELECT 1 FROM job", [(1,)], GONE)
      for kind in ("scan_inboxes", "purge", "reconcile_seats")),
    *(Case(RetentionClass.DUPLICATES_FILE, lambda s, at, kind=kind: duplicates_file(s, at, kind),
           "SELECT 1 FROM certificate_file", [(1,)], GONE) for kind in ("pdf", "zip")),
    *(Case(RetentionClass.WEBHOOK, lambda s, at, state=state: webhook(s, at, state),
           "SELECT 1 FROM webhook", [(1,)], GONE) for state in ("delivered", "failed")),
    Case(RetentionClass.HELD_WEBHOOK, lambda s, at: webhook(s, at, "held"), "SELECT 1 FROM webhook", [(1,)], GONE),
    Case(RetentionClass.WEBHOOK_ATTEMPT, webhook_attempt, "SELECT 1 FROM webhook_attempt", [(1,)], GONE),
    Case(RetentionClass.QUEUE_PAUSE, queue_pause, "SELECT 1 FROM queue_pause", [(1,)], GONE),
    Case(RetentionClass.SHOWN_ROW, lambda s, at: action(s, at, "shown"), "SELECT 1 FROM ops_action_row", [(1,)], GONE),
    Case(RetentionClass.SHOWN_ACTION, lambda s, at: action(s, at, "shown"), "SELECT 1 FROM ops_action", [(1,)], GONE),
    Case(RetentionClass.ACTION_ROW, action, "SELECT 1 FROM ops_action_row", [(1,)], GONE),
    Case(RetentionClass.ACTION, action, "SELECT 1 FROM ops_action", [(1,)], GONE),
    Case(RetentionClass.OPS_SESSION, ops_session, "SELECT 1 FROM ops_session", [(1,)], GONE),
    Case(RetentionClass.AUDIT, audit, "SELECT 1 FROM audit", [(1,)], GONE),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.matter)
def test_just_before_its_time_it_is_kept_and_just_after_it_is_not(session: Session, case: Case) -> None:
    [(keeps,)] = query(session, "SELECT now() - (now() - CAST(:keeps AS interval))", keeps=RETENTION[case.matter].keeps)
    point = session.begin_nested()
    case.make(session, at_age(session, keeps - MARGIN))
    changed = purge(session)
    assert query(session, case.query) == case.before
    assert changed[case.matter] == 0
    point.rollback()
    case.make(session, at_age(session, keeps + MARGIN))
    assert purge(session)[case.matter] == 1
    assert query(session, case.query) == case.after
    again = everything(session)
    assert set(purge(session).values()) == {0}
    assert everything(session) == again


@pytest.mark.parametrize(("age", "left"), [(-MARGIN, [(1,)]), (MARGIN, GONE)])
def test_names_on_certificates_are_kept_until_the_day_written_beside_them(
    session: Session, age: timedelta, left: list[Any]
) -> None:
    holder(session, at_age(session, age))
    purge(session)
    assert query(session, "SELECT 1 FROM certificate_holder") == left


def test_unfinished_rows_of_any_age_stay(session: Session) -> None:
    moment = at_age(session, timedelta(days=4_000))
    job(session, moment, state="queued", ended=False)
    job(session, moment, state="queued", ended=False, unserved=True)
    job(session, moment, state="running", ended=False)
    job(session, moment, state="queued", ended=False, kind="export_person")
    for state in ("owed", "uncertain", "sending"):
        mail(session, moment, state=state, ended=False)
    webhook(session, moment, "owed")
    correction(session, moment, "pending")
    name_correction(session, moment, "pending")
    roster_file(session, moment)
    action(session, moment, "running")
    roster(session, moment, done=False)
    open_job = job(session, moment, state="queued", ended=False)
    session.execute(text("INSERT INTO job_person (job_id, position, code) VALUES (:id, 0, 'x')"), {"id": open_job})
    session.execute(text("INSERT INTO roster_address (job_id, address) VALUES (:id, :id)"), {"id": open_job})
    account = make_account(session)
    session.execute(text("INSERT INTO link (id, purpose, account_id, key_id, expires_at) VALUES"
                         " (:id, 'activation', :account, 'test', now() - interval '1 day')"),
                    {"id": id_of(moment), "account": account})  # fmt: skip
    before = everything(session)
    assert set(purge(session).values()) == {0}
    assert everything(session) == before


def test_people_and_their_trainings_are_no_matter_of_time(session: Session) -> None:
    add_contract(session)
    enrolled(session, "a", "b")
    before = everything(session)
    assert set(purge(session).values()) == {0}
    assert everything(session) == before


def test_what_a_deleted_endpoint_was_told_goes_at_the_next_purge(session: Session) -> None:
    webhook(session, at_age(session, timedelta(0)), "owed", orphan=True)
    webhook(session, at_age(session, timedelta(0)), "owed")
    assert purge(session)[RetentionClass.WEBHOOK] == 1
    assert query(session, "SELECT count(*) FROM webhook JOIN webhook_endpoint e ON e.id = endpoint_id") == [(1,)]


def test_a_young_audit_entry_ends_the_search_and_old_ones_behind_it_wait(session: Session) -> None:
    old = at_age(session, timedelta(days=3_000))
    for moment in (old, old, at_age(session, timedelta(0)), old):
        audit(session, moment)
    assert purge(session)[RetentionClass.AUDIT] == 2


def test_every_matter_has_its_statement() -> None:
    assert set(STATEMENTS) == set(RETENTION)
