"""Erasing a person removes all identifying data but that of certificates; data of other people stays."""

import json

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import EmailState
from tests.kit.builders.accounts import keys, make_link
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    did,
    enrol_people,
    enrolled,
    query,
    results,
    seats,
    someone,
)
from tests.kit.builders.erasure import (
    ANNE,
    REASON,
    WORDS,
    anne,
    did_for,
    erasing,
    other_portal,
    start,
    traces,
)
from workers.access import sign_ins
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.errors import InvalidRequest
from workers.mail.letters.writing import write_letters
from workers.outbox.suppression import list_suppressed, suppress
from workers.reading.jobs import show_job
from workers.requests.accounts import (
    ExportPerson,
    RequestPasswordReset,
    ResendInvitations,
    ResetPasswords,
)
from workers.requests.queues import Queue
from workers.requests.registry import parse
from workers.security.link_views import look_at_link
from workers.security.throttles import address_subjects


@pytest.fixture
def known(session: Session) -> Session:
    """Creates Anne on three contracts (not started, started, completed) with every kind of data about her; and Zoé."""
    for reference in ("C-1", "C-2", "C-3"):
        add_contract(session, reference, company=f"acme-{reference}")
        did(session, asking(anne(external_id="M-0042"), "zoe", contract=reference))
    start(session, "C-2", "in_progress")
    start(session, "C-3", "completed")
    did(session, asking(anne(), contract="C-1"))
    did(session, asking(someone(" ANNE.Lorval@example.com ", "A.", "L.-Q."), "zoe", contract="C-404"))
    did(session, RequestPasswordReset(email=ANNE), RequestPasswordReset(email="zoe@example.com"))
    [(account,)] = query(session, "SELECT id FROM account WHERE email_norm = :email", email=ANNE)
    session.execute(
        text("UPDATE account SET password_hash = 'h', activated_at = now() WHERE id = :id"), {"id": account}
    )
    session.execute(text("UPDATE enrollment SET next_reminder_at = now() WHERE account_id = :id"), {"id": account})
    session.execute(text("""
        INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, ended_at) VALUES
        (:id, :account, :id, :id, 'anne.ancienne@example.com', :email, 'applied', now()),
        (:id2, :account, :id, :id, :email, 'anne.future@example.com', 'pending', NULL)"""),
        {"id": new_id(), "id2": new_id(), "account": account, "email": ANNE})  # fmt: skip
    session.execute(text("INSERT INTO suppression (email_norm, reason) VALUES (:email, 'hard_bounce'),"
                         " ('zoe@example.com', 'ops')"), {"email": ANNE})  # fmt: skip
    session.execute(text("UPDATE email SET error = '{\"class\": \"failed\", \"reason\": \"mailbox_full\", \"message\":"
                         " \"anne.lorval@example.com is full\"}', result = '{\"answer\": \"anne.lorval@example.com\"}',"
                         " state = 'failed', due_at = NULL, finished_at = now() WHERE account_id = :id"
                         " AND contract_id = (SELECT id FROM contract WHERE reference = 'C-2')"),
                    {"id": account})  # fmt: skip
    session.execute(text("INSERT INTO job_attempt (ledger, row_id, claim, outcome, error)"
                         " SELECT 'email', id, 1, 'retry', CAST('{\"message\": \"anne.lorval@example.com\"}' AS json)"
                         " FROM email WHERE account_id = :id"), {"id": account})  # fmt: skip
    did(session, ExportPerson(email=ANNE))
    sign_ins.begin(session, ANNE)
    return session


