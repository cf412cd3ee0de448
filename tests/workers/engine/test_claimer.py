"""Claimers, the same for every queue: how many claim, when they wake another, and how they stop."""

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.batches import (
    attempt_outcomes,
    do_all,
    owe_jobs,
    state,
)
from tests.kit.actors.messages import client
from tests.kit.builders.ledgers import QUEUE, lane, owe
from tests.kit.processes.support import change, wait_until
from workers.actors import rosters
from workers.database import transaction
from workers.engine import acceptance
from workers.engine import claimer as claiming
from workers.engine import ledger as books
from workers.engine.broker import wake
from workers.engine.claimer import (
    CLAIMERS,
    CLAIMING,
    STOPPING,
    Claimer,
    this_process,
)
from workers.engine.ledger import JOBS, LAST_RESCUE, ClaimedRow
from workers.engine.wake import WAKER
from workers.requests.enrollment import Enroll, PersonToEnroll

pytestmark = pytest.mark.usefixtures("running")


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


def test_few_threads_of_a_process_claim_and_no_wake_up_is_lost(fresh_database: str) -> None:
    go_on, busy, at_once = threading.Event(), [], []

    def slowly(batch: Sequence[ClaimedRow]) -> None:
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
    claimer.answer()  # returns at once and tells the busy ones
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

    def during(batch: Sequence[ClaimedRow]) -> None:
        held.append(CLAIMING.locked())
        do_all(batch)

    Claimer(JOBS, QUEUE, during, size=10).answer()
    assert held == ([True, True] if alone else [False])
    assert {state(row_id)[0] for row_id in made} == {"succeeded"}


def test_a_claimer_takes_the_wake_flag_before_it_claims(fresh_database: str) -> None:
    heard: list[object] = []

    def during(batch: Sequence[ClaimedRow]) -> None:
        with client() as opened:
            heard.append(opened.exists(f"{fresh_database}:wake:{QUEUE}"))
        do_all(batch)

    owe_jobs(1)
    wake(QUEUE)
    Claimer(JOBS, QUEUE, during, size=10).answer()
    assert heard == [0]


@pytest.mark.parametrize("stands", [False, True], ids=["no flag", "a wake-up taken here stands"])
def test_a_claimer_that_worked_long_enough_rings_for_the_next(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, stands: bool
) -> None:
    monkeypatch.setattr(claiming, "ANSWER_SECONDS", 0.0)
    made = owe_jobs(2)

    def during(batch: Sequence[ClaimedRow]) -> None:
        do_all(batch)
        with client() as opened:
            if stands:  # its message came while every claimer of this process was busy
                opened.set(f"{fresh_database}:wake:{QUEUE}", 1)
            opened.delete(f"{fresh_database}:{QUEUE}")

    monkeypatch.setattr(WAKER, "wake_soon", lambda queue: None)
    Claimer(JOBS, QUEUE, during, size=1).answer()
    assert [state(row_id)[0] for row_id in made] == ["succeeded", "queued"]
    with client() as opened:
        assert opened.llen(f"{fresh_database}:{QUEUE}") == 1


def test_a_process_that_stops_claims_no_more_and_tells_another(fresh_database: str) -> None:
    made = owe_jobs(3)

    def once(batch: Sequence[ClaimedRow]) -> None:
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
    assert attempt_outcomes(accepted.job_id) == []
