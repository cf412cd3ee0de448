"""Contracts and participants over HTTP: counters, pages, searches, and other portals' that are not found."""

from uuid import UUID

import httpx2
import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, enrolled
from tests.workers.api.conftest import client_of, make_key
from tests.workers.api.test_frame import problem
from workers.api.routes import participants
from workers.api.routes.participants import SHAPE
from workers.database import transaction
from workers.engine.rollout import this_release


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes two contracts of `local`, one with three participants."""
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C/2", company="autre")
        enrolled(session, "ada", "bob", "zoe")
    return LOCAL_PORTAL_ID


def test_a_contract_has_the_counters_of_the_guide(api: httpx2.Client) -> None:
    answer = api.get("/contracts/C-1")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["reference"], body["company"], body["training"]) == ("C-1", "acme", "T-1")
    assert (body["planned_seats"], body["enrolled_count"], body["remaining"]) == (10, 3, 7)
    assert not {"id", "version"} & body.keys()


def test_a_contract_that_has_not_changed_is_not_sent_again(api: httpx2.Client) -> None:
    tag = api.get("/contracts/C-1").headers["etag"]
    again = api.get("/contracts/C-1", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "private, no-cache")
    with transaction() as session:
        enrolled(session, "dan")
    assert api.get("/contracts/C-1", headers={"If-None-Match": tag}).json()["enrolled_count"] == 4


def test_lists_follow_their_cursor(api: httpx2.Client) -> None:
    first = api.get("/contracts?limit=1").json()
    second = api.get("/contracts", params={"limit": 1, "cursor": first["next"]}).json()
    assert [one["reference"] for one in first["items"] + second["items"]] == ["C-1", "C/2"]
    assert second["next"] is None
    people = api.get("/contracts/C-1/participants?limit=2")
    following = people.headers["link"].split(">")[0].strip("<").removeprefix("/v1")
    rest = api.get(following).json()
    assert [one["email"] for one in people.json()["items"] + rest["items"]] == [
        "zoe@example.com",
        "bob@example.com",
        "ada@example.com",
    ]


def test_the_link_of_the_next_page_keeps_the_address_as_it_was_sent(api: httpx2.Client) -> None:
    with transaction() as session:
        add_contract(session, "a/b?c#d%25>")
        enrolled(session, "ada", "bob", contract="a/b?c#d%25>")
    first = api.get("/contracts/a%2Fb%3Fc%23d%2525%3E/participants?limit=1")
    rest = api.get(first.links["next"]["url"].removeprefix("/v1")).json()
    assert [one["email"] for one in rest["items"]] == ["ada@example.com"]


def test_a_search_with_signs_of_addresses_follows_its_cursor(api: httpx2.Client) -> None:
    first = api.get("/contracts/C-1/participants", params={"q": "le dû & co", "limit": 1})
    assert first.json() == {"items": [], "next": None}
    first = api.get("/contracts/C-1/participants", params={"q": "le dû", "limit": 2})
    rest = api.get(first.headers["link"].split(">")[0].strip("<").removeprefix("/v1")).json()
    assert len(first.json()["items"]) + len(rest["items"]) == 3


def test_participants_are_counted_by_progress_and_to_act_on(api: httpx2.Client) -> None:
    none, three = {"number": 0, "more": False}, {"number": 3, "more": False}
    counts = {"not_started": three, "in_progress": none, "completed": none, "to_do": none}
    assert api.get("/contracts/C-1/participant-counts").json() == counts
    assert api.get("/contracts/C-1/participants?to_do=true").json() == {"items": [], "next": None}


def test_one_participant_is_as_in_the_list(api: httpx2.Client) -> None:
    listed = api.get("/contracts/C-1/participants?q=bob").json()["items"][0]
    shown = api.get(f"/enrollments/{listed['enrollment_id']}").json()
    assert shown == listed | {"contract": "C-1", "company": "acme"}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "progress=done", "mail=lost", "q=" + "a" * 201, "q=a&q=b"]
)
def test_wrong_parameters_are_named(api: httpx2.Client, query: str) -> None:
    name = query.partition("=")[0]
    body = problem(api.get(f"/contracts/C-1/participants?{query}"), 400, "invalid_request")
    assert [error["field"] for error in body["errors"]] == [name]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path", ["/contracts/C-1", "/contracts/C-1/participants", "/contracts/C-1/participant-counts", "/contracts/none"]
)
def test_contracts_of_other_companies_are_not_found_by_a_limited_key(base_url: str, portal: UUID, path: str) -> None:
    with client_of(base_url, make_key(portal, companies=["autre"])) as client:
        problem(client.get(path), 404, "not_found")
        assert client.get("/contracts/C%2F2/participants").json() == {"items": [], "next": None}
        assert [one["reference"] for one in client.get("/contracts").json()["items"]] == ["C/2"]


def test_the_tag_of_a_contract_is_another_after_an_update(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = api.get("/contracts/C-1").headers["etag"]
    assert (this_release() in SHAPE, "remaining" in SHAPE) == (True, True)
    monkeypatch.setattr(participants, "SHAPE", SHAPE + "more")
    answer = api.get("/contracts/C-1", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.headers["etag"] != tag) == (200, True)
