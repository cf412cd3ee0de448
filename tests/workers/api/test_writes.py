"""Each kind of request a portal may send has an address, and becomes the job that the queue would make of it."""

from uuid import UUID

import httpx2
import pytest

from models.words import Scope
from tests.kit.processes.support import rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import keyed, problem
from workers.api.operation import Operation
from workers.api.operations import OPERATIONS
from workers.requests.certificates import DuplicateCertificates
from workers.requests.imports import ImportRoster
from workers.requests.registry import KINDS

IDS = {"enrollment_ids": [str(UUID(int=7))]}


CALLS = [
    ("PUT", "/companies/ACME", {"name": "Acme"}, {"reference": "ACME"}),
    ("PUT", "/trainings/T-1", {"title": "Sécurité"}, {"reference": "T-1"}),
    ("PUT", "/contracts/C-1", {"company": "ACME", "training": "T-1", "planned_seats": 3}, {"reference": "C-1"}),
    ("PUT", "/portal", {"access_url": "https://lms.example/"}, {}),
    ("POST", "/contracts/C-1/withdrawals", IDS, {"contract": "C-1"}),
    ("POST", "/contracts/C-1/password-resets", IDS, {"contract": "C-1"}),
    ("POST", "/contracts/C-1/invitations", IDS, {"contract": "C-1"}),
    ("POST", "/contracts/C-1/certificate-duplicates", IDS, {"contract": "C-1"}),
    (
        "POST",
        "/progress",
        {"events": [{"enrollment_id": str(UUID(int=7)), "progress": "started", "at": "2026-03-01T08:00:00Z"}]},
        {},
    ),
    ("POST", "/password-reset-requests", {"email": "ada@example.fr"}, {}),
    ("POST", "/person-exports", {"email": "ada@example.fr"}, {}),
    ("POST", "/person-erasures", {"email": "ada@example.fr", "reason": "demande"}, {}),
]


@pytest.mark.parametrize(("method", "path", "body", "given"), CALLS, ids=[path for _, path, *_ in CALLS])
def test_a_call_becomes_the_request_that_is_kept(
    api: httpx2.Client, method: str, path: str, body: dict[str, object], given: dict[str, object]
) -> None:
    answer = api.request(method, path, json=body, headers=keyed())
    assert answer.status_code == 202, answer.text
    [(kind, request)] = rows("SELECT kind, request FROM job")
    assert kind == answer.json()["kind"]
    assert request == body | given


def test_every_kind_of_a_portal_has_an_address_and_no_other_kind_has() -> None:
    addressed = {one.body.request.kind for one in OPERATIONS if one.body and one.body.request}
    portals = {kind for kind, request in KINDS.items() if not request.internal}
    assert addressed == portals - {ImportRoster.kind}
    assert DuplicateCertificates.kind in addressed


def test_a_put_needs_no_key_and_each_is_a_job_of_its_own(api: httpx2.Client) -> None:
    first, second = (api.put("/companies/ACME", json={"name": "Acme"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.parametrize("field", ["contract", "c\\u006fntract"])
def test_a_body_may_not_say_what_the_address_says(api: httpx2.Client, field: str) -> None:
    body = f'{{"enrollment_ids": ["{UUID(int=7)}"], "{field}": "C-2"}}'
    answer = api.post("/contracts/C-1/withdrawals", content=body, headers=keyed())
    assert problem(answer, 400, "invalid_request")["errors"] == [
        {"field": "contract", "code": "invalid_request", "detail": "the address gives it"}
    ]


OF_ONE = ["email-correction", "name-correction", "certificate-duplicates", "certificate-revocation"]


@pytest.mark.parametrize("what", OF_ONE)
@pytest.mark.parametrize("enrollment", [str(UUID(int=9)), "nothing", "%00"])
def test_an_enrollment_that_the_portal_has_not_is_not_found(api: httpx2.Client, what: str, enrollment: str) -> None:
    problem(api.post(f"/enrollments/{enrollment}/{what}", json={}, headers=keyed()), 404, "not_found")


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.scope], ids=lambda one: one.name)
def test_a_key_with_every_other_scope_may_not(base_url: str, portal: UUID, operation: Operation) -> None:
    others = {*Scope} - {*operation.scopes}
    path = operation.path.replace("{", "").replace("}", "")
    with client_of(base_url, make_key(portal, others)) as client:
        problem(client.request(operation.method, path, headers=keyed()), 403, "insufficient_scope")


def test_one_key_stands_for_one_request_at_all_addresses(api: httpx2.Client) -> None:
    assert api.post("/contracts/C-1/withdrawals", json=IDS, headers=keyed("k")).status_code == 202
    problem(api.post("/contracts/C-1/invitations", json=IDS, headers=keyed("k")), 409, "idempotency_conflict")


def test_two_portals_may_use_one_key(api: httpx2.Client, base_url: str) -> None:
    with client_of(base_url, make_key(make_portal("other"))) as other:
        jobs = {
            client.post("/contracts/C-1/withdrawals", json=IDS, headers=keyed("k")).json()["id"]
            for client in (api, other)
        }
    assert len(jobs) == 2
