"""The pages of actions: the set that was shown, its confirmation, its progress, its end, its undo."""

from collections.abc import Sequence
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from models.base import new_id
from models.trouble import trouble_of
from tests.kit.console.scene import LOST, kill, make_scene
from tests.kit.console.visiting import SAME_ORIGIN, Visit, visiting
from tests.kit.processes.support import change, rows
from workers.database import Session, transaction
from workers.ops.action_sets import count_seats, read_set
from workers.ops.actions import show_chosen
from workers.ops.actions_parts import carry_out_part
from workers.ops.ops_audit import list_ops_audit
from workers.ops.row_filter import RowFilter

DEAD = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, trouble, error, finished_at, created_at)
    SELECT gen_random_uuid(), (SELECT id FROM portal WHERE name = 'local'), 'put_company', 'enrollments',
      gen_random_uuid(), 'dead', '{}', 'Full||', '{"class": "Full"}', now(), now() - interval '1 day'
    FROM generate_series(1, CAST(:times AS int))"""


def tick(visit: Visit, verb: str, ids: Sequence[UUID]) -> httpx.Response:
    """Sends the form of a list with these rows ticked."""
    fields = {"form_token": visit.token(), "chosen": "ticked", "verb": verb, "id": [str(one) for one in ids]}
    return visit.client.post("/ops/actions/show", data=fields, headers=SAME_ORIGIN)


def choose(visit: Visit, verb: str = "retry", trouble: str | None = None) -> str:
    """Shows the set of an error; returns the address of the action."""
    fields = {"chosen": "filter", "of": "job", "verb": verb, "trouble": trouble or str(trouble_of(LOST))}
    answer = visit.post("/ops/actions/show", **fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def states() -> dict[object, object]:
    return dict(rows("SELECT state, count(*) FROM job GROUP BY state"))  # type: ignore[arg-type]


def test_a_set_is_shown_and_nothing_changes_before_it_is_confirmed() -> None:
    make_scene()
    before = rows("SELECT md5(string_agg(CAST(j AS text), '' ORDER BY id)) FROM job j")
    with visiting("operator") as visit:
        address = choose(visit)
        page = visit.get(address).text
    assert "Retry 3 of 3 rows?" in page
    assert "job enroll dead" in page
    assert "OperationalError: server closed the connection of #" in page
    assert "enough seats" in page
    assert f"matricule retry --action {address[-36:]}" in page
    assert rows("SELECT md5(string_agg(CAST(j AS text), '' ORDER BY id)) FROM job j") == before


def test_a_confirmed_set_is_done_by_the_clock_and_undone() -> None:
    scene = make_scene()
    with visiting("operator", "otto") as visit:
        address = choose(visit)
        assert visit.post(f"{address}/confirm").status_code == 303
        assert "running" in visit.get(address).text
        assert carry_out_part()
        done = visit.get(address).text
        assert states() == {"succeeded": 1, "refused": 1, "queued": 3, "dead": 1}
        undoing = visit.post(f"{address}/undo", reason="wrong error").headers["location"]
        assert carry_out_part()
        assert "Undo" in visit.get(undoing).text
        again = visit.post(f"{address}/undo", reason="twice")
        listed = visit.get("/ops/actions").text
    assert "Undo this action" in done
    assert states() == {"succeeded": 1, "refused": 1, "dead": 4}
    assert (again.status_code, "It was undone already" in again.text) == (422, True)
    assert "ops:otto" in listed
    assert listed.count("retry_many") == listed.count("undo_many") == 1
    assert str(scene.dead[0]) not in listed


def test_a_set_of_rows_that_died_later_is_another_one() -> None:
    make_scene()
    with visiting("operator") as visit:
        address = choose(visit)
        with transaction() as session:
            kill(session, "later", LOST)
        visit.post(f"{address}/confirm")
        carry_out_part()
        assert [row["outcome"] for row in visit.get(f"{address}?format=json&table=rows").json()["rows"]] == ["done"] * 3
    assert states()["dead"] == 2


def test_ticked_rows_are_the_set() -> None:
    scene = make_scene()
    with visiting("operator") as visit:
        answer = tick(visit, "dismiss", [scene.dead[0], scene.failed_mail])
        address = answer.headers["location"]
        assert "Dismiss 2 of 2 rows?" in visit.get(address).text
        visit.post(f"{address}/confirm")
        carry_out_part()
    assert rows("SELECT count(*) FROM job WHERE dismissed_at IS NOT NULL") == [(1,)]
    assert rows("SELECT count(*) FROM email WHERE dismissed_at IS NOT NULL") == [(1,)]


def test_no_ticked_row_is_told_and_a_foreign_identifier_refused() -> None:
    make_scene()
    with visiting("operator") as visit:
        nothing = tick(visit, "retry", [])
        fields = {"form_token": visit.token(), "verb": "retry", "id": "'; DROP TABLE job"}
        wrong = visit.client.post("/ops/actions/show", data=fields, headers=SAME_ORIGIN)
        many = tick(visit, "retry", [new_id() for _ in range(1_001)])
    assert (nothing.status_code, "No row is ticked" in nothing.text) == (422, True)
    assert (wrong.status_code, many.status_code) == (400, 400)


@pytest.mark.parametrize(
    "fields",
    [
        {"verb": "retry"},
        {"verb": "undo", "trouble": "x"},
        {"verb": "retry", "trouble": "of zoe@example.com"},
        {"verb": "retry", "trouble": "x", "of": "account"},
        {"verb": "retry", "since": "soon"},
    ],
)
def test_a_filter_that_chooses_everything_or_names_a_person_is_refused(fields: dict[str, str]) -> None:
    with visiting("operator") as visit:
        assert visit.post("/ops/actions/show", chosen="filter", **fields).status_code == 400
    assert rows("SELECT count(*) FROM ops_action") == [(0,)]


def test_from_ten_rows_on_a_reason_is_needed_and_what_was_typed_stays() -> None:
    change(DEAD, times=10)
    with visiting("operator") as visit:
        address = choose(visit, trouble="Full")
        without = visit.post(f"{address}/confirm", rate="60")
        address_in_it = visit.post(f"{address}/confirm", reason="asked by zoe@example.com")
        wrong = [visit.post(f"{address}/confirm", reason="ok", **one).text for one in ({"rate": "x"}, {"canary": "-1"})]
        assert "A reason is needed" in without.text
        assert 'value="60"' in without.text
        assert without.status_code == 422
        assert "The reason cannot be kept" in address_in_it.text
        assert ["not a number" in one for one in wrong] == [True, True]
        assert visit.post(f"{address}/confirm", reason="full disk", rate="60", canary="0").status_code == 303
        assert visit.post(f"{address}/confirm", reason="full disk").status_code == 422
    assert rows("SELECT state, reason, rate FROM ops_action") == [("running", "full disk", 60)]


def test_from_a_thousand_rows_on_their_number_is_typed() -> None:
    change(DEAD, times=1_000)
    with visiting("operator") as visit:
        address = choose(visit, "dismiss", trouble="Full")
        assert "Type 1000 to confirm" in visit.get(address).text
        for typed in ("", "999", "yes"):
            answer = visit.post(f"{address}/confirm", reason="full disk", typed=typed)
            assert (answer.status_code, "is not the number of rows" in answer.text) == (422, True)
        assert visit.post(f"{address}/confirm", reason="full disk", typed="1\u202f000").status_code == 303


def test_a_running_action_is_stopped_with_a_reason() -> None:
    change(DEAD, times=20)
    with visiting("operator", "otto") as visit:
        address = choose(visit, "dismiss", trouble="Full")
        visit.post(f"{address}/confirm", reason="full disk", rate="12")
        carry_out_part()
        assert "Say why it is stopped" in visit.post(f"{address}/stop").text
        assert visit.post(f"{address}/stop", reason="not these").status_code == 303
        page = visit.get(address).text
        assert "It is not being carried out" in visit.post(f"{address}/stop", reason="again").text
    assert "stopped by ops:otto" in page
    assert rows("SELECT count(*) FROM job WHERE dismissed_at IS NOT NULL") == [(1,)]


def test_a_set_that_is_too_old_is_shown_again() -> None:
    make_scene()
    with visiting("operator") as visit:
        address = choose(visit)
        change("UPDATE ops_action SET created_at = now() - interval '2 hours'")
        assert "show it again" in visit.get(address).text
        answer = visit.post(f"{address}/confirm")
        assert (answer.status_code, "show it again" in answer.text) == (422, True)


def test_rows_that_can_no_longer_be_retried_are_told_with_what_to_do() -> None:
    scene = make_scene()
    change("UPDATE job SET request = NULL WHERE id = :id", id=scene.dead[0])
    with visiting("operator") as visit:
        page = visit.get(choose(visit)).text
    assert "Retry 2 of 3 rows?" in page
    assert "1 row can no longer be retried" in page
    assert "The portal asks again" in page


def test_seats_that_a_retry_needs_are_compared_with_those_left(session: Session) -> None:
    from tests.kit.builders.contracts import add_contract  # noqa: PLC0415 - beside the scene of the other tests

    add_contract(session, "C-1", seats=2)
    for number in range(3):
        kill(session, f"n{number}", LOST)
    kill(session, "far", LOST, contract="C-gone")
    shown = show_chosen(session, "retry", RowFilter(trouble=str(trouble_of(LOST))), asked_by="ops:x")  # type: ignore[arg-type]
    seats = [(one.contract, one.jobs, one.people, one.seats_left) for one in count_seats(session, shown.action)]
    assert seats == [("C-1", 3, 3, 2), ("C-gone", 1, 1, None)]
    assert read_set(session, shown.action) == shown
    assert read_set(session, new_id()) is None


@pytest.mark.parametrize("role", ["reader", "support"])
def test_who_is_no_operator_sees_actions_and_begins_none(role: str) -> None:
    make_scene()
    with transaction() as session:
        shown = show_chosen(session, "retry", RowFilter("job", "dead"), asked_by="ops:x")  # type: ignore[arg-type]
    with visiting(role) as visit:
        page = visit.get(f"/ops/actions/{shown.action}").text
        assert ("Retry 4 of 4 rows?" in page, "/confirm" in page) == (True, False)
        for path in (f"/ops/actions/{shown.action}/{verb}" for verb in ("confirm", "stop", "undo")):
            assert visit.post(path, reason="x").status_code == 403
        assert visit.post("/ops/actions/show", verb="retry", chosen="filter", state="dead").status_code == 403
    assert rows("SELECT state FROM ops_action") == [("shown",)]


def test_the_audit_of_ops_has_no_entry_of_a_portal(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    given = "INSERT INTO audit (action, requested_by, portal_id, result) VALUES (:action, :by, :portal, 'done')"
    done = (("a", "ops:anne", None), ("b", "ops:forged", new_id()), ("c", "Marie", None), ("d", "shell:x", None))
    for action, by, of in done:
        session.execute(text(given), {"action": action, "by": by, "portal": of})
    assert [one.action for one in list_ops_audit(session).entries] == ["d", "a"]
    monkeypatch.setattr("workers.ops.ops_audit.LOOKED_AT", 2)
    first = list_ops_audit(session)
    assert [one.action for one in first.entries] == ["d"]
    assert [one.action for one in list_ops_audit(session, before=first.after).entries] == ["a"]


def test_an_unknown_action_has_no_page() -> None:
    with visiting("operator") as visit:
        assert visit.get(f"/ops/actions/{new_id()}").status_code == 404
        for verb in ("confirm", "stop", "undo"):
            assert visit.post(f"/ops/actions/{new_id()}/{verb}", reason="x").status_code == 404
