"""The pages on jobs: lists by filters in the address, page by page; one job; actions on one."""

import csv
import io
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from models.base import new_id
from tests.kit.console.scene import HOSTILE, make_scene
from tests.kit.console.visiting import SAME_ORIGIN, Visit, visiting
from tests.kit.processes.support import change, rows


def ids(visit: Visit, path: str) -> list[str]:
    """Returns the identifiers of a table, as its JSON has them."""
    answer = visit.get(path + ("&" if "?" in path else "?") + "format=json")
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["rows"]]


def lost_trouble() -> str:
    """Returns the error of most dead jobs, as an address has it."""
    [[trouble]] = rows("SELECT DISTINCT trouble FROM job WHERE trouble LIKE 'Oper%'")
    return quote(str(trouble))


def test_jobs_are_listed_by_the_filter_in_the_address() -> None:
    scene = make_scene()
    dead = {str(one) for one in scene.dead}
    with visiting() as visit:
        assert set(ids(visit, "/ops/jobs")) == {*dead, str(scene.done), str(scene.refused)}
        assert set(ids(visit, "/ops/jobs?state=dead")) == dead
        assert set(ids(visit, "/ops/jobs?contract=C-1")) == {*dead, str(scene.done)}
        assert ids(visit, "/ops/jobs?queue=enrollments&state=succeeded") == [str(scene.done)]
        assert ids(visit, "/ops/jobs?key=key-broken") == [str(scene.dead[-1])]
        assert ids(visit, f"/ops/jobs?id={str(scene.refused)[:23]}") == [str(scene.refused)]
        assert ids(visit, "/ops/jobs?kind=withdraw") == ids(visit, "/ops/jobs?requested_by=nobody") == []
        assert len(ids(visit, f"/ops/jobs?trouble={lost_trouble()}")) == 3
        assert "No job matches" in visit.get("/ops/jobs?state=running").text


