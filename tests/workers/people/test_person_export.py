"""The export of a person is valid JSON: all data for `local`, and only its own data for another portal."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import (
    all_rows,
    claimed,
    done_twice,
    fail_half_way,
)
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    did,
    enrol_people,
    enrolled,
    everything,
    query,
    someone,
)
from tests.kit.processes.support import rows
from workers.access import sign_ins
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.people import export as person_export
from workers.reading.jobs import show_job
from workers.requests.accounts import ExportPerson, RequestPasswordReset, ResetPasswords
from workers.requests.enrollment import Withdraw
from workers.requests.queues import Queue
from workers.requests.registry import parse

ANNE = "anne.lorval@example.com"
HOSTILE = ["Anne\u0000", "</script>\u2028\u202e", '"}],', "\ud83d", "😀" * 50, "\x1b[31m", "=1+1"]


def exported(session: Session, email: str = ANNE, portal: UUID = LOCAL_PORTAL_ID) -> dict[str, Any]:
    """Returns the content of the export of a person."""
    request = ExportPerson(email=email, requested_by="dpo-1")
    job = accept(session, portal, request, request.model_dump_json(), key=f"key-{new_id()}").job_id
    found = ledger.claim(session, JOBS, Queue.MAINTENANCE, size=200, lease=30, worker=new_id())
    ledger.finish(session, JOBS, do_jobs(session, found))
    return show_job(session, job) or {}


def person(session: Session, **options: Any) -> dict[str, Any]:
    shown = exported(session, **options)
    assert (shown["state"], shown["result"]["code"]) == ("succeeded", "exported")
    json.loads(json.dumps(shown))
    return dict(shown["result"]["person"])


def other_portal(session: Session, contract: str) -> UUID:
    portal = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, :name)"), {"id": portal, "name": str(portal)})
    session.execute(text("UPDATE contract SET portal_id = :id WHERE reference = :contract"),
                    {"id": portal, "contract": contract})  # fmt: skip
    session.execute(text("UPDATE job SET portal_id = :id WHERE CAST(request AS text) LIKE :said"),
                    {"id": portal, "said": f'%"{contract}"%'})  # fmt: skip
    return portal


@pytest.fixture
def known(session: Session) -> Session:
    """Creates Anne on two contracts, with other people in the same requests."""
    for reference in ("C-1", "C-2"):
        add_contract(session, reference)
        did(session, asking("zoe", someone(ANNE, "Anne", "Lorval", external_id=f"M-{reference}"), contract=reference))
    [(account, enrollment)] = query(session, "SELECT a.id, e.id FROM account a JOIN enrollment e ON e.account_id = a.id"
                                             " JOIN contract c ON c.id = e.contract_id WHERE email_norm = :email"
                                             " AND reference = 'C-1'", email=ANNE)  # fmt: skip
    session.execute(text("UPDATE account SET password_hash = 'argon', activated_at = now() WHERE id = :id"),
                    {"id": account})  # fmt: skip
    session.execute(text("UPDATE enrollment SET progress = 'completed', completed_at = '2026-03-05T12:00Z',"
                         " score = 87.5, time_spent_seconds = 3600 WHERE id = :id"), {"id": enrollment})  # fmt: skip
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment], requested_by="u-7"))
    did(session, RequestPasswordReset(email=ANNE))
    did(session, asking(someone(f" {ANNE.upper()}", "Typed", "Otherwise"), contract="C-404"))
    session.execute(text("""
        INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, ended_at) VALUES
        (:id, :account, :portal, :id, 'anne.ancienne@example.com', :email, 'applied', now())"""),
        {"id": new_id(), "portal": LOCAL_PORTAL_ID, "account": account, "email": ANNE})  # fmt: skip
    session.execute(text("INSERT INTO suppression (email_norm, reason) VALUES (:email, 'ops')"), {"email": ANNE})
    sign_ins.begin(session, ANNE)
    return session


def test_all_data_of_the_person_and_none_of_others(known: Session) -> None:
    found = person(known)
    assert set(found) == {
        "account", "enrollments", "certificates", "mails", "corrections", "name_corrections", "files", "audit",
        "results", "typed", "links", "suppression", "sign_in_failures", "throttles",
    }  # fmt: skip
    account = found["account"]
    assert (account["address"], account["first_name"], account["last_name"]) == (ANNE, "Anne", "Lorval")
    assert "argon" not in json.dumps(found)
    assert "zoe" not in json.dumps(found)
    assert [(one["contract"], one["external_id"], one["progress"], one["score"]) for one in found["enrollments"]] == [
        ("C-1", "M-C-1", "completed", 87.5),
        ("C-2", "M-C-2", "not_started", None),
    ]
    assert (found["enrollments"][0]["company"], found["enrollments"][0]["training"]) == ("Acmé", "Sécurité")
    assert {(one["kind"], one["address"], one["state"]) for one in found["mails"]} == {
        ("invitation", ANNE, "owed"), ("attachment", ANNE, "owed"), ("password_reset", ANNE, "owed"),
    }  # fmt: skip
    assert [one["purpose"] for one in found["links"]] == ["activation", "password_reset"]
    assert [(one["old_email"], one["state"]) for one in found["corrections"]] == [
        ("anne.ancienne@example.com", "applied")
    ]
    assert [one["address"] for one in found["suppression"]] == [ANNE]
    assert [one["failures"] for one in found["sign_in_failures"]] == [1, 1]
    assert {one["scope"] for one in found["throttles"]} == {
        "password_reset:account", "password_reset:address", "password_reset_request:address",
    }  # fmt: skip
    assert {(one["requested_by"], one["action"]) for one in found["audit"]} == {
        ("u-7", "reset_passwords"), ("", "request_password_reset"),
    }  # fmt: skip
    assert [(one["kind"], one["code"]) for one in found["results"]] == [
        ("enroll", "enrolled"), ("enroll", "attached"), ("reset_passwords", "sent"),
    ]  # fmt: skip


def test_the_rows_as_they_were_typed_also_of_what_was_refused(known: Session) -> None:
    typed = person(known)["typed"]
    assert [one.get("row", one.get("request", {})).get("email") for one in typed] == [
        ANNE, ANNE, ANNE, f" {ANNE.upper()}", ANNE,
    ]  # fmt: skip
    assert [one["row"]["last_name"] for one in typed if "row" in one] == ["Lorval", "Lorval", "Otherwise"]
    assert [one["position"] for one in typed if "row" in one] == [1, 1, 0]
    assert [one["kind"] for one in typed] == ["enroll", "enroll", "request_password_reset", "enroll", "export_person"]


def test_it_is_audited_and_changes_nothing_else(known: Session) -> None:
    before = everything(known)
    job = exported(known)
    after = everything(known)
    assert {table for table in after if after[table] != before[table]} == {"job", "job_address", "idempotency", "audit"}
    [(account,)] = query(known, "SELECT id FROM account WHERE email_norm = :email", email=ANNE)
    assert query(known, "SELECT requested_by, account_id, CAST(job_id AS text), detail FROM audit"
                        " WHERE action = 'export_person'") == [("dpo-1", account, job["id"], None)]  # fmt: skip


@pytest.mark.parametrize("email", ["nobody@example.com", "anne.ancienne@example.com"])
def test_an_unknown_address_is_not_found(known: Session, email: str) -> None:
    shown = exported(known, email)
    assert (shown["state"], shown["result"]) == ("refused", {"code": "not_found", "field": "email", "people": []})
    trail = "SELECT requested_by, result, account_id, detail FROM audit WHERE action = 'export_person'"
    assert query(known, trail) == [("dpo-1", "not_found", None, None)]


def test_a_portal_is_told_what_concerns_its_own_companies(known: Session) -> None:
    portal = other_portal(known, "C-2")
    found = person(known, portal=portal)
    assert found["account"]["first_name"] is None
    assert [one["contract"] for one in found["enrollments"]] == ["C-2"]
    assert [one["kind"] for one in found["mails"]] == ["attachment"]
    assert (found["corrections"], found["audit"]) == ([], [])
    assert [one["code"] for one in found["results"]] == ["attached"]
    assert [one["kind"] for one in found["typed"]] == ["enroll", "export_person"]
    assert not found.keys() & {"links", "suppression", "sign_in_failures", "throttles"}
    assert "C-1" not in json.dumps(found)


def test_a_portal_is_not_told_what_another_typed(session: Session) -> None:
    """Otherwise a portal could add a row with the address, withdraw it at once, and read the name."""
    add_contract(session, "C-1")
    enrol_people(session, someone(ANNE, "Véritable", "Nomsecret", locale="en"))
    add_contract(session, "C-2", company="evil")
    [enrollment] = enrolled(session, someone(ANNE, "x", "y"), contract="C-2", notify=False)
    did(session, Withdraw(contract="C-2", enrollment_ids=[enrollment], notify=False))
    evil = other_portal(session, "C-2")
    found = person(session, portal=evil)
    names = ("address", "first_name", "last_name", "locale", "created_at")
    assert {name: found["account"][name] for name in names} == {
        "address": ANNE, "first_name": None, "last_name": None, "locale": None, "created_at": None,
    }  # fmt: skip
    assert "secret" not in json.dumps(found)
    first = other_portal(session, "C-1")
    account = person(session, portal=first)["account"]
    assert (account["first_name"], account["last_name"], account["locale"]) == ("Véritable", "Nomsecret", "en")


def test_a_portal_with_no_enrollment_of_the_person_is_told_nothing(known: Session) -> None:
    add_contract(known, "C-3")
    enrol_people(known, "yves", contract="C-3")
    portal = other_portal(known, "C-3")
    assert exported(known, portal=portal)["result"]["code"] == "not_found"
    [(account,)] = query(known, "SELECT id FROM account WHERE email_norm = :email", email=ANNE)
    trail = "SELECT result, account_id FROM audit WHERE action = 'export_person' AND portal_id = :portal"
    assert query(known, trail, portal=portal) == [("not_found", account)]  # trying addresses leaves a record
    # Also not a portal of a company that the person has denied.
    known.execute(text("UPDATE contract SET portal_id = :portal"), {"portal": portal})
    known.execute(text("UPDATE enrollment SET detached_at = now()"))
    assert exported(known, portal=portal)["result"]["code"] == "not_found"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_valid_json(session: Session, name: str) -> None:
    add_contract(session)
    enrol_people(session, someone(ANNE, "Anne", "Lorval"))
    body = json.dumps({"contract": "C-1", "policy": "valid_rows", "people": [
        {"email": ANNE, "first_name": name, "last_name": name}, {"email": "x", "first_name": name, "last_name": name},
    ]})  # fmt: skip
    accept(session, LOCAL_PORTAL_ID, parse("enroll", body), body, key="hostile")
    typed = person(session)["typed"]
    assert [one["row"]["last_name"] for one in typed if "row" in one] == [name]
    [(stored,)] = query(session, "SELECT CAST(result AS text) FROM job WHERE kind = 'export_person'")
    assert stored.isascii()
    json.loads(stored)


def test_people_of_a_large_request_are_found_by_their_own_row(session: Session) -> None:
    add_contract(session, seats=300)
    [*_, anne] = enrolled(session, "zoe", someone(ANNE, "Anne", "Lorval"))
    did(session, asking(*[f"p{number}" for number in range(200)], someone(ANNE, "Anne", "Encore"), contract="C-1"))
    found = person(session)
    assert [one["id"] for one in found["enrollments"]] == [str(anne)]
    assert [(one["position"], one["row"]["last_name"]) for one in found["typed"] if "row" in one] == [(200, "Encore")]
    assert [(one["position"], one["code"]) for one in found["results"]] == [(200, "already_enrolled")]


# Done once, also after a crash


def commit_anne() -> None:
    with transaction() as session:
        add_contract(session)
        did(session, asking(someone(ANNE, "Anne", "Lorval"), "zoe"))
        accepted(session, ExportPerson(email=ANNE), "one")


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    commit_anne()
    taken = claimed(Queue.MAINTENANCE)
    done_twice(taken)
    assert rows("SELECT count(*) FROM audit WHERE action = 'export_person'") == [(1,)]


@pytest.mark.parametrize("step", ["read_person", "find_traces", "record"])
def test_an_export_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    commit_anne()
    fail_half_way(monkeypatch, person_export, step, Queue.MAINTENANCE)
    assert rows("SELECT result FROM job WHERE kind = 'export_person'") == [(None,)]
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    assert rows(
        "SELECT state, failures, CAST(result AS text) LIKE '%Lorval%' FROM job WHERE kind = 'export_person'"
    ) == [("succeeded", 1, True)]
    all_rows()
