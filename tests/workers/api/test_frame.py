"""Every call is checked in the same way: keys, scopes, problems, bodies, request ids."""

import json
import socket
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from models.words import Scope
from tests.kit.processes.support import rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from workers.database import transaction

ENROLL = "/contracts/C-1/enrollments"
PEOPLE = {"people": [{"email": "ada@example.fr", "first_name": "Ada", "last_name": "Byron"}]}


def keyed(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid4())}


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, object]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, object] = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert str(body["type"]).endswith(f"/v1/docs#{code}")
    assert body["title"]
    return body


def test_an_accepted_request_is_a_job_of_its_portal(api: httpx2.Client, portal: UUID) -> None:
    answer = api.post(ENROLL, json=PEOPLE, headers=keyed("order-1"))
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["state"], job["finished"]) == ("enroll", "queued", False)
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert rows("SELECT portal_id, key FROM idempotency") == [(portal, "order-1")]
    [(request,)] = rows("SELECT request FROM job")
    assert request == {"contract": "C-1", **PEOPLE}
    shown = api.get(answer.headers["location"].removeprefix("/v1"))
    assert shown.json() == job


def test_a_repeat_is_the_same_job_and_says_so(api: httpx2.Client) -> None:
    first = api.post(ENROLL, json=PEOPLE, headers=keyed("order-1"))
    again = api.post(ENROLL, content=json.dumps(PEOPLE, indent=4), headers=keyed('"order-1"'))
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


def test_another_body_under_one_key_is_a_conflict(api: httpx2.Client) -> None:
    api.post(ENROLL, json=PEOPLE, headers=keyed("order-1"))
    problem(api.post("/contracts/C-2/enrollments", json=PEOPLE, headers=keyed("order-1")), 409, "idempotency_conflict")


@pytest.mark.parametrize(
    "sent", [None, "Bearer", "Bearer nothing", "Basic YTpi", "Bearer mtr_aaaaaaaa_" + "a" * 43 + "_00000000"]
)
def test_without_a_key_nothing_is_answered(base_url: str, portal: UUID, sent: str | None) -> None:
    with client_of(base_url, None) as client:
        answer = client.post(ENROLL, json=PEOPLE, headers=keyed() | ({"Authorization": sent} if sent else {}))
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_a_revoked_key_is_refused(base_url: str, portal: UUID) -> None:
    key = make_key(portal)
    with transaction() as session:
        session.connection().exec_driver_sql("UPDATE portal_key SET revoked_at = now()")
    with client_of(base_url, key) as client:
        problem(client.get(f"/jobs/{uuid4()}"), 401, "unauthorized")


def test_a_key_is_used_for_its_scopes_alone(base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, {Scope.READ})) as client:
        problem(client.post(ENROLL, json=PEOPLE, headers=keyed()), 403, "insufficient_scope")
        problem(client.get(f"/jobs/{uuid4()}"), 404, "not_found")


def test_a_job_of_another_portal_is_not_found(api: httpx2.Client, base_url: str) -> None:
    location = api.post(ENROLL, json=PEOPLE, headers=keyed()).headers["location"]
    with client_of(base_url, make_key(make_portal("other"))) as other:
        problem(other.get(location.removeprefix("/v1")), 404, "not_found")


def test_a_key_of_idempotency_is_required(api: httpx2.Client) -> None:
    problem(api.post(ENROLL, json=PEOPLE), 400, "idempotency_key_required")


@pytest.mark.parametrize("key", [b"", b'""', "é".encode(), b"a b", b"a" * 201, b"ops:1", b"inbox:1"])
def test_a_key_that_cannot_be_one_is_refused(api: httpx2.Client, key: bytes) -> None:
    problem(api.post(ENROLL, json=PEOPLE, headers={b"Idempotency-Key": key}), 400, "invalid_request")


def test_two_keys_in_one_call_are_refused(api: httpx2.Client) -> None:
    answer = api.post(ENROLL, json=PEOPLE, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    problem(answer, 400, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"people": []}', b'{"people": "x"}', b"\xff{}"),
        *(b'{"people": [], "unknown": 1}', b"[" * 49_000, b'{"people": ' + b"9" * 5_000 + b"}", b"NaN"),
        json.dumps(PEOPLE | {"contract": "C-2"}).encode(),
    ],
)
def test_a_wrong_body_is_named_and_never_repeated(api: httpx2.Client, body: bytes) -> None:
    body_of_problem = problem(api.post(ENROLL, content=body, headers=keyed()), 400, "invalid_request")
    assert body_of_problem["errors"]
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_wrong_fields_have_codes_and_no_value(api: httpx2.Client) -> None:
    hostile = PEOPLE | {"report_to": "ada<script>@@example.fr", "policy": "drop table"}
    answer = api.post(ENROLL, json=hostile, headers=keyed())
    body = problem(answer, 400, "invalid_request")
    assert [error["field"] for error in body["errors"]] == ["policy", "report_to"]  # type: ignore[attr-defined]
    assert "script" not in answer.text
    assert "drop" not in answer.text


def test_unknown_query_parameters_are_refused(api: httpx2.Client) -> None:
    problem(api.get(f"/jobs/{uuid4()}?verbose=1"), 400, "invalid_request")


