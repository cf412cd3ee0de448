"""How failures are dealt with, for every queue alike: on real rows, with work that fails as told."""

import threading
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models.portal import LOCAL_PORTAL_ID
from models.retry import DEFAULT
from tests.ledgers import QUEUE, attempts, lane, look, owe
from tests.messages import client
from tests.support import change, rows, wait_until
from workers import ledger as books
from workers.actors import claimer as claiming
from workers.actors import rosters
from workers.actors.claimer import CLAIMERS, CLAIMING, STOPPING, SYSTEMIC, BatchRun, Claimer, this_process
from workers.actors.ringer import RINGER
from workers.broker import ring
from workers.database import Session, transaction
from workers.errors import Permanent, Transient
from workers.ledger import FIRST_LANE, JOBS, LAST_RESCUE, Claimed, LostClaimError, Outcome, Work
from workers.requests import Enroll, PersonToEnroll
from workers.services import acceptance

Fault = Callable[[UUID], Exception | None]


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    STOPPING.clear()
    yield
    STOPPING.clear()


def owe_jobs(count: int, *, each_in_its_lane: bool = True) -> list[UUID]:
    with transaction() as session:
        return [owe(session, JOBS, lane=lane(n + 1 if each_in_its_lane else 1)) for n in range(count)]


def claim(size: int = 100) -> list[Claimed]:
    with transaction() as session:
        return books.claim(session, JOBS, QUEUE, size=size, lease=30, worker=this_process(), cursor=FIRST_LANE)


def now_due(row_id: UUID) -> None:
    change("UPDATE job SET due_at = now() WHERE id = :id", id=row_id)


def state(row_id: UUID) -> tuple[str, int, int]:
    with transaction() as session:
        row = look(session, JOBS, row_id)
    return row["state"], row["failures"], row["claim"]


def kept(row_id: UUID) -> list[str]:
    with transaction() as session:
        return [outcome for _, outcome in attempts(session, row_id)]


def work(fault: Fault) -> Work:
    """Work that leaves a trace of each row, and fails on rows as told."""

    def do(session: Session, held: Sequence[Claimed]) -> list[Outcome]:
        for row in held:
            session.execute(
                text("INSERT INTO audit (action, result, requested_by, job_id) VALUES ('t', '', '', :id)"),
                {"id": row.id},
            )
            error = fault(row.id)
            if error:
                raise error
        return [Outcome(row.id, row.claim, "succeeded") for row in held]

    return do


def done() -> set[object]:
    found = [row[0] for row in rows("SELECT job_id FROM audit")]
    assert len(found) == len(set(found)), "done twice"
    return set(found)


def fails(bad: UUID | None, error: Exception) -> Fault:
    return lambda row_id: error if row_id == bad else None


def do_all(batch: Sequence[Claimed]) -> None:
    BatchRun(JOBS, work(lambda _: None)).run(batch)


def test_a_failing_batch_is_halved_down_to_the_row_that_fails(fresh_database: str) -> None:
    made = owe_jobs(16)
    BatchRun(JOBS, work(fails(made[5], ValueError("this one")))).run(claim())
    assert done() == set(made) - {made[5]}
    assert {state(row_id)[0] for row_id in made if row_id != made[5]} == {"succeeded"}
    assert state(made[5]) == ("queued", 1, 1)
    assert kept(made[5]) == ["retry"]


def test_a_row_that_goes_on_failing_is_dead_in_the_end_with_its_error(fresh_database: str) -> None:
    (bad,) = owe_jobs(1)
    for _ in range(DEFAULT.max_attempts):
        now_due(bad)
        BatchRun(JOBS, work(fails(bad, ValueError("Wrong \\x00 \\ud800 value")))).run(claim())
    assert state(bad) == ("dead", DEFAULT.max_attempts, DEFAULT.max_attempts)
    assert kept(bad) == ["retry"] * (DEFAULT.max_attempts - 1) + ["dead"]
    ((error,),) = rows("SELECT error FROM job")
    assert isinstance(error, dict)
    assert (error["class"], error["message"]) == ("ValueError", "Wrong \\x00 \\ud800 value")
    assert "test_claimer.py" in error["traceback"]
    assert claim() == []


def test_the_pause_before_a_retry_follows_the_policy(fresh_database: str) -> None:
    (bad,) = owe_jobs(1)
    for failures in range(1, 4):
        now_due(bad)
        BatchRun(JOBS, work(fails(bad, ValueError()))).run(claim())
        with transaction() as session:
            due_in = float(look(session, JOBS, bad)["due_in"])
        longest = DEFAULT.seconds_after(failures, 1.0)
        assert longest is not None
        assert longest / 3 - 1 < due_in <= longest