def test_the_next_page_begins_behind_the_last_job(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(dead=4)
    monkeypatch.setattr("workers.ops.job_list.PAGE", 2)
    dead = {str(one) for one in scene.dead}
    trouble = lost_trouble()
    with visiting() as visit:
        for path, wanted in (("state=dead", 5), ("contract=C-1", 6), (f"trouble={trouble}", 4)):
            seen: list[str] = []
            after = ""
            for _ in range(4):
                page = ids(visit, f"/ops/jobs?{path}{after}")
                seen += page
                if len(page) < 2:
                    break
                after = f"&after={page[-1]}"
            assert (len(seen), len(set(seen))) == (wanted, wanted), path
            assert set(seen) <= {*dead, str(scene.done)}


def test_a_page_says_how_far_it_looked_and_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene()
    monkeypatch.setattr("workers.ops.job_list.LOOKED_AT", 2)
    with visiting() as visit:
        page = visit.get("/ops/jobs?queue=enrollments&state=succeeded").text
        assert "Look further" in page
        assert str(scene.done) not in page
        after = ""
        for _ in range(4):
            found = visit.get(f"/ops/jobs?queue=enrollments&state=succeeded{after}").text
            if str(scene.done) in found:
                break
            after = "&after=" + found.rpartition("after=")[2][:36]
        assert str(scene.done) in found


def test_what_was_typed_leads_to_its_page() -> None:
    scene = make_scene()
    with visiting() as visit:
        for words, path in {
            str(scene.done): f"/ops/jobs/{scene.done}",
            str(scene.mail): f"/ops/mails/{scene.mail}",
            str(scene.account): f"/ops/people/{scene.account}",
            "C-1": "/ops/jobs?contract=C-1",
            "key-broken": "/ops/jobs?key=key-broken",
            "enroll": "/ops/jobs?kind=enroll",
            "zoe@example.com": "/ops/people?q=zoe%40example.com",
            "0198": "/ops/jobs?id=0198",
            "Marie": "/ops/jobs?requested_by=Marie",
            "": "/ops/jobs",
        }.items():
            answer = visit.get("/ops/find", params={"q": words})
            assert (answer.status_code, answer.headers["location"]) == (303, path), words


@pytest.mark.parametrize("query", ["since=soon", "after=no-id", "until=1e9", "since=2026-13-01"])
def test_a_filter_that_cannot_be_read_is_refused(query: str) -> None:
    with visiting() as visit:
        answer = visit.get(f"/ops/jobs?{query}")
        assert (answer.status_code, "cannot be read" in answer.text) == (400, True)


def test_hostile_values_in_the_address_are_only_text() -> None:
    with visiting() as visit:
        for name in ("state", "kind", "queue", "portal", "contract", "trouble", "requested_by", "key", "id"):
            answer = visit.get("/ops/jobs", params={name: f'"{HOSTILE}\x00%_'})
            assert (answer.status_code, HOSTILE in answer.text) == (200, False), name


def test_a_job_shows_why_what_happened_and_its_people_masked() -> None:
    scene = make_scene()
    with visiting() as visit:
        done = visit.get(f"/ops/jobs/{scene.done}").text
        dead = visit.get(f"/ops/jobs/{scene.dead[-1]}").text
    assert "Done <strong>" in done
    assert "invitation" in done
    assert "zoe@example.com" not in done
    assert "z•••••" in done
    assert "it waits for a decision" in dead
    assert "&lt;script&gt;" in dead
    assert HOSTILE not in dead


def test_the_sentence_is_french_for_a_french_browser() -> None:
    scene = make_scene()
    with visiting() as visit:
        page = visit.get(f"/ops/jobs/{scene.dead[0]}?lang=fr").text
    assert "à vous de décider" in page
    assert '<html lang="fr">' in page


def test_people_of_a_job_are_shown_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene()
    monkeypatch.setattr("workers.ops.job_people.PEOPLE", 1)
    with visiting() as visit:
        first = visit.get(f"/ops/jobs/{scene.done}?format=json&table=people").json()["rows"]
        second = visit.get(f"/ops/jobs/{scene.done}?first=1&format=json&table=people").json()["rows"]
    assert [row["position"] for row in (*first, *second)] == [0, 1]


def test_an_operator_retries_a_dead_job_and_the_audit_keeps_the_name() -> None:
    scene = make_scene()
    job = scene.dead[0]
    with visiting("operator", "otto") as visit:
        answer = visit.post(f"/ops/jobs/{job}/act", verb="retry")
        assert "outcome=done" in answer.headers["location"]
        assert "all its attempts again" in visit.get(answer.headers["location"]).text
        again = visit.post(f"/ops/jobs/{job}/act", verb="retry")
        assert "outcome=unfit" in again.headers["location"]
    assert rows("SELECT state, failures FROM job WHERE id = :id", id=job) == [("queued", 0)]
    assert rows("SELECT requested_by FROM audit WHERE action = 'retry'") == [("ops:otto",)]


@pytest.mark.parametrize(("role", "status"), [("reader", 403), ("support", 403), ("operator", 303)])
def test_only_operators_act_on_a_job(role: str, status: int) -> None:
    scene = make_scene()
    with visiting(role) as visit:
        page = visit.get(f"/ops/jobs/{scene.dead[0]}").text
        assert (f"/ops/jobs/{scene.dead[0]}/act" in page) is (status == 303)
        assert visit.post(f"/ops/jobs/{scene.dead[0]}/act", verb="dismiss").status_code == status


@pytest.mark.parametrize("fields", [{"verb": "delete"}, {"verb": ""}, {}])
def test_what_is_no_action_is_refused(fields: dict[str, str]) -> None:
    with visiting("operator") as visit:
        assert visit.post(f"/ops/jobs/{uuid4()}/act", **fields).status_code == 400


def test_a_form_of_another_site_or_session_changes_nothing() -> None:
    scene = make_scene()
    path = f"/ops/jobs/{scene.dead[0]}/act"
    with visiting("operator") as visit:
        fields = {"form_token": visit.token(), "verb": "retry"}
        foreign = visit.client.post(path, data=fields, headers={"Sec-Fetch-Site": "cross-site"})
        forged = visit.client.post(path, data=fields | {"form_token": "0" * 64}, headers=SAME_ORIGIN)
    assert (foreign.status_code, forged.status_code) == (403, 403)
    assert rows("SELECT count(*) FROM job WHERE state = 'dead'") == [(4,)]


def test_an_unknown_job_has_no_page() -> None:
    with visiting() as visit:
        assert visit.get(f"/ops/jobs/{new_id()}").status_code == 404
        assert visit.get("/ops/jobs/nonsense").status_code in (400, 404)


def test_a_requester_that_is_an_address_is_masked_everywhere() -> None:
    scene = make_scene()
    change("UPDATE job SET requested_by = 'gestion@acme.example' WHERE id = :id", id=scene.done)
    with visiting() as visit:
        pages = [visit.get(path).text for path in ("/ops/jobs", "/ops/jobs?format=csv", f"/ops/jobs/{scene.done}")]
    assert ["gestion@" in page for page in pages] == [False, False, False]


def test_a_table_as_csv_cannot_hold_a_formula() -> None:
    scene = make_scene()
    change("UPDATE job SET requested_by = '=HYPERLINK(1)' WHERE id = :id", id=scene.done)
    with visiting() as visit:
        answer = visit.get("/ops/jobs?state=succeeded&format=csv")
    [heading, row] = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=";")
    assert UUID(row[heading.index("id")]) == scene.done
    assert not row[heading.index("requested_by")].startswith("=")
