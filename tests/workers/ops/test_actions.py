"""Actions of operators on many rows touch exactly the rows that were shown, once, and can be undone."""

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.ops_action import MOST_FAILURES, RETRY_SECONDS, ActionVerb
from models.portal import LOCAL_PORTAL_ID
from tests.kit.processes.support import Processes, change, rows, wait_until
from workers.database import transaction
from workers.ops.actions import ShownSet, act_at_once, confirm, read_action, show_chosen, stop, undo
from workers.ops.actions_parts import carry_out_due, carry_out_part
from workers.ops.actions_sql import JUDGE_FIRST
from workers.ops.row_filter import RowFilter
from workers.ops.snapshot import read_snapshot

DEAD = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, trouble, error, failures, rescues, claim,
      finished_at, started_at)
    SELECT gen_random_uuid(), :portal, :kind, 'enrollments', gen_random_uuid(), 'dead',
      json_build_object('contract', CAST(:contract AS text)), 'KeyError||#',
      '{"class": "KeyError", "message": "''x''"}', 8, 1, 9, clock_timestamp(), now()
    FROM generate_series(1, CAST(:times AS int)) n"""

WAITING = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, position, due_at)
    SELECT gen_random_uuid(), :portal, 'enroll', 'enrollments', gen_random_uuid(), 'queued', '{}', :position,
      now() + interval '1 hour' * n
    FROM generate_series(1, CAST(:times AS int)) n"""

MAILS = """
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      finished_at, error, trouble, failures)
    SELECT gen_random_uuid(), 'invitation', 'emails', gen_random_uuid(), n, 'a@exemple.test', 'fr', n, now(),
      now() - interval '1 day', 'failed', now(), '{"class": "Refused", "reason": "r", "message": "no 5"}',
      'Refused|r|no #', 1
    FROM generate_series(1, CAST(:times AS int)) n"""

OF_JOBS = "SELECT md5(string_agg(CAST(j AS text), ';' ORDER BY id)) FROM job j"
OF_MAILS = "SELECT md5(string_agg(CAST(m AS text), ';' ORDER BY id)) FROM email m"

