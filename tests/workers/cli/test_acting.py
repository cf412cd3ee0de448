"""`matricule retry|dismiss|cancel` show many rows first and do what was shown; `matricule actions` follows them."""

import pytest

from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.ops.actions_parts import carry_out_due

DEAD = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, trouble, claim, failures, finished_at)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), :kind, 'enrollments', gen_random_uuid(), 'dead',
      CASE WHEN :kept THEN CAST('{"contract": "C-1"}' AS json) END, 'KeyError||[/b] #', 1, 8, now()
    FROM generate_series(1, CAST(:times AS int)) n"""


@pytest.fixture(autouse=True)
def _dead_jobs(fresh_database: str) -> None:
    """Gives each test a dozen dead jobs, of which two can no longer be retried."""
    change(DEAD, kind="enroll", times=10, kept=True)
    change(DEAD, kind="withdraw", times=2, kept=False)


def states() -> dict[str, int]:
    [(found,)] = rows("SELECT json_object_agg(state, n) FROM (SELECT state, count(*) n FROM job GROUP BY state) s")
    assert isinstance(found, dict)
    return found


def test_a_dry_run_shows_and_its_action_does_what_was_shown(call: Call) -> None:
    called = call("retry", "--trouble", "KeyError [/b] #", "--dry-run")
    assert called.code == 0
    assert "12 rows" in called.out
    assert "2 of them can no longer be retried" in called.out
    assert "10  kind: job enroll dead" in called.out
    assert "12  error: KeyError [/b] #" in called.out
    assert "10  contract: C-1" in called.out
    assert states() == {"dead": 12}
    change(DEAD, kind="enroll", times=3, kept=True)
    shown = called.out.split("--action ")[1].split()[0]
    assert call("retry", "--action", shown).code == 65
    assert call("retry", "--action", shown, "--reason", "a@b.test").code == 65
    assert call("retry", "--action", shown, "--reason", "cured", "--canary", 0).code == 0
    carry_out_due()
    assert states() == {"queued": 10, "dead": 5}
    [listed] = call("actions", "--json").json
    assert (listed["done"], listed["skipped"], listed["expected"], listed["reason"]) == (10, 2, 12, "cured")
    assert rows("SELECT detail ->> 'reason', requested_by LIKE 'shell:_%' FROM audit WHERE action = 'retry_many'") == [
        ("cured", True)
    ]
    assert call("actions", "show", shown, "--json").json["left_alone"] == {"not_kept": 2}
    assert "10 done, 2 skipped, 0 failed, of 12" in call("actions", "show", shown).out
    assert call("retry", "--action", shown, "--reason", "again").code == 1


def test_what_was_shown_is_done_once_it_is_confirmed(call: Call) -> None:
    asked = ("dismiss", "--kind", "enroll", "--reason", "too late")
    assert call(*asked, stdin="no\n").code == 1
    assert rows("SELECT count(*) FROM job WHERE dismissed_at IS NOT NULL") == [(0,)]
    assert call(*asked, stdin="yes\n").code == 0
    carry_out_due()
    assert rows("SELECT kind, count(*) FROM job WHERE dismissed_at IS NOT NULL GROUP BY 1") == [("enroll", 10)]
    assert [one["rows"] for one in call("errors", "--json").json] == [2]
    [done] = call("actions", "--json").json
    assert call("actions", "--undo", done["id"]).code == 65
    assert call("actions", "--undo", done["id"], "--reason", "not too late").code == 0
    carry_out_due()
    assert [one["rows"] for one in call("errors", "--json").json] == [12]
    assert len(call("actions").out.splitlines()) == 3
    assert call("actions", "--undo", done["id"], "--reason", "again").code == 1


def test_many_rows_need_a_reason_before_anything_is_asked(call: Call) -> None:
    called = call("retry", "--state", "dead", stdin="yes\n")
    assert (called.code, "a --reason is needed" in called.err) == (65, True)


def test_a_stopped_action_leaves_the_rest(call: Call) -> None:
    shown = call("retry", "--kind", "enroll", "--dry-run", "--json").json["action"]
    begun = call("retry", "--action", shown, "--reason", "cured", "--rate", "12/min")
    assert begun.code == 0
    carry_out_due()
    assert call("actions", "stop", shown, "--reason", "enough").code == 0
    assert call("actions", "stop", shown, "--reason", "enough").code == 1
    assert "12 a minute" in call("actions", "show", shown).out
    assert states() == {"queued": 1, "dead": 11}


def test_a_few_are_done_at_once_and_can_be_undone(call: Call) -> None:
    first, second, unknown = (str(row) for (row,) in rows("SELECT id FROM job WHERE kind = 'enroll' LIMIT 3"))
    change("DELETE FROM job WHERE id = CAST(:id AS uuid)", id=unknown)
    called = call("dismiss", first, second, unknown)
    assert called.code == 1
    assert [line.split("  ")[1] for line in called.out.splitlines()] == [
        "job is dead: dismissed",
        "job is dead: dismissed",
        "unknown: neither a job nor a mail",
    ]
    [done] = call("actions", "--json").json
    assert call("actions", "--undo", done["id"]).code == 0
    carry_out_due()
    assert rows("SELECT count(*) FROM job WHERE dismissed_at IS NOT NULL") == [(0,)]
    assert call("cancel", first).out.endswith("job is dead or has begun: left alone\n")


@pytest.mark.parametrize("said", ["Refused no a@b.test", "Refused no a\uff20b.test"])
def test_an_error_that_names_an_address_is_refused_and_not_kept(call: Call, said: str) -> None:
    for verb in ("retry", "dismiss"):
        called = call(verb, "--trouble", said, "--dry-run")
        assert (called.code, "without an address" in called.err) == (65, True)
    assert rows("SELECT count(*) FROM ops_action") == [(0,)]


@pytest.mark.parametrize(
    "args",
    [
        ("retry",),
        ("cancel", "--reason", "why"),
        ("retry", "--kind", "enroll", "--action", "00000000-0000-7000-8000-000000000001"),
        ("retry", "--kind", "enroll", "--rate", "fast"),
    ],
)
def test_wrong_use_is_told(call: Call, args: tuple[str, ...]) -> None:
    assert call(*args).code == 2


def test_what_does_not_exist_is_told(call: Call) -> None:
    assert call("retry", "--kind", "nothing", "--dry-run").out == "no row is like this\n"
    assert call("actions").out == "no action yet\n"
    unknown = "00000000-0000-7000-8000-000000000001"
    assert [call("actions", "show", unknown).code, call("actions", "--undo", unknown).code] == [1, 1]
