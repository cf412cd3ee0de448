"""An old process beside a newer release: it leaves what it does not know, counts no failure and overtakes nothing."""

import json
import os
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Code, Purpose
from tests.kit.actors.batches import attempt_outcomes, jobs_done, make_due, owe_jobs, state, work
from tests.kit.actors.batches import claim as claim_jobs
from tests.kit.actors.messages import client, left, message, push
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.ledgers import QUEUE, both, claim, finished, ids, lane, look, owe
from tests.kit.processes.support import Processes, change, rows, wait_until
from workers import clock
from workers.actors import enrollments
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.claimer import BatchRun
from workers.engine.door import REST_SECONDS
from workers.engine.door_lease import DoorLease
from workers.engine.ledger import EMAILS, JOBS, Claimed, ClaimedRow, Ledger, WorkOutcome
from workers.engine.rollout import is_newer, this_release

pytestmark = pytest.mark.usefixtures("running")

NEW = "order_lunch"


OTHER = text("INSERT INTO process (id, kind, host, pid, release) VALUES (:id, 'rosters', 'there', 1, '99.0.0')")


def test_a_job_of_an_unknown_kind_waits_and_so_does_its_lane(session: Session) -> None:
    session.execute(OTHER, {"id": new_id()})
    owe(session, JOBS, kind=NEW)
    owe(session, JOBS)
    other = owe(session, JOBS, lane=lane(2))
    assert ids(claim(session, JOBS, size=1)) == [other]
    assert claim(session, JOBS) == []


def test_without_another_release_unknown_jobs_hold_up_no_lane(session: Session) -> None:
    """A release was taken back: what it left waits for a day, and a contract may not wait with it."""
    for _ in range(3):
        owe(session, JOBS, kind=NEW)
    owe(session, JOBS, kind=NEW, lane=lane(2))
    known = owe(session, JOBS)
    other = owe(session, JOBS, lane=lane(3))
    assert ids(claim(session, JOBS, size=1)) == [known]
    assert ids(claim(session, JOBS, size=1, cursor=lane(1))) == [other]


def test_jobs_before_an_unknown_one_are_done_and_those_behind_wait(session: Session) -> None:
    session.execute(OTHER, {"id": new_id()})
    before = [owe(session, JOBS) for _ in range(2)]
    owe(session, JOBS, kind=NEW)
    owe(session, JOBS)
    mine = claim(session, JOBS)
    assert ids(mine) == before
    books.finish(session, JOBS, finished(JOBS, mine))
    assert claim(session, JOBS) == []


def test_a_job_in_a_newer_version_of_its_kind_waits(session: Session) -> None:
    row_id = owe(session, JOBS)
    session.execute(text("UPDATE job SET version = 2"))
    assert claim(session, JOBS) == []
    session.execute(text("UPDATE job SET version = 1"))
    assert ids(claim(session, JOBS)) == [row_id]


def test_a_mail_of_an_unknown_kind_waits_and_delays_no_other(session: Session) -> None:
    owe(session, EMAILS, kind=NEW, due=-9)
    other = owe(session, EMAILS)
    assert ids(claim(session, EMAILS, size=1)) == [other]
    assert claim(session, EMAILS) == []


def process(kind: str, release: str, *, ago: str = "1 second") -> None:
    change(
        "INSERT INTO process (id, kind, host, pid, release, seen_at)"
        f" VALUES (:id, :kind, 'there', 1, :release, now() - interval '{ago}')",
        id=new_id(),
        kind=kind,
        release=release,
    )


UNREAD = {
    "a field": {"reference": "R-1", "name": "Lorval", "nickname": "Lo"},
    "a word": {"contract": "C-1", "people": [], "policy": "best_effort"},
}


@pytest.mark.parametrize(("kind", "body"), [("put_company", UNREAD["a field"]), ("enroll", UNREAD["a word"])])
def test_a_body_that_only_a_newer_release_reads_waits(fresh_database: str, kind: str, body: object) -> None:
    good = json.dumps({"reference": "R-2", "name": "Acm\u00e9"})
    with transaction() as session:
        unread = owe(session, JOBS, kind=kind, request=json.dumps(body))
        others = [owe(session, JOBS, lane=lane(n), request=good) for n in (2, 3)]
    enrollments.do_batch(claim_jobs())
    assert [state(row_id)[0] for row_id in others] == ["succeeded"] * 2
    for _ in range(9):
        make_due(unread)
        enrollments.do_batch(claim_jobs())
    assert state(unread) == ("queued", 0, 10)
    assert rows("SELECT outcome, times, error ->> 'reason' FROM job_attempt") == [("postponed", 10, "unreadable")]


