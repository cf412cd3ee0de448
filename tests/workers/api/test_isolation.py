"""No portal reaches anything of another: every operation is called with another portal's references.

What is named by an identifier is not found, with 404 and never 403. References of contracts, companies, trainings and
endpoints are each portal's own: under the same reference a portal finds, or makes, its own record. Whatever is
answered, nothing of the other portal changes. A new operation without a row in this table fails.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import httpx2
import pytest

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.accounts import PASSWORD
from tests.kit.builders.certificates import certified, duplicated
from tests.kit.builders.contracts import add_contract, everything
from tests.kit.builders.imports import drop, file_of, work
from tests.kit.processes.support import rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import keyed, problem
from workers.actors import certificates
from workers.actors.registry import do_jobs
from workers.api.operations import OPERATIONS
from workers.database import transaction
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.queues import Queue

EMAIL = "ada@example.com"
PEOPLE = {"people": [{"email": "eve@example.com", "first_name": "Eve", "last_name": "Dû"}]}


class Foreign(NamedTuple):
    """The records of another portal, by their identifiers."""

    account: str
    enrollment: str
    certificate: str
    duplicates: str
    documents: str
    roster: str
    webhook: str


NOT_FOUND: dict[str, Any] = {
    "show_contract": None,
    "list_participants": None,
    "count_participants": None,
    "get_participants_csv": None,
    "show_participant": None,
    "show_selection": {"action": "withdraw", "enrollment_ids": "ENROLLMENT"},
    "show_progress": None,
    "show_certificate": None,
    "show_job": None,
    "list_job_people": None,
    "cancel_job": {},
    "show_import": None,
    "show_import_errors": None,
    "list_roster_rows": None,
    "import_kept_roster": {},
    "show_import_undo": None,
    "cancel_import": {},
    "undo_import": {},
    "get_duplicates_pdf": None,
    "get_duplicates_zip": None,
    "correct_email": {"email": "eve@example.com"},
    "correct_name": {"last_name": "Eve"},
    "duplicate_certificate": {"document": "attestation"},
    "duplicate_own_certificate": {"account_id": str(UUID(int=1)), "document": "attestation"},
    "correct_certificate": {"last_name": "Eve", "reason": "faute"},
    "revoke_certificate": {"reason": "erreur"},
    "show_webhook_endpoint": None,
    "delete_webhook_endpoint": None,
    "rotate_webhook_endpoint": {},
    "enable_webhook_endpoint": {"since": "all"},
    "test_webhook_endpoint": None,
    "replay_webhook_endpoint": {"since": "2026-01-01T00:00:00Z"},
    "list_webhooks": None,
    "show_webhook": None,
}
"""The bodies of operations that find nothing."""

OWN_JOB: dict[str, Any] = {
    "put_company": {"name": "Eve"},
    "put_training": {"title": "Eve"},
    "put_contract": {"company": "eve", "training": "eve", "planned_seats": 1},
    "put_portal": {"access_url": "https://eve.example/"},
    "enroll": PEOPLE,
    "withdraw": {"enrollment_ids": "ENROLLMENT"},
    "reset_passwords": {"enrollment_ids": "ENROLLMENT"},
    "resend_invitations": {"enrollment_ids": "ENROLLMENT"},
    "duplicate_certificates": {"enrollment_ids": "ENROLLMENT", "document": "attestation"},
    "record_progress": {
        "events": [{"enrollment_id": "ENROLLMENT", "progress": "in_progress", "occurred_at": "2026-03-20T08:00:00Z"}]
    },
    "import_roster": file_of("eve"),
    "request_password_reset": {"email": EMAIL},
    "export_person": {"email": EMAIL},
    "erase_person": {"email": EMAIL, "reason": "demande"},
}
"""The bodies of requests that become jobs of the asking portal; none of them does anything to the other."""

OWN_LIST = {"list_contracts", "list_jobs", "list_webhook_endpoints"}
"""Operations that list what the asking portal has: nothing."""

OWN_PART = {"list_account_enrollments"}
"""Operations that list what the asking portal has of a person whom it did not enrol: nothing."""

OWN_RECORD: dict[str, Any] = {"put_webhook_endpoint": {"url": "https://eve.example/"}}
"""Operations that make a record of the asking portal under the reference."""

NO_RECORD = {"get_roster_model_csv", "get_roster_model_xlsx", "openapi", "docs"}
"""Operations that speak of no record."""

OF_PERSONS = {"sign_in"}
"""Operations with a test of their own: a person of another portal is unknown."""


def test_every_operation_is_in_the_table() -> None:
    kinds = [{*NOT_FOUND}, {*OWN_JOB}, OWN_LIST, OWN_PART, {*OWN_RECORD}, NO_RECORD, OF_PERSONS]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert set().union(*kinds) == {one.name for one in OPERATIONS}


@pytest.fixture
def foreign(fresh_database: str, small_chunks: None, running: None) -> Foreign:
    """Makes a participant with a certificate, jobs, an import and an endpoint of the portal `victim`."""
    enrollments = certified("ada", "bob")
    one, two = duplicated(enrollments[0]), duplicated(*enrollments)
    roster = drop(file_of("zoe")).job_id
    work()
    with transaction() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO webhook_endpoint (id, portal_id, reference, url, master_id)"
            f" VALUES (gen_random_uuid(), '{LOCAL_PORTAL_ID}', 'main', 'https://victim.example/', 'm')"
        )
        session.connection().exec_driver_sql(
            "INSERT INTO webhook (id, endpoint_id, portal_id, event, resource, sequence, payload, state, expires_at,"
            " queue, lane) SELECT gen_random_uuid(), id, portal_id, 'webhook.test', 'x', 1, '{}', 'held', now(),"
            " 'webhooks', id FROM webhook_endpoint"
        )
    [(account,)] = rows("SELECT account_id FROM enrollment WHERE id = :id", id=enrollments[0])
    [(certificate,)] = rows("SELECT id FROM certificate WHERE enrollment_id = :id", id=enrollments[0])
    [(webhook,)] = rows("SELECT id FROM webhook")
    return Foreign(str(account), str(enrollments[0]), str(certificate), one["id"], two["id"], str(roster), str(webhook))


@pytest.fixture
def eve(foreign: Foreign, base_url: str) -> Iterator[httpx2.Client]:
    """Opens a client of another portal, with all scopes."""
    with client_of(base_url, make_key(make_portal("eve"))) as client:
        yield client


def address(name: str, foreign: Foreign) -> tuple[str, str]:
    """Returns the method and the address of an operation, with the other portal's references."""
    [operation] = [one for one in OPERATIONS if one.name == name]
    job = foreign.documents if name == "get_duplicates_zip" else foreign.duplicates
    if operation.path.startswith("/rosters") or name == "cancel_job":
        job = foreign.roster
    named = {"contract": "C-1", "company": "acme", "training": "T-1", "ref": "main", "job": job}
    return operation.method, operation.path.format(**foreign._asdict() | named)