def test_nothing_tells_any_more_who_it_was_but_what_a_certificate_needs(known: Session) -> None:
    zoe = traces(known, "zoe@example.com")
    [(account, locale, version)] = query(
        known, "SELECT id, locale, credential_version FROM account WHERE email_norm = :email", email=ANNE
    )
    subjects = [account, *address_subjects([ANNE]).values()]
    [job] = did(known, erasing())
    assert (job["state"], job["result"]["code"]) == ("succeeded", "erased")
    assert job["result"]["counts"] == {
        "enrollments": 3, "seats": 1, "certificates": 1, "mails": 3, "mails_cancelled": 2, "corrections": 2, "files": 0,
        "requests": 7, "messages": 0,
    }  # fmt: skip
    left = traces(known, *WORDS)
    assert {table: len(found) for table, found in left.items()} == {"certificate_holder": 1}
    [(marker, *left_of_it)] = query(
        known,
        "SELECT email_norm, first_name, last_name, locale, password_hash, credential_version, erased_at IS NOT NULL"
        " FROM account WHERE id = :id",
        id=account,
    )
    assert left_of_it == ["", "", locale, None, version + 1, True]
    assert (marker.endswith("@erased.invalid"), str(account) in marker) == (True, False)
    assert query(known, "SELECT h.first_name, h.last_name FROM certificate_holder h JOIN enrollment e"
                        " ON e.id = h.enrollment_id WHERE e.progress = 'completed'"
                        " AND kept_until = '2033-01-01T00:00+01:00'") == [("Anne-Lise", "Lorval-Quimper")]  # fmt: skip
    for table in ("throttle", "sign_in"):
        assert query(known, f"SELECT 1 FROM {table} WHERE subject = ANY(CAST(:ids AS uuid[]))", ids=subjects) == []
    assert query(known, "SELECT count(*) FROM link WHERE account_id = :id AND consumed_at IS NULL"
                        " AND voided_at IS NULL", id=account) == [(0,)]  # fmt: skip
    # Zoé is in the same requests and unchanged.
    now = traces(known, "zoe@example.com")
    assert {table: len(found) for table, found in now.items()} == {table: len(found) for table, found in zoe.items()}
    assert query(known, "SELECT count(*) FROM suppression") == [(1,)]


def test_names_the_law_no_longer_wants_are_not_kept(known: Session) -> None:
    known.execute(text("UPDATE enrollment SET completed_at = now() - interval '8 years' WHERE progress = 'completed'"))
    [job] = did(known, erasing())
    assert job["result"]["counts"]["certificates"] == 0
    assert traces(known, *WORDS) == {}


def test_seats_of_what_was_not_begun_come_back_and_others_stay_used(known: Session) -> None:
    did(known, erasing())
    assert [seats(known, contract) for contract in ("C-1", "C-2", "C-3")] == [1, 2, 2]
    assert query(known, "SELECT c.reference, e.withdrawn_at IS NOT NULL, e.progress, e.external_id, e.next_reminder_at"
                        " FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a"
                        " ON a.id = e.account_id AND a.erased_at IS NOT NULL ORDER BY 1") == [
        ("C-1", True, "not_started", None, None),
        ("C-2", False, "in_progress", None, None),
        ("C-3", False, "completed", None, None),
    ]  # fmt: skip


def test_owed_mails_are_cancelled_and_sent_ones_keep_kind_date_state(known: Session) -> None:
    [(account,)] = query(known, "SELECT id FROM account WHERE email_norm = :email", email=ANNE)
    held = query(known, "SELECT id FROM email WHERE account_id = :id AND state = 'owed' LIMIT 1", id=account)[0][0]
    known.execute(text("UPDATE email SET state = 'sending', leased_until = now() + interval '1 minute' WHERE id = :id"),
                  {"id": held})  # fmt: skip
    did(known, erasing())
    assert query(known, "SELECT state, count(*), count(finished_at), count(due_at) FROM email WHERE account_id = :id"
                        " GROUP BY state ORDER BY state", id=account) == [
        ("cancelled", 1, 1, 0), ("failed", 1, 1, 0), ("sending", 1, 0, 1),
    ]  # fmt: skip
    assert query(known, "SELECT DISTINCT to_address, context IS NULL, result IS NULL FROM email WHERE account_id = :id",
                 id=account) == [("", True, True)]  # fmt: skip
    assert query(known, "SELECT CAST(error AS text) FROM email WHERE account_id = :id AND error IS NOT NULL",
                 id=account) == [('{"class" : "failed", "reason" : "mailbox_full"}',)]  # fmt: skip
    assert query(known, "SELECT count(*), count(error) FROM job_attempt") == [(3, 0)]


def test_a_mailer_that_holds_a_mail_does_not_send_it(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, anne())
    enrol_people(session, anne(), contract="C-2")
    start(session, "C-2", "in_progress")
    session.execute(text("UPDATE email SET state = 'sent', due_at = NULL WHERE kind = 'invitation'"))
    held = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    assert len(held) == 1
    did(session, erasing())
    assert [one.unsent for one in write_letters(session, held)] == [EmailState.CANCELLED]