RETRY, DISMISS, CANCEL = ActionVerb.RETRY, ActionVerb.DISMISS, ActionVerb.CANCEL


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database without schedules."""
    change("DELETE FROM schedule")


def die(times: int, *, kind: str = "enroll", contract: str = "C-1") -> None:
    change(DEAD, times=times, kind=kind, portal=LOCAL_PORTAL_ID, contract=contract)


def wait_for_an_hour(times: int, position: int = 0) -> None:
    change(WAITING, times=times, portal=LOCAL_PORTAL_ID, position=position)


def shown(verb: ActionVerb, **wanted: Any) -> ShownSet:
    with transaction() as session:
        return show_chosen(session, verb, RowFilter(**wanted), asked_by="ops")


def begin(seen: ShownSet, **options: Any) -> None:
    with transaction() as session:
        begun: dict[str, Any] = {"asked_by": "ops", "reason": "cured", "canary": 0} | options
        assert confirm(session, seen.action, ActionVerb(seen.verb), **begun) == "done"


def undone(action: UUID) -> UUID:
    with transaction() as session:
        answer, undoing = undo(session, action, asked_by="ops", reason="by mistake")
    assert (answer, undoing is not None) == ("done", True)
    return undoing or action


def numbers(action: UUID) -> tuple[str, int, int, int, int]:
    with transaction() as session:
        found = read_action(session, action)
    assert found is not None
    return (found.state, found.done, found.skipped, found.failed, found.expected)


def in_state(state: str) -> set[object]:
    return {row for (row,) in rows("SELECT id FROM job WHERE state = :state", state=state)}


def test_ten_thousand_are_retried_while_more_die_and_undone() -> None:
    die(10_000)
    before, seen_ids = rows(OF_JOBS), in_state("dead")
    seen = shown(RETRY)
    die(50)
    begin(seen)
    assert carry_out_part()
    die(50)
    carry_out_due()
    assert numbers(seen.action) == ("done", 10_000, 0, 0, 10_000)
    assert in_state("queued") == seen_ids
    assert rows("SELECT count(*), count(DISTINCT subject_id) FROM audit WHERE action = 'retry'") == [(10_000, 10_000)]
    undoing = undone(seen.action)
    carry_out_due()
    assert numbers(undoing) == ("done", 10_000, 0, 0, 10_000)
    change("DELETE FROM job WHERE NOT id = ANY(:shown)", shown=list(seen_ids))
    assert rows(OF_JOBS) == before


def test_a_row_that_changed_meanwhile_is_skipped_and_counted() -> None:
    die(4)
    seen = shown(RETRY)
    first, second, third, _ = sorted(in_state("dead"), key=str)
    change("UPDATE job SET state = 'queued', due_at = now(), finished_at = NULL WHERE id = :id", id=first)
    change("UPDATE job SET claim = claim + 1, finished_at = clock_timestamp() WHERE id = :id", id=second)
    change("DELETE FROM job WHERE id = :id", id=third)
    begin(seen)
    carry_out_due()
    assert numbers(seen.action) == ("done", 1, 3, 0, 4)
    assert rows("SELECT why, count(*) FROM ops_action_row GROUP BY 1 ORDER BY 1") == [
        ("changed", 2),
        ("gone", 1),
        (None, 1),
    ]


def test_the_preview_counts_and_tells_what_cannot_be_retried() -> None:
    die(3)
    die(2, kind="withdraw", contract="C-2")
    change(MAILS, times=2)
    change("UPDATE job SET request = NULL WHERE kind = 'withdraw'")
    seen = shown(RETRY)
    assert (seen.expected, seen.not_kept, seen.more) == (7, 2, False)
    assert seen.by_kind == {"job enroll dead": 3, "job withdraw dead": 2, "email invitation failed": 2}
    assert seen.by_error == {"KeyError||#": 5, "Refused|r|no #": 2}
    assert seen.by_contract == {"C-1": 3, "": 4}
    begin(seen)
    carry_out_due()
    assert numbers(seen.action) == ("done", 5, 2, 0, 7)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"ledger": "job"}, 5),
        ({"ledger": "email"}, 2),
        ({"kind": "withdraw"}, 2),
        ({"queue": "emails"}, 2),
        ({"state": "failed"}, 2),
        ({"portal": "local"}, 5),
        ({"portal": "elsewhere"}, 0),
        ({"trouble": "KeyError"}, 5),
        ({"trouble": "KeyError #"}, 5),
        ({"trouble": "Refused|r|no #"}, 2),
        ({"trouble": "Key"}, 0),
        ({"contract": "C-9"}, 0),
    ],
)
def test_a_filter_narrows_the_set(wanted: dict[str, str], number: int) -> None:
    die(3)
    die(2, kind="withdraw")
    change(MAILS, times=2)
    assert shown(RETRY, **wanted).expected == number


def test_what_is_dismissed_is_no_problem_and_comes_back_when_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.ops.snapshot.FRESH_SECONDS", 0.0)
    die(30)
    change(MAILS, times=3)
    before = rows(OF_JOBS) + rows(OF_MAILS)
    seen = shown(DISMISS)
    begin(seen)
    carry_out_due()
    assert dead_counts() == (0, 0)
    assert shown(RETRY).expected == 0
    undone(seen.action)
    carry_out_due()
    assert dead_counts() == (30, 3)
    assert rows(OF_JOBS) + rows(OF_MAILS) == before


def dead_counts() -> tuple[int, int]:
    queues = read_snapshot()["queues"]
    return queues["enrollments"]["dead"], queues["emails"]["dead"]


def test_mails_are_retried_and_put_back_exactly() -> None:
    change(MAILS, times=12)
    before = rows(OF_MAILS)
    seen = shown(RETRY, ledger="email")
    begin(seen)
    carry_out_due()
    assert rows("SELECT DISTINCT state, failures, trouble, expires_at > now() FROM email") == [("owed", 0, None, True)]
    undone(seen.action)
    carry_out_due()
    assert rows(OF_MAILS) == before


def test_a_retry_that_has_begun_is_not_undone() -> None:
    die(3)
    seen = shown(RETRY)
    begin(seen)
    carry_out_due()
    [begun, *_] = in_state("queued")
    change("UPDATE job SET claim = claim + 1, state = 'running', leased_until = now() WHERE id = :id", id=begun)
    undoing = undone(seen.action)
    carry_out_due()
    assert numbers(undoing) == ("done", 2, 1, 0, 3)
    assert in_state("running") == {begun}
    with transaction() as session:
        assert undo(session, seen.action, asked_by="ops", reason="again") == ("undone", None)
        assert undo(session, undoing, asked_by="ops", reason="again") == ("is_undo", None)


def test_what_has_not_begun_is_cancelled_and_put_back_exactly() -> None:
    wait_for_an_hour(12)
    wait_for_an_hour(1, position=3)
    before = rows(OF_JOBS)
    seen = shown(CANCEL)
    assert seen.expected == 12
    begin(seen)
    carry_out_due()
    assert rows("SELECT state, result ->> 'code', due_at IS NULL, count(*) FROM job GROUP BY 1, 2, 3 ORDER BY 4") == [
        ("queued", None, False, 1),
        ("cancelled", "cancelled", True, 12),
    ]
    undone(seen.action)
    carry_out_due()
    assert rows(OF_JOBS) == before


def test_a_cancelled_job_that_was_emptied_since_is_not_put_back() -> None:
    wait_for_an_hour(2)
    seen = shown(CANCEL)
    begin(seen)
    carry_out_due()
    [emptied, *_] = in_state("cancelled")
    change("UPDATE job SET request = NULL WHERE id = :id", id=emptied)
    undoing = undone(seen.action)
    carry_out_due()
    assert numbers(undoing) == ("done", 1, 1, 0, 2)
    assert in_state("cancelled") == {emptied}


def test_the_first_rows_stop_a_retry_that_fails_again() -> None:
    die(50)
    seen = shown(RETRY)
    begin(seen, canary=5)
    carry_out_due()
    assert numbers(seen.action) == ("running", 5, 0, 0, 50)
    assert rows("SELECT note, due_at > now() FROM ops_action") == [("waits for its first rows", True)]
    change("UPDATE job SET failures = 1, claim = claim + 1 WHERE state = 'queued'")
    change("UPDATE ops_action SET due_at = now()")
    carry_out_due()
    assert numbers(seen.action) == ("stopped", 5, 0, 0, 50)
    assert len(in_state("dead")) == 45


def test_a_retry_goes_on_when_its_first_rows_did_well() -> None:
    die(50)
    seen = shown(RETRY)
    begin(seen, canary=5)
    carry_out_due()
    change("UPDATE job SET state = 'succeeded', due_at = NULL, finished_at = now() WHERE state = 'queued'")
    change("UPDATE ops_action SET due_at = now()")
    carry_out_due()
    assert numbers(seen.action) == ("done", 50, 0, 0, 50)


def test_rows_that_are_skipped_are_not_the_first_ones() -> None:
    die(30)
    seen = shown(RETRY)
    change("UPDATE job SET request = NULL WHERE id IN (SELECT id FROM job ORDER BY id LIMIT 8)")
    begin(seen, canary=5)
    carry_out_due()
    assert numbers(seen.action) == ("running", 5, 8, 0, 30)
    assert rows("SELECT note FROM ops_action") == [("waits for its first rows",)]
    change("UPDATE job SET failures = 1, claim = claim + 1 WHERE state = 'queued'")
    change("UPDATE ops_action SET due_at = now()")
    carry_out_due()
    assert numbers(seen.action) == ("stopped", 5, 8, 0, 30)


def test_a_retry_of_which_every_row_is_skipped_ends() -> None:
    die(12)
    seen = shown(RETRY)
    change("UPDATE job SET request = NULL")
    begin(seen, canary=5)
    carry_out_due()
    assert numbers(seen.action) == ("done", 0, 12, 0, 12)


def test_a_look_at_the_first_rows_reads_no_others() -> None:
    die(5_000)
    seen = shown(RETRY)
    begin(seen, canary=20)
    carry_out_due()
    assert numbers(seen.action) == ("running", 20, 0, 0, 5_000)
    change("ANALYZE")
    explain = text(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {JUDGE_FIRST.text}")
    with transaction() as session:
        [(plan,)] = session.execute(explain, {"action": seen.action, "taken": 20}).all()
    assert 20 <= rows_read(plan[0]["Plan"], "ops_action_row") <= 100


def rows_read(plan: dict[str, Any], table: str) -> int:
    """Counts the rows of a table that a statement read, those it filtered out too."""
    below = sum(rows_read(part, table) for part in plan.get("Plans", ()))
    if plan.get("Relation Name") != table:
        return below
    of_a_loop = float(plan["Actual Rows"]) + int(plan.get("Rows Removed by Filter", 0))
    return below + round(of_a_loop * int(plan["Actual Loops"]))


def test_a_rate_limits_the_rows_of_a_part_and_a_stop_leaves_the_rest() -> None:
    die(50)
    seen = shown(RETRY)
    begin(seen, rate=120)
    carry_out_due()
    assert numbers(seen.action) == ("running", 10, 0, 0, 50)
    [(pause,)] = rows("SELECT due_at - (SELECT max(acted_at) FROM ops_action_row) FROM ops_action")
    assert pause == timedelta(seconds=5)
    with transaction() as session:
        assert stop(session, seen.action, asked_by="ops", reason="enough") == "done"
        assert stop(session, seen.action, asked_by="ops", reason="enough") == "not_running"
    carry_out_due()
    assert len(in_state("dead")) == 40
    undone(seen.action)
    carry_out_due()
    assert len(in_state("dead")) == 50


REFUSING = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.kind = 'withdraw' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$"""