def test_unknown_addresses_and_methods(api: httpx2.Client) -> None:
    problem(api.get("/nothing"), 404, "not_found")
    problem(api.get("/jobs/1/2/3"), 404, "not_found")
    answer = api.delete(f"/jobs/{uuid4()}")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_reference_with_a_slash_is_one_segment(api: httpx2.Client) -> None:
    assert api.post("/contracts/C%2F2026%2F7/enrollments", json=PEOPLE, headers=keyed()).status_code == 202
    assert rows("SELECT request ->> 'contract' FROM job") == [("C/2026/7",)]


def test_a_request_id_is_kept_or_made(api: httpx2.Client) -> None:
    kept = api.get(f"/jobs/{uuid4()}", headers={"X-Request-Id": "abc-1.2_3"})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "abc-1.2_3"
    made = api.get(f"/jobs/{uuid4()}", headers={"X-Request-Id": "a b\tc"})
    assert len(made.headers["x-request-id"]) == 32


def test_a_body_over_its_limit_is_refused(api: httpx2.Client) -> None:
    answer = api.post(ENROLL, content=b" " * (1024 * 1024 + 1), headers=keyed())
    problem(answer, 413, "too_large")
    chunks = (b" " * 65_536 for _ in range(17))
    problem(api.post(ENROLL, content=chunks, headers=keyed()), 413, "too_large")


def test_large_answers_are_compressed(api: httpx2.Client) -> None:
    answer = api.post(ENROLL, content=b"[]", headers=keyed() | {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_answers_may_be_kept_by_no_cache(api: httpx2.Client) -> None:
    assert api.get(f"/jobs/{uuid4()}").headers["cache-control"] == "no-store"


def test_a_wait_that_is_over_answers_the_job_as_it_is(api: httpx2.Client) -> None:
    answer = api.post(ENROLL, json=PEOPLE, headers=keyed() | {"Prefer": "respond-async, wait=0.1, wait=0"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


def test_a_portal_at_its_limit_is_told_when_to_come_again(base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(make_portal("busy", requests_per_minute=2))) as client:
        first, second, third = (client.get(f"/jobs/{uuid4()}") for _ in range(3))
        assert first.headers["ratelimit-policy"] == '"portal";q=2;w=60'
        assert second.headers["ratelimit"].startswith('"portal";r=0;t=')
        problem(third, 429, "rate_limited")
        assert 1 <= int(third.headers["retry-after"]) <= 60
    with client_of(base_url, make_key(portal)) as other:
        assert "ratelimit" not in problem_of(other).headers


def problem_of(client: httpx2.Client) -> httpx2.Response:
    answer = client.get(f"/jobs/{uuid4()}")
    problem(answer, 404, "not_found")
    return answer


def test_a_key_of_one_company_asks_for_nothing_of_another(base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, companies=["acme"])) as client:
        problem(client.post(ENROLL, json=PEOPLE, headers=keyed()), 404, "not_found")
        problem(client.put("/companies/other", json={"name": "Other"}), 404, "not_found")
        assert client.put("/companies/acme", json={"name": "Acme"}).status_code == 202


def test_a_call_that_is_refused_before_its_body_is_answered_and_not_reset(base_url: str, portal: UUID) -> None:
    host, port = base_url.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"PUT /v1/portal HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
            answer = connection.recv(65_536)
            connection.sendall(b" " * 300_000)
            while part := connection.recv(65_536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(b'"}')


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("state=hacked", "input should be 'queued', "),
        ("kind=hacked", "'cancel_import', "),
        ("limit=hacked", "input should be a valid integer"),
        ("limit=201", "input should be less than or equal to 200"),
        ("limit=0", "input should be greater than or equal to 1"),
        ("cursor=" + "hacked" * 200, "string should have at most 1000 characters"),
    ],
)
def test_a_wrong_query_parameter_is_told_what_it_may_be(api: httpx2.Client, query: str, hint: str) -> None:
    body = problem(api.get(f"/jobs?{query}"), 400, "invalid_request")
    errors: Any = body["errors"]
    [error] = errors
    assert (error["field"], hint in error["detail"]) == (query.partition("=")[0], True), error
    assert "hacked" not in str(body)


def test_a_parameter_of_very_many_words_leads_to_their_list(api: httpx2.Client) -> None:
    errors = problem(api.get("/jobs/x/people?code=hacked"), 400, "invalid_request")["errors"]
    assert errors == [
        {"field": "code", "code": "invalid_request", "detail": "none of the words that /v1/docs lists for it"}
    ]


@pytest.mark.parametrize(
    ("path", "body", "field", "hint"),
    [
        ("/companies/acme", {"name": "Ac\nmé"}, "name", "a line break"),
        ("/companies/ac%20me", {"name": "Acmé"}, "reference", "a space"),
        ("/person-erasures", {"email": "a@example.com", "reason": "by b@example.com"}, "reason", "or an address"),
    ],
)
def test_an_unsafe_value_is_told_with_what_is_unsafe(
    api: httpx2.Client, path: str, body: dict[str, str], field: str, hint: str
) -> None:
    method = "PUT" if path.startswith("/companies") else "POST"
    errors: Any = problem(api.request(method, path, json=body, headers=keyed()), 400, "invalid_request")["errors"]
    [error] = errors
    assert (error["field"], error["code"]) == (field, "unsafe_value")
    assert hint in error["detail"]
