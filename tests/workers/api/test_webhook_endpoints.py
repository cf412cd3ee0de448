"""Endpoints over HTTP: recorded, tried, read and enabled again by their portal alone."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx2
import pytest

from models.words import Scope
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import problem
from workers.api.schemas import ReplayedWebhooks, ToldWebhook, WebhookEndpoint, WebhookTries

URL = {"url": "https://portal.example/hooks"}
PATH = "/webhook-endpoints/main"


def shown(answer: httpx2.Response, status: int = 200) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    body: dict[str, object] = answer.json()
    WebhookEndpoint.model_validate(body)
    return body


def test_an_endpoint_shows_its_secret_once(api: httpx2.Client) -> None:
    made = shown(api.put(PATH, json=URL), 201)
    assert str(made["secret"]).startswith("whsec_")
    again = shown(api.put(PATH, json=URL | {"events": ["job.finished"]}))
    assert (again["secret"], again["events"], again["enabled"]) == (None, ["job.finished"], True)
    assert shown(api.get(PATH)) == again | {"updated_at": shown(api.get(PATH))["updated_at"]}
    assert api.get("/webhook-endpoints").json() == {"items": [shown(api.get(PATH))], "next": None}


def test_an_endpoint_is_deleted_once(api: httpx2.Client) -> None:
    api.put(PATH, json=URL)
    assert (api.delete(PATH).status_code, api.delete(PATH).status_code) == (204, 404)
    problem(api.get(PATH), 404, "not_found")
    assert rows("SELECT action, requested_by <> '' FROM audit ORDER BY id") == [
        ("put_webhook_endpoint", True),
        ("delete_webhook_endpoint", True),
    ]


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"url": ""}, {"url": "ftp://portal.example"}, {"url": "https://user@portal.example/"}, {"url": 1}),
        *(URL | {"events": []}, URL | {"events": ["x"]}, URL | {"secret": "x"}, {"url": "https://portal.example:99/"}),
        {"url": "https://portal.example/\r\nX: y"},
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused(api: httpx2.Client, body: dict[str, object]) -> None:
    assert problem(api.put(PATH, json=body), 400, "invalid_request")["errors"]
    assert rows("SELECT count(*) FROM webhook_endpoint") == [(0,)]


@pytest.mark.parametrize("reference", ["a%20b", "%0D%0A", "é", "x" * 101])
def test_a_reference_that_cannot_be_one_is_refused(api: httpx2.Client, reference: str) -> None:
    problem(api.put(f"/webhook-endpoints/{reference}", json=URL), 400, "invalid_request")


def test_a_secret_is_rotated_once_however_often_it_is_asked(api: httpx2.Client) -> None:
    first = shown(api.put(PATH, json=URL), 201)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(api.post, f"{PATH}/rotate", json={"secret_version": 1}) for _ in range(4)]
        answers = [shown(one.result()) for one in asked]
    assert {one["secret_version"] for one in answers} == {2}
    [secret] = {one["secret"] for one in answers}
    assert secret != first["secret"]
    assert answers[0]["previous_until"] is not None
    problem(api.post(f"{PATH}/rotate", json={"secret_version": 7}), 400, "invalid_request")
    assert shown(api.post(f"{PATH}/rotate"))["secret_version"] == 3


@pytest.mark.parametrize(("since", "state"), [("all", "owed"), ("now", "failed")])
def test_an_endpoint_is_enabled_with_what_was_held_or_without(api: httpx2.Client, since: str, state: str) -> None:
    api.put(PATH, json=URL)
    change("UPDATE webhook_endpoint SET disabled_at = now(), disabled_reason = 'gone'")
    api.post(f"{PATH}/test")
    assert shown(api.get(PATH))["held"] == 1
    enabled = shown(api.post(f"{PATH}/enable", json={"since": since}))
    assert (enabled["enabled"], enabled["held"]) == (True, 0)
    assert rows("SELECT state FROM webhook") == [(state,)]
    problem(api.post(f"{PATH}/enable", json={}), 400, "invalid_request")


def test_what_was_told_is_listed_try_by_try(api: httpx2.Client) -> None:
    api.put(PATH, json=URL)
    for _ in range(3):
        shown(api.post(f"{PATH}/test"), 202)
    first = api.get(f"{PATH}/deliveries?limit=2").json()
    rest = api.get(f"{PATH}/deliveries", params={"cursor": first["next"], "limit": 2}).json()
    told = [ToldWebhook.model_validate(one) for one in first["items"] + rest["items"]]
    assert [one.sequence for one in told] == [3, 2, 1]
    assert rest["next"] is None
    change(
        "INSERT INTO webhook_attempt (webhook_id, status, milliseconds, answer) SELECT id, 500, 12, 'no' FROM webhook"
    )
    one = WebhookTries.model_validate(api.get(f"{PATH}/deliveries/{told[0].id}").json())
    assert [(at.status, at.milliseconds, at.answer) for at in one.tries] == [(500, 12, "no")]
    assert one.status == 500
    for webhook in (str(uuid4()), "x", "%00"):
        problem(api.get(f"{PATH}/deliveries/{webhook}"), 404, "not_found")


def test_what_was_told_is_told_again(api: httpx2.Client) -> None:
    api.put(PATH, json=URL)
    for _ in range(2):
        api.post(f"{PATH}/test")
    change("UPDATE webhook SET state = 'delivered', finished_at = now(), due_at = NULL")
    [newest, _] = api.get(f"{PATH}/deliveries").json()["items"]
    for body, number in (({"webhook": newest["id"]}, 1), ({"since": "2026-01-01T00:00:00Z"}, 1)):
        answer = api.post(f"{PATH}/replay", json=body)
        assert answer.status_code == 202, answer.text
        assert ReplayedWebhooks.model_validate(answer.json()).number == number
    assert rows("SELECT DISTINCT state FROM webhook") == [("owed",)]
    for wrong in ({}, {"webhook": newest["id"], "since": "2026-01-01T00:00:00Z"}, {"since": "yesterday"}):
        problem(api.post(f"{PATH}/replay", json=wrong), 400, "invalid_request")
    problem(api.post(f"{PATH}/replay", json={"webhook": str(uuid4())}), 404, "not_found")


def test_a_webhook_of_one_endpoint_is_not_another_s(api: httpx2.Client) -> None:
    for reference in ("main", "second"):
        api.put(f"/webhook-endpoints/{reference}", json=URL)
    api.post(f"{PATH}/test")
    [told] = api.get(f"{PATH}/deliveries").json()["items"]
    problem(api.get(f"/webhook-endpoints/second/deliveries/{told['id']}"), 404, "not_found")
    problem(api.post("/webhook-endpoints/second/replay", json={"webhook": told["id"]}), 404, "not_found")


def test_a_key_of_some_companies_has_no_endpoints(api: httpx2.Client, base_url: str, portal: UUID) -> None:
    api.put(PATH, json=URL)
    with client_of(base_url, make_key(portal, {Scope.ADMIN}, companies=["acme"])) as client:
        for method, path in (("GET", ""), ("GET", "/main"), ("DELETE", "/main"), ("GET", "/main/deliveries")):
            problem(client.request(method, f"/webhook-endpoints{path}"), 404, "not_found")
        problem(client.put("/webhook-endpoints/x", json=URL), 404, "not_found")
        for what in ("rotate", "test", "enable", "replay"):
            problem(client.post(f"{PATH}/{what}", json={}), 404, "not_found")
    assert shown(api.get(PATH))["secret_version"] == 1


def test_portals_may_give_one_name_to_endpoints_of_their_own(api: httpx2.Client, base_url: str) -> None:
    mine = shown(api.put(PATH, json=URL), 201)
    with client_of(base_url, make_key(make_portal("other"))) as other:
        problem(other.get(PATH), 404, "not_found")
        theirs = shown(other.put(PATH, json={"url": "https://other.example/"}), 201)
        assert theirs["secret"] != mine["secret"]
    assert shown(api.get(PATH))["url"] == URL["url"]
