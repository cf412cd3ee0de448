"""The pages on people: from an address or an identifier to all that is kept, masked; one value shown at a time."""

import re

import pytest

from models.base import new_id
from tests.kit.console.scene import HOSTILE, make_scene, suppress_zoe
from tests.kit.console.visiting import visiting
from tests.kit.processes.support import change, forget, rows
from workers.database import transaction


def test_an_address_or_an_identifier_leads_to_the_person() -> None:
    scene = make_scene()
    [[enrollment]] = rows("SELECT id FROM enrollment WHERE account_id = :id", id=scene.account)
    with visiting() as visit:
        by_address = visit.get("/ops/people", params={"q": "Zoe@Example.com "})
        by_enrollment = visit.get(f"/ops/people/{enrollment}")
        assert by_address.headers["location"] == by_enrollment.headers["location"] == f"/ops/people/{scene.account}"
        assert visit.get(f"/ops/people?q={scene.account}").headers["location"] == f"/ops/people/{scene.account}"
        assert visit.get(f"/ops/people/{new_id()}").status_code == 404
        refused = visit.get("/ops/people?q=nothing")
        assert (refused.status_code, "neither an address nor" in refused.text) == (400, True)


def test_everything_of_a_person_is_there_and_masked() -> None:
    scene = make_scene()
    change("UPDATE account SET first_name = :name WHERE id = :id", name=HOSTILE, id=scene.account)
    with visiting() as visit:
        page = visit.get(f"/ops/people/{scene.account}").text
        tables = {
            name: visit.get(f"/ops/people/{scene.account}?format=json&table={name}").json()["rows"]
            for name in ("enrollments", "jobs", "mails", "audit")
        }
    assert {name: len(found) for name, found in tables.items()} == {"enrollments": 1, "jobs": 1, "mails": 1, "audit": 1}
    assert tables["jobs"][0]["id"] == str(scene.done)
    assert tables["mails"][0]["id"] == str(scene.mail)
    for hidden in ("zoe@example.com", "Zoé", HOSTILE, "Le Dû"):
        assert hidden not in page
        assert hidden not in str(tables)
    assert "Account never activated" in page
    assert "activation" in page
    assert "A mail invitation waits" in page


def test_a_refused_job_is_found_by_the_address_that_was_typed() -> None:
    scene = make_scene()
    with visiting() as visit:
        answer = visit.get("/ops/people", params={"q": "Nina@example.com"})
        jobs = visit.get("/ops/people?q=nina@example.com&format=json&table=jobs").json()["rows"]
        unknown = visit.get("/ops/people?q=unknown@example.com")
    assert (answer.status_code, "No account has this address" in answer.text) == (200, True)
    assert [(job["id"], job["state"]) for job in jobs] == [(str(scene.refused), "refused")]
    assert "No job matches" in unknown.text


@pytest.mark.parametrize(
    ("change_first", "sentence"),
    [
        ("INSERT INTO suppression (email_norm, reason) VALUES ('zoe@example.com', 'ops')", "the address is suppressed"),
        ("UPDATE account SET erased_at = now()", "only what the law wants kept"),
        (
            "UPDATE email SET state = 'failed', due_at = NULL, finished_at = now(), result = '{\"code\": \"gone\"}'",
            "did not arrive (failed): gone",
        ),
        ("UPDATE email SET state = 'sent', due_at = NULL, finished_at = now()", "Never activated the account"),
        (
            (
                "WITH a AS (UPDATE account SET activated_at = now())"
                " UPDATE email SET state = 'sent', due_at = NULL, finished_at = now()"
            ),
            "nothing waits for this person",
        ),
    ],
)
def test_one_sentence_says_how_it_is(change_first: str, sentence: str) -> None:
    scene = make_scene()
    change(change_first)
    with visiting() as visit:
        assert sentence in visit.get(f"/ops/people/{scene.account}").text