@pytest.mark.parametrize(
    "error",
    [Transient("relay away", seconds=9), OperationalError("SELECT 1", {}, Exception("gone")), LostClaimError("theirs")],
    ids=["ours", "of the database", "a lost claim"],
)
def test_a_fault_around_the_work_postpones_all_of_it_and_burns_no_attempt(
    fresh_database: str, error: Exception
) -> None:
    made = owe_jobs(8)
    BatchRun(JOBS, work(fails(made[3], error))).run(claim())
    assert done() == set()
    assert {state(row_id) for row_id in made} == {("queued", 0, 1)}
    assert {tuple(kept(row_id)) for row_id in made} == {("postponed",)}


def test_a_row_that_breaks_the_connection_is_found_and_counted(fresh_database: str) -> None:
    """The backend that serves the work dies each time it meets this row."""
    made = owe_jobs(8)

    def do(session: Session, held: Sequence[Claimed]) -> list[Outcome]:
        if made[5] in {row.id for row in held}:
            backend = session.execute(text("SELECT pg_backend_pid()")).scalar()
            change("SELECT pg_terminate_backend(:backend, 10000)", backend=backend)
        return [*work(lambda _: None)(session, held)]

    BatchRun(JOBS, do).run(claim())
    assert done() == set(made) - {made[5]}
    assert state(made[5]) == ("queued", 1, 1)
    assert kept(made[5]) == ["retry"]