def test_a_row_that_the_database_refuses_is_counted_as_failed() -> None:
    die(9)
    die(1, kind="withdraw")
    change(REFUSING)
    change("CREATE TRIGGER refuse BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION refuse()")
    seen = shown(RETRY)
    begin(seen)
    carry_out_due()
    assert numbers(seen.action) == ("done", 9, 0, 1, 10)


def refuse_audit_of_cancels() -> None:
    """Makes each part that cancels something fail, and no other."""
    change("""
        CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE division_by_zero; END $$""")
    change("""
        CREATE TRIGGER broken BEFORE INSERT ON audit FOR EACH ROW WHEN (NEW.action = 'cancel')
        EXECUTE FUNCTION broken()""")


def test_an_action_that_fails_holds_up_no_other_and_stops() -> None:
    wait_for_an_hour(12)
    die(12)
    failing, other = shown(CANCEL), shown(RETRY)
    refuse_audit_of_cancels()
    begin(failing)
    begin(other)
    change("UPDATE ops_action SET due_at = now() - interval '1 minute' WHERE verb = 'cancel'")
    carry_out_due()
    assert numbers(other.action) == ("done", 12, 0, 0, 12)
    assert numbers(failing.action) == ("running", 0, 0, 0, 12)
    assert rows(
        "SELECT note, due_at - now() BETWEEN interval '1 second' AND make_interval(secs => :most)"
        " FROM ops_action WHERE verb = 'cancel'",
        most=RETRY_SECONDS,
    ) == [("failed 1 time: DivisionByZero", True)]
    for _ in range(MOST_FAILURES - 1):
        change("UPDATE ops_action SET due_at = now() WHERE due_at IS NOT NULL")
        carry_out_due()
    said = f"stopped: failed {MOST_FAILURES} times: DivisionByZero"
    assert rows("SELECT state, note, due_at FROM ops_action WHERE verb = 'cancel'") == [("stopped", said, None)]
    assert rows("SELECT detail ->> 'reason' FROM audit WHERE action = 'stop_action'") == [(said,)]