def test_one_value_is_shown_to_support_and_audited() -> None:
    scene = make_scene()
    with visiting("support", "sam") as visit:
        shown = [
            visit.post("/ops/people/show", what=what, id=str(row_id), field=field, place=place)
            for what, row_id, field, place in (
                ("account", scene.account, "email", ""),
                ("account", scene.account, "name", ""),
                ("mail", scene.failed_mail, "email", ""),
                ("job", scene.done, "email", "1"),
                ("job", scene.refused, "email", "0"),
            )
        ]
        page = visit.get(f"/ops/people/{scene.account}").text
    said = ["zoe@example.com", "Zoé LE DÛ", "paul@example.com", "paul@example.com", "nina@example.com"]
    assert [one.status_code for one in shown] == [200] * 5
    assert [value.lower() in one.text.lower() for value, one in zip(said, shown, strict=True)] == [True] * 5
    assert "zoe@example.com" not in page
    of_person = rows("SELECT account_id IS NOT NULL FROM audit WHERE action = 'show_value' ORDER BY id")
    assert of_person == [(True,)] * 4 + [(False,)], "the audit of a person has each look, also by a job"
    audit = rows("SELECT requested_by, subject_id, detail FROM audit WHERE action = 'show_value' ORDER BY id")
    assert [(name, subject) for name, subject, _ in audit] == [
        ("ops:sam", subject) for subject in (scene.account, scene.account, scene.failed_mail, scene.done, scene.refused)
    ]
    assert audit[3][2] == {"field": "email", "place": 1}
    assert not any("@" in str(detail) for _, _, detail in audit)


def test_the_links_of_an_answer_to_a_form_lead_to_pages() -> None:
    scene = make_scene()
    with visiting("support") as visit:
        answers = (
            visit.post("/ops/people/show", what="account", id=str(scene.account), field="email"),
            visit.post("/ops/people/show", what="account", id=str(scene.account), field="email", form_token="x"),
            visit.post("/ops/actions/show", verb="retry"),
        )
        assert [one.status_code for one in answers] == [200, 403, 403]
        for answer in answers:
            [address] = set(re.findall(r'href="([^"]*lang=fr[^"]*)"', answer.text))
            assert visit.get(address).status_code == 200, address


def test_a_reader_is_shown_no_value() -> None:
    scene = make_scene()
    with visiting() as visit:
        answer = visit.post("/ops/people/show", what="account", id=str(scene.account), field="email")
        assert (answer.status_code, "zoe@" in answer.text) == (403, False)
        assert "/ops/people/show" not in visit.get(f"/ops/people/{scene.account}").text
    assert rows("SELECT count(*) FROM audit WHERE action = 'show_value'") == [(0,)]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"what": "account", "field": "password_hash"}, 400),
        ({"what": "account", "field": "email", "id": "1"}, 400),
        ({"what": "job", "field": "email", "place": "-1"}, 400),
        ({"what": "table", "field": "email"}, 404),
        ({"what": "mail", "field": "name"}, 404),
        ({"what": "account", "field": "email"}, 404),
    ],
)
def test_no_other_value_can_be_asked_for(fields: dict[str, str], status: int) -> None:
    with visiting("admin") as visit:
        assert visit.post("/ops/people/show", **({"id": str(new_id())} | fields)).status_code == status


def test_support_lifts_a_suppression() -> None:
    scene = make_scene()
    with transaction() as session:
        suppress_zoe(session)
    with visiting("support") as visit:
        answer = visit.post(f"/ops/people/{scene.account}/lift")
        assert "gets mails again" in visit.get(answer.headers["location"]).text
        assert visit.post(f"/ops/people/{new_id()}/lift").status_code == 404
    assert rows("SELECT count(*) FROM suppression") == [(0,)]


def test_links_show_their_state_and_no_secret() -> None:
    scene = make_scene()
    with visiting() as visit:
        live = visit.get(f"/ops/people/{scene.account}").text
        change("UPDATE link SET consumed_at = now()")
        used = visit.get(f"/ops/people/{scene.account}").text
    [[link]] = rows("SELECT id FROM link WHERE account_id = :id", id=scene.account)
    assert ("live, not used" in live, "live, not used" in used) == (True, False)
    assert str(link) not in live
    assert "/links/" not in live


def test_a_console_without_the_keys_says_which_setting_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINK_KEYS", "")
    forget()
    with visiting("support", "sam") as visit:
        answer = visit.get("/ops/people?q=nina@example.com")
    assert (answer.status_code, "LINK_KEYS" in answer.text) == (503, True)
