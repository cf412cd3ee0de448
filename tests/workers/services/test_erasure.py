"""Erasing a person: nothing tells who they were but what certificates need; everybody else's data stays; once."""

import io
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.retention import Matter
from models.words import Code, EmailState
from tests.accounts import keys, make_link
from tests.committed import claimed, fail_half_way, state_of_things
from tests.contracts import (
    accepted,
    add_contract,
    asking,
    did,
    enrol_people,
    enrolled,
    everything,
    query,
    results,
    seats,
    someone,
)
from tests.support import rows
from workers import ledger
from workers.actors.claimer import BatchRun
from workers.database import Session, transaction
from workers.errors import InvalidRequest, Problem
from workers.ledger import EMAILS, JOBS
from workers.mail.renderer import render
from workers.queues import Queue
from workers.requests import (
    CorrectEmail,
    Enroll,
    ErasePerson,
    ExportPerson,
    RequestPasswordReset,
    ResendInvitations,
    ResetPasswords,
    Withdraw,
    parse,
)
from workers.roster_requests import ImportRoster
from workers.services import erasure, sign_ins
from workers.services.acceptance import accept, record_refusal
from workers.services.jobs import do_jobs, show_job
from workers.services.letters import read_letters
from workers.services.link_views import look_at_link
from workers.services.retention import purge
from workers.services.retry import retry
from workers.services.roster_files import store_file
from workers.services.suppression import list_suppressed, suppress
from workers.services.throttle import address_subjects

ANNE = "anne.lorval@example.com"
REASON = "demande du 3 mars"
WORDS = ("anne.", "anne-", "lorval", "M-0042", "L.-Q")
HOSTILE = "Anne\u0000 <b>\u202e=1+1"


def anne(**more: str) -> Any:
    return someone(ANNE, "Anne-Lise", "Lorval-Quimper", **more)


def erasing(email: str = ANNE) -> ErasePerson:
    return ErasePerson(email=email, reason=REASON, requested_by="dpo-1")


def start(session: Session, contract: str, progress: str) -> None:
    session.execute(
        text("UPDATE enrollment SET progress = CAST(:progress AS text), started_at = '2026-02-03T10:00Z',"
             " completed_at = CASE WHEN CAST(:progress AS text) = 'completed' THEN timestamptz '2026-03-05T12:00Z' END"
             " WHERE contract_id = (SELECT id FROM contract WHERE reference = :contract)"),
        {"progress": progress, "contract": contract},
    )  # fmt: skip


def other_portal(session: Session, contract: str) -> UUID:
    """Another portal, to which this contract belongs."""
    portal = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, :name)"), {"id": portal, "name": str(portal)})
    session.execute(text("UPDATE contract SET portal_id = :id WHERE reference = :contract"),
                    {"id": portal, "contract": contract})  # fmt: skip
    return portal


def did_for(session: Session, portal: UUID, request: ErasePerson | ExportPerson) -> dict[str, Any]:
    """The same as ``did`` for a portal of its own."""
    job = accept(session, portal, request, request.model_dump_json(), key=f"key-{new_id()}").job_id
    found = ledger.claim(session, JOBS, Queue.MAINTENANCE, size=200, lease=30, worker=new_id())
    ledger.finish(session, JOBS, do_jobs(session, found))
    return show_job(session, job) or {}


def traces(session: Session, *words: str) -> dict[str, list[str]]:
    """The rows that still hold one of these words, by table."""
    looked = {
        table: [row for row in found if any(word.lower() in row.lower() for word in words)]
        for table, found in everything(session).items()
    }
    return {table: found for table, found in looked.items() if found}


@pytest.fixture
def known(session: Session) -> Session:
    """Anne on three contracts (not begun, begun, completed) with everything the system may know of her; and Zoé."""
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
    # Zoé is in the same requests, and where she was.
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