def test_an_action_that_failed_goes_on_once_it_can() -> None:
    wait_for_an_hour(12)
    seen = shown(CANCEL)
    refuse_audit_of_cancels()
    begin(seen)
    carry_out_due()
    change("DROP TRIGGER broken ON audit")
    change("UPDATE ops_action SET due_at = now()")
    carry_out_due()
    assert numbers(seen.action) == ("done", 12, 0, 0, 12)
    assert rows("SELECT note FROM ops_action") == [("",)]


@pytest.mark.parametrize("verb", [RETRY, DISMISS, CANCEL])
def test_a_row_that_something_else_holds_is_skipped(verb: ActionVerb) -> None:
    if verb is CANCEL:
        wait_for_an_hour(12)
    else:
        die(12)
    seen = shown(verb)
    begin(seen)
    [(held,)] = rows("SELECT id FROM job ORDER BY id LIMIT 1")
    with transaction() as session:
        session.execute(text("SELECT FROM job WHERE id = :id FOR UPDATE"), {"id": held})
        carry_out_due()
    assert numbers(seen.action) == ("done", 11, 1, 0, 12)
    assert rows("SELECT why FROM ops_action_row WHERE why IS NOT NULL") == [("changed",)]
    undoing = undone(seen.action)
    with transaction() as session:
        [(second,)] = rows("SELECT id FROM job WHERE id <> :held ORDER BY id LIMIT 1", held=held)
        session.execute(text("SELECT FROM job WHERE id = :id FOR UPDATE"), {"id": second})
        carry_out_due()
    assert numbers(undoing) == ("done", 10, 1, 0, 11)