def foreign_rows() -> dict[str, list[str]]:
    """Returns every row but those that say when something was used or counted, and jobs of the asking portal."""
    with transaction() as session:
        found = everything(session)
        [eve] = [one for (one,) in rows("SELECT id FROM portal WHERE name = 'eve'")]
    left_out = {"throttle", "portal_key", "process", "outage"}
    return {
        table: [row for row in lines if str(eve) not in row] for table, lines in found.items() if table not in left_out
    }


def called(client: httpx2.Client, name: str, body: Any, foreign: Foreign) -> httpx2.Response:
    method, path = address(name, foreign)
    if isinstance(body, bytes):
        return client.request(method, path, content=body, headers=keyed())
    said = _filled(body, foreign)
    return client.request(method, path, json=said, headers=keyed())


def _filled(body: Any, foreign: Foreign) -> Any:
    """Puts the other portal's enrollment into a body."""
    if not isinstance(body, dict):
        return body
    filled: dict[str, Any] = {
        name: [foreign.enrollment] if value == "ENROLLMENT" else value for name, value in body.items()
    }
    if "events" in filled:
        filled["events"] = [{**one, "enrollment_id": foreign.enrollment} for one in body["events"]]
    return filled


def test_what_belongs_to_another_portal_is_not_found(eve: httpx2.Client, foreign: Foreign) -> None:
    before = foreign_rows()
    for name, body in NOT_FOUND.items():
        problem(called(eve, name, body, foreign), 404, "not_found")
    assert foreign_rows() == before
    assert rows("SELECT count(*) FROM job j JOIN portal p ON p.id = j.portal_id WHERE p.name = 'eve'") == [(0,)]


