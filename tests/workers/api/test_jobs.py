"""Jobs over HTTP: listed, shown in a small answer, their people page by page; and what can be stopped."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import httpx2
import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, Scope
from tests.kit.builders.contracts import accepted, add_contract, asking, did
from tests.kit.builders.imports import drop, file_of
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import keyed, problem
from workers.database import transaction
from workers.engine.results import PersonResult, insert_people
from workers.reading import visible_jobs
from workers.requests.accounts import ExportPerson
from workers.requests.registry import parse


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes two contracts of `local`, of two companies."""
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C/2", company="autre")
    return LOCAL_PORTAL_ID


def enrolling(*people: str, contract: str = "C-1") -> str:
    """Does a request to enrol people; returns its job."""
    with transaction() as session:
        return str(did(session, asking(*people, contract=contract))[0]["id"])


def large_job(codes: Sequence[Code]) -> UUID:
    """Records a job with a result of these codes."""
    with transaction() as session:
        job_id = accepted(session, asking("ada"), key=str(new_id()))
        insert_people(
            session,
            [(job_id, PersonResult(place, code, None, new_id(), new_id())) for place, code in enumerate(codes)],
        )
    return job_id


def test_jobs_are_listed_the_latest_first(api: httpx2.Client) -> None:
    made = [enrolling(name) for name in ("ada", "bob", "zoe")]
    first = api.get("/jobs?limit=2")
    assert [one["id"] for one in first.json()["items"]] == [made[2], made[1]]
    rest = api.get(first.headers["link"].split(">")[0].strip("<").removeprefix("/v1")).json()
    assert [one["id"] for one in rest["items"]] == [made[0]]
    assert rest["next"] is None
    shown = api.get(f"/jobs/{made[0]}").json()
    assert rest["items"][0].items() <= shown.items()
    assert "result" not in rest["items"][0]


def test_jobs_are_found_by_kind_and_state(api: httpx2.Client) -> None:
    done = enrolling("ada")
    with transaction() as session:
        waiting = str(accepted(session, ExportPerson(email="ada@example.com")))
    for query, found in [
        ("kind=enroll", [done]),
        ("kind=export_person", [waiting]),
        ("state=queued", [waiting]),
        ("state=succeeded&kind=enroll", [done]),
        ("state=dead", []),
    ]:
        assert [one["id"] for one in api.get(f"/jobs?{query}").json()["items"]] == found


@pytest.mark.parametrize(
    "query",
    ["kind=purge", "kind=x", "state=x", "limit=0", "cursor=x", "cursor=" + "g" * 32, "cursor=%00", "contract=C-1"],
)
def test_a_wrong_question_about_jobs_is_refused(api: httpx2.Client, query: str) -> None:
    problem(api.get(f"/jobs?{query}"), 400, "invalid_request")


def test_jobs_of_matricule_itself_are_shown_to_no_portal(api: httpx2.Client) -> None:
    job = enrolling("ada")
    change("UPDATE job SET kind = 'purge'")
    assert api.get("/jobs").json() == {"items": [], "next": None}
    problem(api.get(f"/jobs/{job}"), 404, "not_found")
    problem(api.get(f"/jobs/{job}/people"), 404, "not_found")


def test_a_message_that_could_not_be_read_is_a_job_too(api: httpx2.Client) -> None:
    job = enrolling("ada")
    change("UPDATE job SET kind = 'unknown', state = 'refused', request = NULL")
    assert api.get(f"/jobs/{job}").json()["state"] == "refused"
    assert [one["kind"] for one in api.get("/jobs").json()["items"]] == ["unknown"]


def test_a_large_job_is_shown_with_its_first_people(api: httpx2.Client) -> None:
    job = large_job([Code.ENROLLED] * 450)
    shown = api.get(f"/jobs/{job}")
    result = shown.json()["result"]
    assert [one["position"] for one in result["people"]] == list(range(200))
    page = api.get(f"/jobs/{job}/people", params={"cursor": result["people_next"], "limit": 200}).json()
    assert [one["position"] for one in page["items"]] == list(range(200, 400))
    last = api.get(f"/jobs/{job}/people", params={"cursor": page["next"], "limit": 200}).json()
    assert [one["position"] for one in last["items"]] == list(range(400, 450))
    assert last["next"] is None
    assert len(shown.content) < 60_000


def test_a_small_job_says_of_no_further_people(api: httpx2.Client) -> None:
    job = large_job([Code.ENROLLED] * 200)
    assert "people_next" not in api.get(f"/jobs/{job}").json()["result"]


def test_people_of_a_job_are_found_by_their_result(api: httpx2.Client) -> None:
    codes = [Code.ENROLLED] * 2_500
    codes[3] = codes[2_400] = Code.INVALID_EMAIL
    job = large_job(codes)
    found: list[int] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = api.get(f"/jobs/{job}/people", params={"code": "invalid_email", "cursor": cursor}).json()
        found += [one["position"] for one in page["items"]]
        cursor = page["next"]
    assert found == [3, 2_400]