def test_links_end_and_sessions_too(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    [(account,)] = query(session, "SELECT id FROM account")
    session.execute(text("UPDATE link SET voided_at = now()"))
    _, token = make_link(session, account)
    assert not isinstance(look_at_link(session, keys(), token), str)
    did(session, erasing())
    assert look_at_link(session, keys(), token) == "invalid_link"
    assert query(session, "SELECT credential_version, password_hash FROM account") == [(2, None)]


@pytest.mark.parametrize("portal", [True, False])
def test_an_address_ops_listed_stays_listed(session: Session, portal: bool) -> None:
    """Otherwise a request to erase a person would lift a decision of the operators."""
    add_contract(session)
    enrol_people(session, anne())
    suppress(session, ANNE, why="complaint", requested_by="ops")
    asker = other_portal(session, "C-1") if portal else LOCAL_PORTAL_ID
    assert did_for(session, asker, erasing())["result"]["code"] == "erased"
    assert [(one.email, one.reason) for one in list_suppressed(session)] == [(ANNE, "ops")]
    add_contract(session, "C-2")
    assert enrol_people(session, anne(), contract="C-2") == ["suppressed_address"]


def test_audited_with_the_reason_and_what_it_changed(known: Session) -> None:
    [(account,)] = query(known, "SELECT id FROM account WHERE email_norm = :email", email=ANNE)
    before = query(known, "SELECT count(*) FROM audit")[0][0]
    [job] = did(known, erasing())
    assert query(known, "SELECT count(*) FROM audit") == [(before + 1,)]
    [(who, whose, job_id, detail)] = query(
        known, "SELECT requested_by, account_id, job_id, detail FROM audit WHERE action = 'erase_person'"
    )
    assert (who, whose, str(job_id)) == ("dpo-1", account, job["id"])
    assert detail == {"reason": REASON, **job["result"]["counts"]}


def test_the_address_is_free_for_a_new_person(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    did(session, erasing())
    assert enrol_people(session, someone(ANNE, "Annie", "Autre")) == ["enrolled"]
    assert query(session, "SELECT first_name FROM account WHERE erased_at IS NULL") == [("Annie",)]
    assert seats(session) == 1
    did(session, erasing())
    assert query(session, "SELECT count(*), count(erased_at), count(DISTINCT email_norm) FROM account") == [(2, 2, 2)]


def test_no_request_acts_on_an_erased_account(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    session.execute(text("UPDATE account SET activated_at = now()"))
    start(session, "C-1", "in_progress")
    did(session, erasing())
    [(marker,)] = query(session, "SELECT email_norm FROM account")
    assert enrol_people(session, someone(marker)) == ["invalid_email"]
    for request in (ResetPasswords, ResendInvitations):
        [job] = did(session, request(contract="C-1", enrollment_ids=[enrollment]))
        assert results(job) == ["not_found"]
    assert query(session, "SELECT count(*) FROM email WHERE due_at IS NOT NULL") == [(0,)]
    for kind in ("request_password_reset", "export_person", "correct_email"):
        with pytest.raises(InvalidRequest, match="invalid_email"):
            parse(kind, json.dumps({"email": marker, "enrollment_id": str(enrollment)}))


def test_a_reset_or_a_sign_in_begun_before_finds_no_account(session: Session) -> None:
    """Both search for an address read earlier, also one from an older marker."""
    add_contract(session)
    enrolled(session, anne())
    session.execute(text("UPDATE account SET activated_at = now(), password_hash = 'h', erased_at = now()"))
    did(session, RequestPasswordReset(email=ANNE))
    did(session)  # the work that follows
    assert query(session, "SELECT count(*) FROM email WHERE kind = 'password_reset'") == [(0,)]
    attempt = sign_ins.begin(session, ANNE)
    assert isinstance(attempt, sign_ins.SignInAttempt)
    assert attempt.account_id is None


def test_a_reset_requested_before_finds_no_account_after(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    did(session, RequestPasswordReset(email=ANNE))
    [(follow_up,)] = query(session, "SELECT id FROM job WHERE kind = 'send_password_reset' AND finished_at IS NULL")
    session.execute(text("UPDATE job SET due_at = now() + interval '1 hour' WHERE id = :id"), {"id": follow_up})
    did(session, erasing())
    session.execute(text("UPDATE job SET due_at = now() WHERE id = :id"), {"id": follow_up})
    did(session)
    assert (show_job(session, follow_up) or {})["state"] == "succeeded"
    assert query(session, "SELECT count(*) FROM email WHERE due_at IS NOT NULL") == [(0,)]