def test_the_same_calls_find_it_for_its_own_portal(base_url: str, foreign: Foreign) -> None:
    """Shows that the addresses above are right: what is not found there is found by its own portal."""
    with client_of(base_url, make_key(LOCAL_PORTAL_ID)) as own:
        for name, body in NOT_FOUND.items():
            if not name.endswith("webhook_endpoint"):
                assert called(own, name, body, foreign).status_code in (200, 202), name


def test_requests_become_jobs_that_do_nothing_to_another_portal(eve: httpx2.Client, foreign: Foreign) -> None:
    before = foreign_rows()
    for name, body in OWN_JOB.items():
        answer = called(eve, name, body, foreign)
        assert answer.status_code == 202, (name, answer.text)
    for queue in (Queue.ENROLLMENTS, Queue.MAINTENANCE):
        assert BatchRun(JOBS, do_jobs).run(claimed(queue))
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    work()
    after = foreign_rows()
    for table in ("account", "company", "training", "contract", "enrollment", "certificate", "email", "link", "roster"):
        assert after[table] == before[table], table
    told = eve.get("/jobs?limit=200")
    assert EMAIL not in told.text
    states = {one["kind"]: one["state"] for one in told.json()["items"]}
    assert states.keys() == OWN_JOB.keys()
    done = {"put_company", "put_training", "put_portal", "request_password_reset"}
    assert {kind for kind, state in states.items() if state != "refused"} == done


def test_lists_have_nothing_of_another_portal(eve: httpx2.Client, foreign: Foreign) -> None:
    for name in OWN_LIST:
        answer = called(eve, name, None, foreign)
        assert (answer.status_code, answer.json()) == (200, {"items": [], "next": None}), name


def test_a_person_of_another_portal_has_no_training_here(eve: httpx2.Client, foreign: Foreign, base_url: str) -> None:
    for name in OWN_PART:
        answer = called(eve, name, None, foreign)
        assert (answer.status_code, answer.json()) == (200, {"items": []}), name
        with client_of(base_url, make_key(LOCAL_PORTAL_ID, companies=["autre"])) as other:
            assert called(other, name, None, foreign).json() == {"items": []}, name
        with client_of(base_url, make_key(LOCAL_PORTAL_ID)) as own:
            assert called(own, name, None, foreign).json()["items"], name


def test_a_selection_tells_nothing_of_another_portal(eve: httpx2.Client, foreign: Foreign) -> None:
    with transaction() as session:
        add_contract(session, "C-9")
        session.connection().exec_driver_sql(
            "UPDATE contract SET portal_id = (SELECT id FROM portal WHERE name = 'eve') WHERE reference = 'C-9'"
        )
    asked = {"action": "withdraw", "enrollment_ids": [foreign.enrollment]}
    answer = eve.post("/contracts/C-9/selection", json=asked)
    nothing: dict[str, list[str]] = {"enrollment_ids": [], "participants": []}
    told = {"codes": {}, "allowed": nothing, "refused": nothing, "unknown": [foreign.enrollment], "complete": True}
    assert answer.json() == told


def test_a_record_under_the_same_reference_is_one_s_own(eve: httpx2.Client, foreign: Foreign) -> None:
    before = foreign_rows()
    for name, body in OWN_RECORD.items():
        assert called(eve, name, body, foreign).status_code == 201
    assert foreign_rows() == before


def test_a_key_of_another_company_finds_nothing_either(base_url: str, foreign: Foreign) -> None:
    scopes = set(Scope)
    key = make_key(LOCAL_PORTAL_ID, scopes, companies=["autre"])
    with client_of(base_url, key) as client:
        before = rows("SELECT count(*) FROM job")
        for name, body in (NOT_FOUND | OWN_JOB | OWN_RECORD).items():
            if name != "request_password_reset":  # has a test of its own
                problem(called(client, name, body, foreign), 404, "not_found")
        assert rows("SELECT count(*) FROM job") == before
        for name in OWN_LIST - {"list_webhook_endpoints"}:
            assert called(client, name, None, foreign).json() == {"items": [], "next": None}
        answer = client.post("/sign-ins", json={"email": EMAIL, "password": PASSWORD})
        assert answer.json()["code"] == "wrong_credentials"