def test_the_person_of_a_job_of_one_is_on_its_page(api: httpx2.Client) -> None:
    job = enrolling("ada")
    page = api.get(f"/jobs/{job}/people").json()
    assert page == {"items": api.get(f"/jobs/{job}").json()["result"]["people"], "next": None}
    assert [one["code"] for one in page["items"]] == ["enrolled"]
    assert api.get(f"/jobs/{job}/people?code=attached").json()["items"] == []


def test_a_key_of_one_company_sees_the_jobs_of_that_company(base_url: str, portal: UUID) -> None:
    own, other = enrolling("ada", contract="C/2"), enrolling("bob")
    with transaction() as session:
        export = accepted(session, ExportPerson(email="ada@example.com"))
    with client_of(base_url, make_key(portal, {Scope.READ, Scope.ENROLL}, companies=["autre"])) as client:
        assert [one["id"] for one in client.get("/jobs").json()["items"]] == [own]
        assert client.get(f"/jobs/{own}").status_code == 200
        for job in (other, export):
            problem(client.get(f"/jobs/{job}"), 404, "not_found")
            problem(client.get(f"/jobs/{job}/people"), 404, "not_found")
            problem(client.post(f"/jobs/{job}/cancel", headers=keyed()), 404, "not_found")


def test_a_page_reads_few_large_requests_to_see_who_may_see_them(base_url: str, portal: UUID) -> None:
    rosters = [asking(*(uuid4().hex for _ in range(4_000))) for _ in range(4)]
    with transaction() as session:
        made = [str(accepted(session, request, key=str(new_id()))) for request in rosters]
    with client_of(base_url, make_key(portal, companies=["acme"])) as limited:
        pages = [limited.get("/jobs").json()]
        while following := pages[-1]["next"]:
            pages.append(limited.get("/jobs", params={"cursor": following}).json())
    assert len(pages) > 1
    assert [job["id"] for page in pages for job in page["items"]] == made[::-1]


def test_an_export_is_read_with_the_right_to_ask_for_it(api: httpx2.Client, base_url: str, portal: UUID) -> None:
    enrolling("ada")
    with transaction() as session:
        job = did(session, ExportPerson(email="ada@example.com"))[0]["id"]
    assert api.get(f"/jobs/{job}").json()["result"]["person"]["account"]["address"] == "ada@example.com"
    with client_of(base_url, make_key(portal, {Scope.READ})) as reader:
        shown = reader.get(f"/jobs/{job}")
    assert shown.json()["result"] == {"code": "exported", "people": []}
    assert "ada" not in shown.text


def test_the_jobs_of_other_portals_are_not_listed(api: httpx2.Client, base_url: str) -> None:
    job = enrolling("ada")
    with client_of(base_url, make_key(make_portal("other"))) as other:
        assert other.get("/jobs").json() == {"items": [], "next": None}
        problem(other.get(f"/jobs/{job}/people"), 404, "not_found")
        problem(other.post(f"/jobs/{job}/cancel", headers=keyed()), 404, "not_found")


def test_an_import_is_stopped_by_a_job_of_its_own(api: httpx2.Client) -> None:
    job_id = drop(file_of("ada")).job_id
    answer = api.post(f"/jobs/{job_id}/cancel", headers=keyed("stop"))
    assert answer.status_code == 202, answer.text
    assert (answer.json()["kind"], answer.json()["id"] != str(job_id)) == ("cancel_import", True)
    again = api.post(f"/jobs/{job_id}/cancel", json={}, headers=keyed("stop"))
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (answer.json()["id"], "true")
    assert rows("SELECT request ->> 'job' FROM job WHERE kind = 'cancel_import'") == [(str(job_id),)]


def test_other_jobs_cannot_be_stopped(api: httpx2.Client) -> None:
    problem(api.post(f"/jobs/{enrolling('ada')}/cancel", headers=keyed()), 409, "not_cancellable")
    problem(api.post(f"/jobs/{uuid4()}/cancel", headers=keyed()), 404, "not_found")
    problem(api.post("/jobs/%00/cancel", headers=keyed()), 404, "not_found")


def kinds_seen(base_url: str, portal: UUID, *scopes: Scope) -> set[str]:
    with client_of(base_url, make_key(portal, scopes)) as client:
        return {one["kind"] for one in client.get("/jobs").json()["items"]}