@pytest.mark.parametrize("another", [True, False], ids=["another release runs", "none does"])
def test_a_lane_waits_for_what_another_release_can_read(fresh_database: str, another: bool) -> None:
    if another:
        process("rosters", "99.0.0")
    good = json.dumps({"reference": "R-2", "name": "Acm\\u00e9"})
    with transaction() as session:
        unread = owe(session, JOBS, request=json.dumps(UNREAD["a field"]))
        behind = owe(session, JOBS, request=good)
    for _ in range(2):
        enrollments.do_batch(claim_jobs())
    assert [state(row_id)[0] for row_id in (unread, behind)] == ["queued", "queued" if another else "succeeded"]


def test_a_stored_word_of_a_newer_release_counts_no_failure(fresh_database: str) -> None:
    made = owe_jobs(4)

    def do(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        if made[2] in {row.id for row in held}:
            Purpose("single_sign_on")
        return work(lambda _: None)(session, held)

    BatchRun(JOBS, do).run(claim_jobs())
    assert jobs_done() == set(made) - {made[2]}
    assert state(made[2])[:2] == ("queued", 0)
    assert attempt_outcomes(made[2]) == ["postponed"]


def test_after_a_day_unreadable_work_is_dead_with_that_reason(fresh_database: str) -> None:
    with transaction() as session:
        unread = owe(session, JOBS, request=json.dumps(UNREAD["a field"]))
    for day, stands in (("23 hours", "queued"), ("24 hours", "dead")):
        enrollments.do_batch(claim_jobs())
        change(f"UPDATE job SET due_at = now(), postponed_at = now() - interval '{day}'")
        enrollments.do_batch(claim_jobs())
        assert state(unread)[0] == stands
    [(error,)] = rows("SELECT error FROM job")
    assert isinstance(error, dict)
    assert (error["class"], error["reason"]) == ("InvalidRequest", "unreadable")
    with transaction() as session:
        assert books.revive(session, unread) == QUEUE  # a release that reads it may be here now
    enrollments.do_batch(claim_jobs())
    assert state(unread)[0] == "queued"


@both
def test_work_of_an_unknown_kind_is_dead_after_a_day(fresh_database: str, ledger: Ledger[Claimed]) -> None:
    with transaction() as session:
        old, young = (owe(session, ledger, kind=NEW, due=due) for due in (-86_401, -86_000))
        known = owe(session, ledger, due=-90_000)
    clock.bury_unknown()
    with transaction() as session:
        assert [look(session, ledger, row_id)["state"] for row_id in (old, young, known)] == [
            ledger.dead,
            ledger.waiting,
            ledger.waiting,
        ]
        assert look(session, ledger, old)["error"]["class"] == "UnknownKind"
    assert attempt_outcomes(old) == ["dead"]


def test_a_clock_of_an_older_release_buries_nothing(fresh_database: str) -> None:
    process("clock", "99.0.0", ago="11 seconds")
    process("emails", this_release())
    process("emails", "0.1.9")
    process("emails", "")
    with transaction() as session:
        row_id = owe(session, JOBS, kind=NEW, due=-90_000)
    process("rosters", "99.0.0")
    clock.bury_unknown()
    assert state(row_id)[0] == "queued"
    change("DELETE FROM process WHERE kind = 'rosters'")
    clock.bury_unknown()
    assert state(row_id)[0] == "dead"


def test_a_schedule_of_an_unknown_kind_keeps_its_slot(fresh_database: str) -> None:
    change("UPDATE schedule SET paused = true")
    change("INSERT INTO schedule (name, cron, kind, next_run_at) VALUES ('lunch', '0 12 * * *', 'order_lunch', now())")
    before = rows("SELECT next_run_at, last_run_at FROM schedule WHERE name = 'lunch'")
    with transaction() as session:
        assert clock.fire_schedules(session) == []
    assert rows("SELECT next_run_at, last_run_at FROM schedule WHERE name = 'lunch'") == before


@pytest.mark.heavy
def test_an_old_door_leaves_what_it_does_not_know_to_the_newer(processes: Processes) -> None:
    process("requests enrollments", "99.0.0")
    processes.worker("requests", "enrollments", threads=2)
    change("UPDATE process SET seen_at = now() + interval '1 hour' WHERE release = '99.0.0'")
    push(message('{"reference": "R-1", "name": "Lorval"}', key="before"))
    push(message("{}", kind=NEW, key="one"))
    push(message('{"reference": "R-1", "name": "Lorval", "nickname": "Lo"}', key="two"))
    push(message(version=2, key="three"))
    push(b"of a newer protocol")
    push(message('{"reference": "R-1", "name": "Lorval SAS"}', key="behind"))
    wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'succeeded'"), say=processes.logs)
    wait_until(lambda: processes.logs().count("message.left_to_newer_release") >= 2, say=processes.logs)
    assert rows("SELECT key FROM idempotency") == [("before",)]  # what comes behind does not overtake
    with client() as opened:
        assert opened.hlen(f"{os.environ['REDIS_NAMESPACE']}:requests.msgs") == 5
    change("UPDATE process SET seen_at = now() - interval '1 hour' WHERE release = '99.0.0'")
    wait_until(lambda: rows("SELECT count(*) FROM job WHERE finished_at IS NOT NULL") == [(6,)], say=processes.logs)
    codes = rows(
        "SELECT i.key, j.error ->> 'code' FROM job j JOIN idempotency i ON i.job_id = j.id"
        " WHERE i.key !~ '^refused' ORDER BY j.sequence_number"
    )
    assert codes == [
        ("before", None),
        ("one", Code.UNKNOWN_KIND),
        ("two", Code.INVALID_REQUEST),
        ("three", Code.UNKNOWN_KIND),
        ("behind", None),
    ]
    wait_until(lambda: not left(), say=lambda: str(left()))


@pytest.mark.heavy
def test_a_door_left_to_a_newer_release_is_free_for_it_at_once(processes: Processes) -> None:
    process("requests enrollments", "99.0.0")
    change("UPDATE process SET seen_at = now() + interval '1 hour' WHERE release = '99.0.0'")
    with client() as opened:
        newer = DoorLease(opened, os.environ["REDIS_NAMESPACE"], "requests", "newer")
        processes.worker("requests", "enrollments", threads=2)
        push(message("{}", kind=NEW, key="one"))
        push(message(key="two"))
        wait_until(lambda: "bundle.left" in processes.logs(), say=processes.logs)
        wait_until(newer.renew, seconds=REST_SECONDS)
        held = [opened.lrange(f"{os.environ['REDIS_NAMESPACE']}:requests{part}", 0, -1) for part in (".taken", "")]
        assert [len(keys) for keys in held] == [0, 2]  # in order, for the newer one to begin with
    assert rows("SELECT 1 FROM job") == []


def test_a_starting_worker_takes_up_what_older_ones_could_not_read(processes: Processes) -> None:
    with transaction() as session:
        add_contract(session)
        row_id: UUID = owe(session, JOBS, request=json.dumps({"reference": "R-2", "name": "Acm\u00e9"}))
    change("UPDATE job SET postponements = 9, claim = 9, postponed_at = now(), due_at = now() + interval '1 hour'")
    processes.worker("enrollments")
    wait_until(lambda: state(row_id)[0] == "succeeded", say=processes.logs)
    assert rows("SELECT release FROM process") == [(this_release(),)]


@pytest.mark.parametrize(
    ("release", "than", "newer"),
    [
        ("0.2.0", "0.2.0", False),
        ("0.3.0", "0.2.9", True),
        ("0.10.0", "0.9.0", True),
        ("0.2.0", "0.2.1", False),
        ("0.2.1.dev3", "0.2.0", True),
        ("", "0.2.0", False),
        ("unknown", "0.2.0", False),
        ("9" * 30, "0.2.0", True),
    ],
)
def test_which_release_is_newer(release: str, than: str, newer: bool) -> None:
    assert is_newer(release, than) is newer