def test_mails_owed_are_cancelled_and_of_the_others_kind_date_and_state_stay(known: Session) -> None:
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
    assert [one.unsent for one in read_letters(session, held)] == [EmailState.CANCELLED]


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
    """Else anybody who may have a person erased would lift what was decided about their address."""
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


def test_its_own_request_is_not_kept_whatever_the_answer(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    jobs = [*did(session, erasing()), *did(session, erasing()), *did(session, erasing("nobody@example.com"))]
    assert [job["result"]["code"] for job in jobs] == ["erased", "not_found", "not_found"]
    assert query(session, "SELECT count(*), count(request) FROM job WHERE kind = 'erase_person'") == [(3, 0)]
    # A repeat under the key of the first is still known as one: the ledger keeps a hash.
    accepted(session, erasing(), "one")
    did(session)
    assert accepted(session, erasing(), "one") == UUID(
        str(query(session, "SELECT job_id FROM idempotency WHERE key = 'one'")[0][0])
    )


def test_the_address_is_free_for_a_new_person(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    did(session, erasing())
    assert enrol_people(session, someone(ANNE, "Annie", "Autre")) == ["enrolled"]
    assert query(session, "SELECT first_name FROM account WHERE erased_at IS NULL") == [("Annie",)]
    assert seats(session) == 1
    did(session, erasing())
    assert query(session, "SELECT count(*), count(erased_at), count(DISTINCT email_norm) FROM account") == [(2, 2, 2)]


def test_nobody_acts_on_an_account_that_was_erased(session: Session) -> None:
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


def test_a_reset_asked_for_or_a_sign_in_begun_before_finds_nobody(session: Session) -> None:
    """Both look an address up that was read before: also one of an older marker."""
    add_contract(session)
    enrolled(session, anne())
    session.execute(text("UPDATE account SET activated_at = now(), password_hash = 'h', erased_at = now()"))
    did(session, RequestPasswordReset(email=ANNE))
    did(session)  # what it owes
    assert query(session, "SELECT count(*) FROM email WHERE kind = 'password_reset'") == [(0,)]
    attempt = sign_ins.begin(session, ANNE)
    assert isinstance(attempt, sign_ins.Attempt)
    assert attempt.account_id is None


def test_a_row_that_was_refused_or_is_hostile_is_emptied_and_its_neighbours_stay(session: Session) -> None:
    add_contract(session, seats=1)
    did(session, asking("zoe"))
    refused = asking(someone("ANNE.lorval@Example.com", HOSTILE), someone("xanne.lorval@example.com", HOSTILE, "Reste"))
    did(session, refused)
    did(session, asking(anne(), contract="C-404"))
    add_contract(session, "C-2")
    enrol_people(session, anne(), contract="C-2")
    did(session, erasing())
    assert traces(session, *WORDS).keys() == {"job"}
    [(request,)] = query(session, "SELECT CAST(request AS text) FROM job WHERE CAST(request AS text) LIKE '%xanne%'")
    left = parse("enroll", request)
    assert isinstance(left, Enroll)
    assert [(one.email, one.first_name, one.last_name) for one in left.people] == [
        ("", "", ""),
        ("xanne.lorval@example.com", HOSTILE, "Reste"),
    ]


def test_an_address_that_is_somebody_elses_now_or_was_then_is_left_alone(session: Session) -> None:
    add_contract(session)
    did(session, asking(someone("bob@example.com", "Robert", "Premier")))
    session.execute(text("UPDATE account SET email_norm = 'robert@example.com'"))
    did(session, asking(someone("bob@example.com", "Bob", "Second")))
    did(session, erasing("bob@example.com"))
    assert [row for found in traces(session, "second").values() for row in found] == []
    assert traces(session, "premier").keys() == {"account", "job"}


def test_unfinished_requests_are_left_alone(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    session.execute(text("UPDATE job SET due_at = NULL"))
    later = accepted(session, asking(anne()), "later")
    session.execute(text("UPDATE job SET due_at = now() + interval '1 hour' WHERE id = :id"), {"id": later})
    did(session, erasing())
    assert "lorval" in query(session, "SELECT CAST(request AS text) FROM job WHERE id = :id", id=later)[0][0].lower()


def test_corrections_that_were_typed_are_emptied(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    job = accepted(session, CorrectEmail(enrollment_id=enrollment, email="anne.autre@example.com"), "typed")
    session.execute(text("UPDATE job SET state = 'refused', due_at = NULL, finished_at = now() WHERE id = :id"),
                    {"id": job})  # fmt: skip
    did(session, erasing())
    assert query(session, "SELECT request FROM job WHERE id = :id", id=job) == [(None,)]


def test_a_reset_that_was_asked_for_before_finds_nobody_after(session: Session) -> None:
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


def test_a_dead_request_that_is_retried_refuses_the_emptied_row(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    job = accepted(session, asking(anne(), "yves", policy="valid_rows"), "dead")
    session.execute(
        text("UPDATE job SET state = 'dead', due_at = NULL, finished_at = now() WHERE id = :id"), {"id": job}
    )
    did(session, erasing())
    assert retry(session, job, requested_by="ops").answer == "revived"
    did(session)
    shown = show_job(session, job) or {}
    assert results(shown) == ["missing_email", "enrolled"]


# Reports


def report(session: Session, *people: Any, **options: Any) -> Any:
    did(session, asking(*people, report_to="chef@example.com", **options))
    session.execute(text("UPDATE email SET due_at = NULL WHERE kind <> 'enrollment_report'"))
    did(session, erasing())
    [row] = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    [letter] = read_letters(session, [row])
    return letter


def test_a_report_still_owed_counts_whoever_was_erased_and_does_not_list_them(session: Session) -> None:
    add_contract(session)
    letter = report(session, "zoe", anne(), someone("", "", ""), policy="valid_rows")
    assert letter.unsent is None
    assert [(one["position"], one["code"]) for one in letter.context["people"]] == [
        (1, "enrolled"), (3, "missing_email"),
    ]  # fmt: skip
    assert letter.context["counts"] == {"enrolled": 2, "missing_email": 1}
    mail = render(letter.kind, "fr", letter.context)
    assert "lorval" not in (mail.text + mail.html).lower()
    assert "zoe@example.com" in mail.text


def test_a_report_of_nobody_else_is_sent_with_its_counts(session: Session) -> None:
    add_contract(session)
    letter = report(session, anne())
    assert (letter.unsent, letter.context["people"]) == (None, [])
    mail = render(letter.kind, "fr", letter.context)
    assert "Personne par personne" not in mail.text
    assert "C-1" in mail.text


def test_a_report_of_a_request_no_longer_kept_is_cancelled(session: Session) -> None:
    add_contract(session)
    did(session, asking("zoe", report_to="chef@example.com"))
    session.execute(text("UPDATE job SET request = NULL"))
    found = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    assert sorted(str(one.unsent) for one in read_letters(session, found)) == ["None", "cancelled"]
    session.execute(text("DELETE FROM job"))
    assert sorted(str(one.unsent) for one in read_letters(session, found)) == ["None", "cancelled"]


# Whose it is


def test_a_portal_may_have_its_own_people_erased_and_nobody_else(session: Session) -> None:
    for reference in ("C-1", "C-2"):
        add_contract(session, reference)
        enrol_people(session, anne(), contract=reference)
    enrol_people(session, "zoe")
    portal = other_portal(session, "C-2")
    before = everything(session)
    assert did_for(session, portal, erasing())["result"]["code"] == "shared_account"
    assert did_for(session, portal, erasing("zoe@example.com"))["result"]["code"] == "not_found"
    assert did_for(session, portal, erasing("nobody@example.com"))["result"]["code"] == "not_found"
    after = everything(session)
    assert {table for table in after if after[table] != before[table]} == {"job", "idempotency", "audit"}
    tried = "SELECT result, account_id IS NULL FROM audit WHERE action = 'erase_person' AND portal_id = :p ORDER BY id"
    assert query(session, tried, p=portal) == [("shared_account", False), ("not_found", False), ("not_found", True)]
    did(session, Withdraw(contract="C-1", enrollment_ids=[
        query(session, "SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a"
                       " ON a.id = e.account_id WHERE reference = 'C-1' AND email_norm = :email", email=ANNE)[0][0]
    ]))  # fmt: skip
    assert did_for(session, portal, erasing())["result"]["code"] == "shared_account"  # theirs to keep or to ask for
    session.execute(text("UPDATE enrollment SET detached_at = now() WHERE withdrawn_at IS NOT NULL"))
    assert did_for(session, portal, erasing())["result"]["code"] == "shared_account"
    assert did_for(session, LOCAL_PORTAL_ID, erasing())["result"]["code"] == "erased"


def test_a_portal_has_those_erased_whom_no_other_ever_enrolled(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    assert did_for(session, other_portal(session, "C-1"), erasing())["result"]["code"] == "erased"


def test_a_portal_cannot_erase_somebody_who_belongs_to_nobody(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment]))
    add_contract(session, "C-2")
    portal = other_portal(session, "C-2")
    assert did_for(session, portal, erasing())["result"]["code"] == "not_found"
    # Nor somebody who said that they are not this company's.
    session.execute(text("UPDATE contract SET portal_id = :portal"), {"portal": portal})
    session.execute(text("UPDATE enrollment SET detached_at = now()"))
    assert did_for(session, portal, erasing())["result"]["code"] == "not_found"
    assert did_for(session, LOCAL_PORTAL_ID, erasing())["result"]["code"] == "erased"


# Once, whatever happens


def commit_anne() -> None:
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C-2")
        did(session, asking(anne(), "zoe"), asking(anne(), contract="C-2"))
        start(session, "C-2", "completed")
        accepted(session, erasing(), "one")


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    commit_anne()
    taken = claimed(Queue.MAINTENANCE)
    assert BatchRun(JOBS, do_jobs).run(taken)
    before = state_of_things()
    assert BatchRun(JOBS, do_jobs).run(taken)
    assert state_of_things() == before
    with transaction() as session:
        assert accepted(session, erasing(), "one") == taken[0].id
        [job] = did(session, erasing(), key="another")
    assert (job["state"], job["result"]["code"]) == ("refused", "not_found")
    after = state_of_things()
    assert {name for name in after if after[name] != before[name]} == {"job", "idempotency", "audit"}
    assert rows("SELECT result FROM audit WHERE action = 'erase_person' ORDER BY id") == [("done",), ("not_found",)]


@pytest.mark.parametrize("step", ["_leave", "_forget", "_blank_requests", "forget_failures", "record"])
def test_an_erasure_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    commit_anne()
    fail_half_way(monkeypatch, erasure, step, Queue.MAINTENANCE)
    assert rows("SELECT CAST(request AS text) LIKE '%lorval%' FROM job WHERE kind = 'erase_person'") == [(True,)]
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    assert rows("SELECT state, failures, request IS NULL FROM job WHERE kind = 'erase_person'") == [
        ("succeeded", 1, True)
    ]
    assert rows("SELECT count(*) FROM certificate_holder") == [(1,)]
    state_of_things()


def test_what_an_erasure_left_ends_by_itself(fresh_database: str) -> None:
    commit_anne()
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    with transaction() as session:
        session.execute(text("UPDATE certificate_holder SET kept_until = now() - interval '1 second'"))
        assert purge(session)[Matter.HOLDER] == 1
        assert traces(session, "lorval") == {}


def test_a_message_that_was_refused_and_names_the_person_is_emptied(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    hers = b'\xff\x00{"people": [{"email": "ANNE.Lorval@example.com", "first_name": "Anne", "locale": 5}]}'
    for message in (hers, b'\xff{"people": [{"email": "zoe@example.com", "locale": 5}]}'):
        problem = InvalidRequest(Problem(Code.INVALID_REQUEST, "people.0.locale"))
        record_refusal(session, message, problem, content=message, owner=None, kind="enroll")
    [job] = did(session, erasing())
    assert job["result"]["counts"]["messages"] == 1
    kept = query(session, "SELECT message IS NULL, error ->> 'code' FROM job WHERE state = 'refused' ORDER BY id")
    assert kept == [(True, "invalid_request"), (False, "invalid_request")]


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_an_accented_domain_is_found_as_it_was_typed(session: Session, ensure_ascii: bool) -> None:
    typed = "anne@école.example"
    add_contract(session)
    enrol_people(session, someone(typed, "Anne", "Lorval"))
    did(session, asking(someone("Anne@ÉCOLE.example", "Anne", "Lorval"), "zoe", contract="C-404"))
    bad = json.dumps({"people": [{"email": typed, "locale": 5}]}, ensure_ascii=ensure_ascii).encode()
    problem = InvalidRequest(Problem(Code.INVALID_REQUEST, "people.0.locale"))
    record_refusal(session, bad, problem, content=bad, owner=None, kind="enroll")
    [job] = did(session, erasing("anne@xn--cole-9oa.example"))
    assert (job["state"], job["result"]["counts"]["messages"]) == ("succeeded", 1)
    assert traces(session, *WORDS) == {}
    assert query(session, "SELECT count(*) FROM job WHERE lower(CAST(request AS text)) LIKE '%zoe@%'") == [(1,)]


def test_json_of_a_blanked_request_is_what_was_sent_but_for_the_row(session: Session) -> None:
    add_contract(session)
    request = asking(anne(external_id="7"), "zoe", requested_by="u-7", notify=False)
    did(session, request)
    did(session, erasing())
    [(body,)] = query(session, "SELECT request FROM job WHERE kind = 'enroll'")
    sent = json.loads(request.model_dump_json(exclude_unset=True))
    assert body == sent | {"people": [{"email": "", "first_name": "", "last_name": ""}, sent["people"][1]]}


def test_stored_files_that_name_the_person_go_unless_an_import_still_needs_them(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    contents = (b"Anne", b"nobody", b"Anne, later")
    file, other, going = [store_file(session, LOCAL_PORTAL_ID, io.BytesIO(content)) for content in contents]
    for sha256, finished, names_her in ((file, True, True), (other, True, False), (going, False, True)):
        job_id = accepted(session, ImportRoster(contract="C-1", file=sha256, file_name="x"), sha256)
        session.execute(
            text("INSERT INTO roster (job_id, portal_id, fingerprint, sha256, file_name)"
                 " SELECT id, portal_id, '', :f, 'x' FROM job WHERE id = :job"),
            {"job": job_id, "f": bytes.fromhex(sha256)},
        )  # fmt: skip
        session.execute(
            text("UPDATE job SET due_at = NULL, finished_at = CASE WHEN :f THEN now() END WHERE id = :job"),
            {"job": job_id, "f": finished},
        )
        if names_her:
            session.execute(
                text("INSERT INTO job_person (job_id, position, code, account_id, enrollment_id) SELECT :job, 0,"
                     " 'already_enrolled', account_id, id FROM enrollment WHERE id = :e"),
                {"job": job_id, "e": enrollment},
            )  # fmt: skip
    [job] = did(session, erasing())
    assert job["result"]["counts"]["files"] == 1
    left = query(session, "SELECT encode(sha256, 'hex') FROM roster_file ORDER BY 1")
    assert left == [(one,) for one in sorted((other, going))]
    assert query(session, "SELECT count(*) FROM roster_part") == [(2,)]