def test_a_connection_lost_before_the_work_blames_no_row(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = owe_jobs(2)
    mine = claim()

    def lost(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"), connection_invalidated=True)

    with monkeypatch.context() as during:
        during.setattr(books, "hold", lost)
        do_all(mine)
    assert {state(row_id) for row_id in made} == {("queued", 0, 1)}


def test_three_rows_failing_alike_are_not_to_blame_and_the_rest_waits(fresh_database: str) -> None:
    made = owe_jobs(16)
    BatchRun(JOBS, work(lambda _: KeyError("a table is missing"))).run(claim())
    ends = [tuple(kept(row_id)) for row_id in made]
    assert ends.count(("retry",)) == SYSTEMIC
    assert ends.count(("postponed",)) == len(made) - SYSTEMIC
    assert sum(state(row_id)[1] for row_id in made) == SYSTEMIC


def test_rows_failing_each_in_its_own_way_are_judged_one_by_one(fresh_database: str) -> None:
    made = owe_jobs(8)
    errors = dict(zip(made, (ValueError(), KeyError(), TypeError(), OSError()) * 2, strict=True))
    BatchRun(JOBS, work(lambda row_id: errors[row_id])).run(claim())
    assert {tuple(kept(row_id)) for row_id in made} == {("retry",)}


def test_what_cannot_help_is_not_repeated(fresh_database: str) -> None:
    made = owe_jobs(4)
    BatchRun(JOBS, work(fails(made[0], Permanent("never")))).run(claim())
    assert done() == set(made[1:])
    assert state(made[0]) == ("dead", 1, 1)
    assert kept(made[0]) == ["dead"]


def test_work_whose_row_was_taken_back_leaves_nothing(fresh_database: str) -> None:
    made = owe_jobs(2)
    mine = claim()
    change("UPDATE job SET claim = claim + 1, worker = NULL WHERE id = :id", id=made[0])
    do_all(mine)
    assert done() == {made[1]}
    assert state(made[0]) == ("running", 0, 2)


def test_a_batch_that_was_taken_back_as_a_whole_does_nothing(fresh_database: str) -> None:
    made = owe_jobs(2)
    mine = claim()
    change("UPDATE job SET claim = claim + 1")
    do_all(mine)
    assert done() == set()
    assert {state(row_id) for row_id in made} == {("running", 0, 2)}


def test_an_outage_while_the_failure_is_recorded_loses_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bad,) = owe_jobs(1)
    mine = claim()

    def away(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("gone"))

    with monkeypatch.context() as during:
        during.setattr(books, "set_back", away)
        BatchRun(JOBS, work(fails(bad, ValueError()))).run(mine)
    assert state(bad) == ("running", 0, 1)
    change("UPDATE job SET leased_until = now() - interval '1 second'")
    with transaction() as session:
        books.rescue(session, JOBS)
    do_all(claim())
    assert state(bad)[0] == "succeeded"


def test_an_outage_while_claiming_is_waited_out(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (row_id,) = owe_jobs(1)
    claimer = Claimer(JOBS, QUEUE, do_all, size=10)

    def away(*_: object, **__: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("gone"))

    with monkeypatch.context() as during:
        during.setattr(books, "claim", away)
        claimer.answer()
    assert state(row_id) == ("queued", 0, 0)
    claimer.answer()
    assert state(row_id)[0] == "succeeded"


def test_only_so_many_threads_of_a_process_claim_and_a_bell_meanwhile_is_not_lost(fresh_database: str) -> None:
    go_on, busy, at_once = threading.Event(), [], []

    def slowly(batch: Sequence[Claimed]) -> None:
        busy.append(threading.current_thread())
        at_once.append(len(busy))
        assert go_on.wait(20)
        do_all(batch)
        busy.pop()

    claimer = Claimer(JOBS, QUEUE, slowly, size=1)
    owe_jobs(CLAIMERS)
    threads = [threading.Thread(target=claimer.answer) for _ in range(CLAIMERS)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(busy) == CLAIMERS)
    with transaction() as session:
        late = owe(session, JOBS, lane=lane(99))
    claimer.answer()  # returns at once: the bell is heard by those who are busy
    assert state(late)[0] == "queued"
    go_on.set()
    for thread in threads:
        thread.join()
    assert state(late)[0] == "succeeded"
    assert max(at_once) == CLAIMERS


@pytest.mark.parametrize(("rescues", "alone"), [(0, False), (LAST_RESCUE - 1, False), (LAST_RESCUE, True)])
def test_while_a_row_has_its_last_chance_its_process_claims_nothing_else(
    fresh_database: str, rescues: int, alone: bool
) -> None:
    made = owe_jobs(2)
    change("UPDATE job SET rescues = :rescues", rescues=rescues)
    held: list[bool] = []

    def during(batch: Sequence[Claimed]) -> None:
        held.append(CLAIMING.locked())
        do_all(batch)

    Claimer(JOBS, QUEUE, during, size=10).answer()
    assert held == ([True, True] if alone else [False])
    assert {state(row_id)[0] for row_id in made} == {"succeeded"}


def test_a_claimer_silences_the_bell_before_it_claims(fresh_database: str) -> None:
    heard: list[object] = []

    def during(batch: Sequence[Claimed]) -> None:
        with client() as opened:
            heard.append(opened.exists(f"{fresh_database}:bell:{QUEUE}"))
        do_all(batch)

    owe_jobs(1)
    ring(QUEUE)
    Claimer(JOBS, QUEUE, during, size=10).answer()
    assert heard == [0]


@pytest.mark.parametrize("stands", [False, True], ids=["no bell", "a bell answered here stands"])
def test_a_claimer_that_worked_long_enough_rings_for_the_next(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, stands: bool
) -> None:
    monkeypatch.setattr(claiming, "ANSWER_SECONDS", 0.0)
    made = owe_jobs(2)

    def during(batch: Sequence[Claimed]) -> None:
        do_all(batch)
        with client() as opened:
            if stands:  # its message came while every claimer of this process was busy
                opened.set(f"{fresh_database}:bell:{QUEUE}", 1)
            opened.delete(f"{fresh_database}:{QUEUE}")

    monkeypatch.setattr(RINGER, "ring_soon", lambda queue: None)
    Claimer(JOBS, QUEUE, during, size=1).answer()
    assert [state(row_id)[0] for row_id in made] == ["succeeded", "queued"]
    with client() as opened:
        assert opened.llen(f"{fresh_database}:{QUEUE}") == 1


def test_a_process_that_stops_claims_no_more_and_tells_another(fresh_database: str) -> None:
    made = owe_jobs(3)

    def once(batch: Sequence[Claimed]) -> None:
        STOPPING.set()
        do_all(batch)

    Claimer(JOBS, QUEUE, once, size=1).answer()
    assert [state(row_id)[0] for row_id in made] == ["succeeded", "queued", "queued"]
    with client() as opened:
        assert opened.llen(f"{fresh_database}:{QUEUE}") >= 1


def test_a_large_request_is_given_back_between_two_chunks(fresh_database: str) -> None:
    person = PersonToEnroll(email="a@example.com", first_name="Perle", last_name="Lorval")
    request = Enroll.model_validate_json(
        Enroll(contract="K-1", people=[person] * 1_500).model_dump_json().replace("all_or_nothing", "until_full")
    )
    with transaction() as session:
        accepted = acceptance.accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="one")
    STOPPING.set()
    with transaction() as session:
        mine = books.claim(session, JOBS, "rosters", size=1, lease=30, worker=this_process())
    rosters.do_batch(mine)
    assert state(accepted.job_id) == ("queued", 0, 1)
    assert kept(accepted.job_id) == []