@pytest.mark.parametrize("verb", [RETRY, DISMISS, CANCEL])
def test_an_undo_that_was_stopped_is_completed_by_another(verb: ActionVerb) -> None:
    if verb is CANCEL:
        wait_for_an_hour(30)
    else:
        die(30)
    before = rows(OF_JOBS)
    seen = shown(verb)
    begin(seen)
    carry_out_due()
    first = undone(seen.action)
    change("UPDATE ops_action SET rate = 120 WHERE id = :id", id=first)
    carry_out_due()
    with transaction() as session:
        assert undo(session, seen.action, asked_by="ops", reason="again") == ("undone", None)
        assert stop(session, first, asked_by="ops", reason="wait") == "done"
    assert numbers(first) == ("stopped", 10, 0, 0, 30)
    second = undone(seen.action)
    carry_out_due()
    assert numbers(second) == ("done", 20, 10, 0, 30)
    assert rows(OF_JOBS) == before
    with transaction() as session:
        assert undo(session, seen.action, asked_by="ops", reason="again") == ("undone", None)


def test_two_clocks_at_once_do_each_row_once() -> None:
    die(3_000)
    begin(shown(RETRY))
    clocks = [threading.Thread(target=carry_out_due) for _ in range(2)]
    for one in clocks:
        one.start()
    for one in clocks:
        one.join()
    carry_out_due()
    assert rows("SELECT state FROM ops_action") == [("done",)]
    assert rows("SELECT count(*), count(DISTINCT subject_id) FROM audit WHERE action = 'retry'") == [(3_000, 3_000)]


def test_another_verb_a_second_time_and_too_late_are_refused() -> None:
    die(12)
    seen = shown(RETRY)
    asked: dict[str, Any] = {"asked_by": "ops", "reason": "cured"}
    with transaction() as session:
        assert confirm(session, seen.action, DISMISS, **asked) == "other_verb"
        assert confirm(session, new_id(), RETRY, **asked) == "unknown"
        assert confirm(session, seen.action, RETRY, asked_by="ops", reason="") == "no_reason"
    change("UPDATE ops_action SET created_at = now() - interval '61 minutes'")
    with transaction() as session:
        assert confirm(session, seen.action, RETRY, **asked) == "too_late"
    change("UPDATE ops_action SET created_at = now()")
    begin(seen)
    with transaction() as session:
        assert confirm(session, seen.action, RETRY, **asked) == "not_shown"


def test_a_dismissed_job_that_is_retried_and_dies_again_is_a_problem() -> None:
    die(1)
    [job] = in_state("dead")
    with transaction() as session:
        act_at_once(session, DISMISS, [UUID(str(job))], asked_by="ops")
        assert [row.why for row in act_at_once(session, DISMISS, [UUID(str(job))], asked_by="ops")] == ["unfit"]
        act_at_once(session, RETRY, [UUID(str(job))], asked_by="ops")
    assert rows("SELECT state, dismissed_at FROM job") == [("queued", None)]


@pytest.mark.heavy
def test_a_killed_clock_is_gone_on_from_without_doubling(processes: Processes) -> None:
    die(20_000)
    seen = shown(RETRY)
    begin(seen, rate=120_000)
    first = processes.clock()
    wait_until(lambda: numbers(seen.action)[1] > 0, say=processes.logs)
    processes.kill(first)
    assert numbers(seen.action)[0] == "running"
    processes.clock()
    wait_until(lambda: numbers(seen.action)[0] == "done", seconds=60, say=processes.logs)
    assert numbers(seen.action) == ("done", 20_000, 0, 0, 20_000)
    assert rows("SELECT count(*), count(DISTINCT subject_id) FROM audit WHERE action = 'retry'") == [(20_000, 20_000)]
