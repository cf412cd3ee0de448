"""The page of errors: groups with their numbers, what is new, and actions on one group."""

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from models.trouble import trouble_of
from tests.kit.console.scene import BROKEN, HOSTILE, LOST, kill, make_scene
from tests.kit.console.visiting import visiting
from tests.kit.processes.support import change
from workers.console.view import FOLDER
from workers.database import Session, transaction
from workers.ops.capped import CAPS
from workers.ops.errors import group_errors
from workers.ops.trouble_groups import list_error_groups

RELEASES = """
    INSERT INTO release_run (release, first_seen_at, last_seen_at)
    VALUES ('1.0', now() - interval '9 days', now()), ('1.1', now() - interval '1 hour', now())"""

NOT_LIVE = ("layout.html", "mail.html")
"""Templates with something to open where no page refreshes."""


def test_the_page_counts_as_the_command_does() -> None:
    make_scene()
    with transaction() as session:
        found = list_error_groups(session).groups
        counted = group_errors(session)
    assert {(one.ledger, one.trouble, one.rows.number, one.queues, one.kinds) for one in found} == {
        (one.ledger, one.trouble, one.rows, tuple(one.queues), tuple(one.kinds)) for one in counted
    }
    assert {(one.trouble, one.first_at, one.last_at) for one in found} == {
        (one.trouble, one.first_at, one.last_at) for one in counted
    }


def test_people_and_contracts_that_are_hit_are_counted() -> None:
    make_scene()
    with transaction() as session:
        kill(session, "other", LOST, contract="C-2")
        [lost] = [one for one in list_error_groups(session).groups if one.trouble == trouble_of(LOST)]
    assert (lost.people, lost.contracts) == ((4, False), (2, False))


def test_the_curve_has_each_hour_of_the_last_day() -> None:
    make_scene()
    change("UPDATE job SET finished_at = now() - interval '150 minutes' WHERE trouble LIKE 'Oper%'")
    change("UPDATE job SET finished_at = now() - interval '3 days' WHERE trouble LIKE 'Key%'")
    with transaction() as session:
        hours = {one.trouble: one.hours for one in list_error_groups(session).groups}
    assert hours[str(trouble_of(LOST))] == (0,) * 21 + (3, 0, 0)
    assert hours[str(trouble_of(BROKEN))] == (0,) * 24


def test_numbers_stop_at_the_cap_and_say_so(session: Session) -> None:
    session.execute(
        text("""
        INSERT INTO job (id, portal_id, kind, queue, lane, state, trouble, finished_at, error)
        SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', 'enrollments', gen_random_uuid(), 'dead',
          'Full||', now(), '{"class": "Full"}' FROM generate_series(1, 1005)""")
    )
    [found] = list_error_groups(session).groups
    assert found.rows == (CAPS.alike, True)
    assert found.people is not None
    assert found.people.at_least


def test_a_window_leaves_out_what_ended_before() -> None:
    make_scene()
    change("UPDATE job SET finished_at = now() - interval '2 days' WHERE trouble LIKE 'Oper%'")
    with transaction() as session:
        found = list_error_groups(session, since=datetime.now(UTC) - timedelta(hours=1)).groups
    assert trouble_of(LOST) not in {one.trouble for one in found}
    with visiting() as visit:
        assert "OperationalError" not in visit.get("/ops/errors?window=24h").text
        assert "OperationalError" in visit.get("/ops/errors?window=7d").text


def test_what_is_new_with_the_latest_release_stands_on_top() -> None:
    make_scene()
    change(RELEASES)
    change("UPDATE job SET finished_at = now() - interval '2 days' WHERE trouble LIKE 'Oper%'")
    with visiting() as visit:
        page = visit.get("/ops/errors").text
    assert "release 1.1" in page
    assert "2 new" in page
    assert page.index("KeyError") < page.index("Known before") < page.index("OperationalError")


def test_the_errors_of_a_queue_alone_are_shown() -> None:
    make_scene()
    with visiting() as visit:
        rows = visit.get("/ops/errors?queue=emails&format=json").json()["rows"]
        page = visit.get("/ops/errors?queue=emails").text
    assert [row["ledger"] for row in rows] == ["email"]
    assert "OperationalError" not in page
    assert 'href="/ops/errors" aria-current="true" aria-label="Without the filter Queue"' in page


def test_what_is_opened_stays_open_when_a_page_is_refreshed() -> None:
    """The script opens again what has an identifier."""
    for template in FOLDER.glob("*.html"):
        opened = re.findall(r"<details[^>]*>", template.read_text())
        assert template.name in NOT_LIVE or all(" id=" in one for one in opened), template.name
    make_scene()
    with visiting() as visit:
        found = re.findall(r'<details [^>]*id="([^"]+)"', visit.get("/ops/errors").text)
    assert len(found) == len(set(found)) == 3


def test_an_error_is_only_text_and_leads_to_its_rows() -> None:
    make_scene()
    with visiting() as visit:
        page = visit.get("/ops/errors").text
        rows = visit.get("/ops/errors?format=json").json()["rows"]
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "/ops/jobs?trouble=OperationalError" in page
    assert "/ops/mails?trouble=SMTPResponseError" in page
    assert {(row["rows"], row["ledger"]) for row in rows} == {(3, "job"), (1, "job"), (1, "email")}


def test_an_operator_begins_with_the_set_of_one_group() -> None:
    make_scene()
    with visiting("operator") as visit:
        fields = {"chosen": "filter", "of": "job", "trouble": str(trouble_of(LOST)), "verb": "retry"}
        answer = visit.post("/ops/actions/show", **fields)
        assert "Retry 3 of 3 rows?" in visit.get(answer.headers["location"]).text


def test_a_reader_sees_no_button_and_an_empty_page_says_so() -> None:
    with visiting() as visit:
        assert "Nothing gave up" in visit.get("/ops/errors").text
        make_scene()
        page = visit.get("/ops/errors").text
        assert "/ops/actions/show" not in page
        assert "matricule retry --of job --trouble" in page
