"""Selections and the trainings of a person over HTTP: bodies that are wrong, and what a portal reads."""

from uuid import UUID

import httpx2
import pytest

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key
from tests.workers.api.test_frame import problem
from workers.database import transaction


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes two contracts of `local` for two companies; Ada is on both."""
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C-2", company="autre")
        enrolled(session, "ada", "bob")
        enrolled(session, "ada", contract="C-2")
    return LOCAL_PORTAL_ID


def test_a_filter_is_judged_for_an_action(api: httpx2.Client) -> None:
    change("UPDATE enrollment SET progress = 'completed', completed_at = now() WHERE words LIKE '%bob%'")
    answer = api.post("/contracts/C-1/selection", json={"action": "withdraw", "limit": 0})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["codes"], body["complete"]) == ({"withdrawn": 1, "already_started": 1}, True)
    assert len(body["allowed"]["enrollment_ids"]) == 1
    assert body["allowed"]["participants"] == body["refused"]["participants"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "eat"}, "action"),
        ({"action": "reset", "enrollment_ids": ["x"]}, "enrollment_ids.0"),
        ({"action": "reset", "enrollment_ids": ["0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77"] * 10_001}, "enrollment_ids"),
        ({"action": "reset", "limit": 201}, "limit"),
        ({"action": "reset", "allowed_from": -1}, "allowed_from"),
        ({"action": "reset", "x": 1}, "x"),
    ],
)
def test_a_wrong_body_is_named(api: httpx2.Client, body: dict[str, object], field: str) -> None:
    told = problem(api.post("/contracts/C-1/selection", json=body), 400, "invalid_request")
    assert [error["field"] for error in told["errors"]] == [field]  # type: ignore[attr-defined]


def test_it_reads_only_and_needs_no_more_than_reading(base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, {Scope.READ})) as client:
        assert client.post("/contracts/C-1/selection", json={"action": "withdraw"}).status_code == 200
    with client_of(base_url, make_key(portal, {Scope.ENROLL})) as client:
        problem(client.post("/contracts/C-1/selection", json={"action": "withdraw"}), 403, "insufficient_scope")


def test_a_person_has_the_trainings_that_the_key_may_see(api: httpx2.Client, base_url: str, portal: UUID) -> None:
    [(account,)] = rows("SELECT id FROM account WHERE email_norm = 'ada@example.com'")
    items = api.get(f"/accounts/{account}/enrollments").json()["items"]
    assert [(one["contract"], one["progress"]) for one in items] == [("C-2", "not_started"), ("C-1", "not_started")]
    assert items[0]["training_title"] == "Sécurité"
    with client_of(base_url, make_key(portal, companies=["acme"])) as client:
        limited = client.get(f"/accounts/{account}/enrollments").json()["items"]
    assert [one["contract"] for one in limited] == ["C-1"]


def test_trainings_that_a_person_left_are_not_theirs_any_more(api: httpx2.Client) -> None:
    [(account,)] = rows("SELECT id FROM account WHERE email_norm = 'bob@example.com'")
    change("UPDATE enrollment SET detached_at = now() WHERE words LIKE '%bob%'")
    assert api.get(f"/accounts/{account}/enrollments").json() == {"items": []}
    problem(api.get("/accounts/x/enrollments"), 404, "not_found")
