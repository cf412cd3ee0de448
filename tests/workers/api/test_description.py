"""The description of the API: every operation, its answers as they are, and a page that loads nothing."""

import json
import re
from typing import Any
from uuid import UUID

import httpx2
import pytest
from jsonschema_rs import Draft202012Validator

from models.words import Scope
from tests.kit.builders.contracts import add_contract, enrolled
from tests.workers.api.conftest import client_of, make_key
from tests.workers.api.test_frame import keyed
from workers.api.examples import ENROLLMENT, EXAMPLES
from workers.api.operations import OPERATIONS
from workers.api.problems import STATUS
from workers.api.submitting import body_of
from workers.database import transaction
from workers.requests.registry import KINDS, parse


@pytest.fixture
def description(base_url: str) -> Any:
    """Fetches the description, without a key."""
    with client_of(base_url, None) as client:
        answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def test_every_operation_is_described_with_its_scope(description: Any) -> None:
    described = {(path, method) for path, of in description["paths"].items() for method in of}
    assert described == {(one.path, one.method.lower()) for one in OPERATIONS}
    for one in OPERATIONS:
        shown = description["paths"][one.path][one.method.lower()]
        assert shown.get("x-scope") == one.scope
        assert shown.get("x-scopes-instead", []) == sorted(one.instead)
        assert shown["summary"]
        assert shown["security"] == ([{"key": []}] if one.scope else [])


def test_every_reference_leads_somewhere(description: Any) -> None:
    for reference in set(re.findall(r'"#/components/(\w+)/([\w.-]+)"', str(description).replace("'", '"'))):
        part, name = reference
        assert name in description["components"][part], reference


def test_every_kind_has_an_example_that_is_read(description: Any) -> None:
    for one in OPERATIONS:
        if one.body and one.body.request and one.name == one.body.request.kind:
            given = dict.fromkeys(one.body.given, ENROLLMENT)
            request = parse(one.name, json.dumps({**EXAMPLES[one.name], **given}))
            elements = [element for name in request.refused_alone for element in getattr(request, name)]
            assert not [element for element in elements if type(element).__name__.startswith("Refused")]
    assert EXAMPLES.keys() <= KINDS.keys()
    assert body_of(KINDS["enroll"]).request is KINDS["enroll"]


def validator(description: Any, schema: Any) -> Draft202012Validator:
    return Draft202012Validator({"components": description["components"], **schema})


def shape_of(description: Any, path: str, method: str, status: int) -> Draft202012Validator:
    answer = description["paths"][path][method]["responses"][str(status)]
    if "$ref" in answer:
        answer = description["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    [content] = answer["content"].values()
    return validator(description, content["schema"])


def test_answers_have_the_shapes_that_are_described(api: httpx2.Client, portal: UUID, description: Any) -> None:
    with transaction() as session:
        session.connection().exec_driver_sql("UPDATE contract SET portal_id = portal_id")
        add_contract(session)
        [enrollment, *_] = enrolled(session, "ada", "bob")
        session.connection().exec_driver_sql(f"UPDATE contract SET portal_id = '{portal}'")
    people = {"people": [{"email": "zoe@example.com", "first_name": "Zoé", "last_name": "Dû"}]}
    job = api.post("/contracts/C-1/enrollments", json=people, headers=keyed())
    asked = {
        ("/contracts", "get"): api.get("/contracts"),
        ("/contracts/{contract}", "get"): api.get("/contracts/C-1"),
        ("/contracts/{contract}/participants", "get"): api.get("/contracts/C-1/participants"),
        ("/enrollments/{enrollment}", "get"): api.get(f"/enrollments/{enrollment}"),
        ("/contracts/{contract}/enrollments", "post"): job,
        ("/jobs/{job}", "get"): api.get(f"/jobs/{job.json()['id']}"),
        ("/contracts/{contract}/withdrawals", "post"): api.post("/contracts/C-1/withdrawals", json={}, headers=keyed()),
    }
    for (path, method), answer in asked.items():
        shape_of(description, path, method, answer.status_code).validate(answer.json())
    assert asked["/contracts/{contract}/participants", "get"].json()["items"]


def test_every_problem_has_its_place_on_the_page(base_url: str) -> None:
    with client_of(base_url, None) as client:
        answer = client.get("/docs")
    page = answer.text
    assert all(f'id="{code}"' in page for code in STATUS)
    assert all(f'id="{one.name}"' in page for one in OPERATIONS)
    assert not re.search(r"(src|href)=[\"'](https?:)?//", page)
    assert "<script" not in page
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_examples_of_the_page_are_accepted(api: httpx2.Client, description: Any) -> None:
    for path, of in description["paths"].items():
        for method, one in of.items():
            body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            if body is not None and "{enrollment}" not in path and "{job}" not in path:
                address = re.sub(r"\{\w+\}", "X-1", path)
                answer = api.request(method, address, json=body, headers=keyed())
                assert answer.status_code == 202, (address, answer.text)


def test_a_key_is_needed_for_everything_but_the_description(base_url: str, portal: UUID) -> None:
    assert [one.name for one in OPERATIONS if one.scope is None] == ["openapi", "docs"]
    assert make_key(portal, {Scope.READ})