def test_a_key_follows_the_jobs_that_its_scopes_may_ask_for(api: httpx2.Client, base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, [Scope.ENROLL])) as enrols:
        asked = {"people": [{"email": f"p{one}@example.com", "first_name": "A", "last_name": "B"} for one in range(3)]}
        answer = enrols.post("/contracts/C-1/enrollments", json=asked, headers=keyed("own"))
        job = answer.headers["location"].removeprefix("/v1")
        assert enrols.get(job).json()["id"] == answer.json()["id"]
        assert enrols.get(f"{job}/people").json() == {"items": [], "next": None}
        roster = enrols.post("/contracts/C-1/rosters", content=file_of("zoe"), headers=keyed("file")).json()["id"]
        assert enrols.get(f"/rosters/{roster}").json()["contract"] == "C-1"
        problem(enrols.get(f"/rosters/{roster}/errors.csv"), 404, "not_found")  # its file was not read yet
        others = [
            api.post("/person-exports", json={"email": "ada@example.com"}, headers=keyed("export")).json()["id"],
            api.put("/companies/acme", json={"name": "Acmé"}).json()["id"],
        ]
        for other in others:
            problem(enrols.get(f"/jobs/{other}"), 404, "not_found")
            problem(enrols.get(f"/jobs/{other}/people"), 404, "not_found")
            problem(enrols.post(f"/jobs/{other}/cancel", json={}, headers=keyed()), 404, "not_found")
    assert kinds_seen(base_url, portal, Scope.ENROLL) == {"enroll", "import_roster"}
    assert kinds_seen(base_url, portal, Scope.ACCOUNTS) == {"export_person"}
    assert kinds_seen(base_url, portal, Scope.ADMIN, Scope.PROGRESS) == {"put_company"}
    assert kinds_seen(base_url, portal, Scope.SIGN_IN) == set()
    assert kinds_seen(base_url, portal, Scope.READ) == {"enroll", "import_roster", "export_person", "put_company"}


def test_a_page_for_a_key_of_one_scope_is_full(base_url: str, portal: UUID) -> None:
    own = [enrolling(name) for name in ("ada", "bob")]
    with transaction() as session:
        for _ in range(5):
            accepted(session, ExportPerson(email="ada@example.com"), key=str(new_id()))
    with client_of(base_url, make_key(portal, [Scope.ENROLL])) as client:
        page = client.get("/jobs?limit=2").json()
    assert [one["id"] for one in page["items"]] == own[::-1]


def test_a_key_of_one_scope_and_company_sees_both_limits(base_url: str, portal: UUID) -> None:
    own, other = enrolling("ada"), enrolling("bob", contract="C/2")
    with client_of(base_url, make_key(portal, [Scope.ENROLL], companies=["autre"])) as client:
        assert client.get(f"/jobs/{other}").status_code == 200
        problem(client.get(f"/jobs/{own}"), 404, "not_found")
        assert [one["id"] for one in client.get("/jobs").json()["items"]] == [other]
    with client_of(base_url, make_key(portal, [Scope.PROGRESS], companies=["autre"])) as client:
        problem(client.get(f"/jobs/{other}"), 404, "not_found")


def test_a_reset_is_seen_by_keys_of_its_companies_alone(base_url: str, api: httpx2.Client, portal: UUID) -> None:
    body = {"email": "ada@example.com"}
    keys = {name: make_key(portal, companies=name.split()) for name in ("acme", "autre", "acme autre")}
    jobs = {"all": api.post("/password-reset-requests", json=body, headers=keyed("of-all")).json()["id"]}
    for name, key in keys.items():
        with client_of(base_url, key) as client:
            answer = client.post("/password-reset-requests", json=body, headers=keyed(f"of {name}".replace(" ", "-")))
            assert client.get(answer.headers["location"].removeprefix("/v1")).json()["id"] == answer.json()["id"]
            jobs[name] = answer.json()["id"]
    seen = {}
    for name, key in keys.items():
        with client_of(base_url, key) as client:
            seen[name] = {of for of, job in jobs.items() if client.get(f"/jobs/{job}").status_code == 200}
            assert {one["id"] for one in client.get("/jobs").json()["items"]} == {jobs[of] for of in seen[name]}
    assert seen == {"acme": {"acme"}, "autre": {"autre"}, "acme autre": {"acme", "autre", "acme autre"}}
    assert all(api.get(f"/jobs/{job}").status_code == 200 for job in jobs.values())


def test_a_key_names_no_other_company_in_a_reset(base_url: str, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, companies=["acme"])) as client:
        for companies in (["autre"], ["acme", "autre"], []):
            body = {"email": "ada@example.com", "companies": companies}
            problem(client.post("/password-reset-requests", json=body, headers=keyed()), 404, "not_found")
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_a_limited_key_that_looks_again_reads_no_request_again(
    base_url: str, portal: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = enrolling("ada", contract="C/2"), enrolling("bob")
    read = list[str]()

    def parsed(kind: str, body: str) -> object:
        read.append(kind)
        return parse(kind, body)

    monkeypatch.setattr(visible_jobs, "parse", parsed)
    with client_of(base_url, make_key(portal, companies=["autre"])) as client:
        assert [client.get(f"/jobs/{own}").status_code for _ in range(3)] == [200] * 3
        assert client.get(f"/jobs/{own}/people").status_code == 200
        assert read == ["enroll"]
        problem(client.get(f"/jobs/{other}"), 404, "not_found")
    with client_of(base_url, make_key(portal, companies=["acme"])) as client:  # what one key saw opens no other
        problem(client.get(f"/jobs/{own}"), 404, "not_found")
    with client_of(base_url, make_key(make_portal("other"), companies=["autre"])) as client:
        problem(client.get(f"/jobs/{own}"), 404, "not_found")
