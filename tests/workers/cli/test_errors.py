"""`matricule errors`: thousands of failures are told as the few faults that they are."""

import pytest

from tests.kit.processes.support import change
from tests.workers.cli.conftest import Call

DEAD = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, trouble, error, finished_at)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), :kind, :queue, gen_random_uuid(), 'dead', :trouble,
      CAST(:error AS json), CAST('2026-03-01T08:30Z' AS timestamptz) + interval '1 hour' * n
    FROM generate_series(1, CAST(:times AS int)) n"""

SUPPRESSED = """
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state)
    SELECT gen_random_uuid(), 'invitation', 'emails', gen_random_uuid(), 'k', '', 'fr', '', now(), now(),
      'suppressed'"""

RELEASES = """
    INSERT INTO release_run (release, first_seen_at, last_seen_at)
    VALUES ('0.5.0', '2026-02-01T00:00Z', now()), ('0.6.0', :since, now())"""


@pytest.fixture(autouse=True)
def _dead_work(fresh_database: str) -> None:
    """Gives each test dead work of four kinds of errors."""
    change(DEAD, kind="enroll", queue="enrollments", trouble="KeyError||#", error=None, times=3)
    change(DEAD, kind="withdraw", queue="enrollments", trouble="KeyError||#", error=None, times=1)
    change(DEAD, kind="enroll", queue="rosters", trouble="[/b]E|locked|no # in #", error=None, times=2)
    change(DEAD, kind="enroll", queue="rosters", trouble=None, error='{"class": "Old", "reason": "r"}', times=5)
    change(SUPPRESSED)


def test_each_error_is_one_line_with_its_number_and_times(call: Call) -> None:
    [old, first, second] = call("errors", "--json").json
    assert (old["trouble"], old["rows"], old["kinds"], old["queues"]) == ("Old|r|", 5, ["enroll"], ["rosters"])
    assert (first["trouble"], first["rows"], first["kinds"]) == ("KeyError||#", 4, ["enroll", "withdraw"])
    assert (first["first_at"][:16], first["last_at"][:16]) == ("2026-03-01T09:30", "2026-03-01T11:30")
    assert (second["ledger"], second["rows"], second["new_in"]) == ("job", 2, None)
    lines = call("errors").out.splitlines()
    assert lines[0].split() == ["number", "first", "(UTC)", "last", "(UTC)", "queues", "new", "in", "error"]
    assert lines[3].endswith("[/b]E locked no # in #")


def test_options_narrow_the_errors_down(call: Call) -> None:
    assert [one["rows"] for one in call("errors", "--queue", "enrollments", "--json").json] == [4]
    assert [one["rows"] for one in call("errors", "--kind", "withdraw", "--json").json] == [1]
    late = call("errors", "--since", "2026-03-01T11:00+00:00", "--json").json
    assert sorted((one["trouble"], one["rows"]) for one in late) == [("KeyError||#", 1), ("Old|r|", 3)]
    assert call("errors", "--queue", "emails").out == "nothing gave up\n"


def test_an_error_that_is_new_with_the_release_stands_first(call: Call) -> None:
    change("UPDATE job SET finished_at = '2026-03-05T00:00Z' WHERE trouble LIKE '%locked%'")
    change(RELEASES, since="2026-03-04T00:00Z")
    found = call("errors", "--json").json
    assert [(one["trouble"], one["new_in"]) for one in found] == [
        ("[/b]E|locked|no # in #", "0.6.0"),
        ("Old|r|", None),
        ("KeyError||#", None),
    ]
