"""Postponed work: the pause of its lane grows, a run of postponements is one row, nothing overtakes it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.batches import attempt_outcomes, claim, fail_on, jobs_done, make_due, owe_jobs, state, work
from tests.kit.builders.contracts import add_contract, asking
from tests.kit.builders.ledgers import QUEUE, failed_attempt, lane, look, owe
from tests.kit.processes.support import change, rows
from workers.actors import certificates, enrollments
from workers.database import Session, transaction
from workers.engine import claimer, processes
from workers.engine import ledger as books
from workers.engine.acceptance import SubmittedRequest, accept_all
from workers.engine.claimer import BatchRun
from workers.engine.ledger import EMAILS, JOBS, Claimed, ClaimedRow, JobColumns, Ledger, WorkOutcome
from workers.engine.processes import resume_postponed
from workers.errors import NotConfigured, Transient
from workers.reading.jobs import show_job

pytestmark = pytest.mark.usefixtures("running", "fresh_database")

MANY = 2_000


@contextmanager
def held(reference: str) -> Iterator[Session]:
    """Holds a contract, as an operator's session or a large job does."""
    with transaction() as holding:
        holding.execute(
            text("SELECT 1 FROM contract WHERE reference = :reference FOR UPDATE"), {"reference": reference}
        )
        yield holding


def owe_enrollments(contract: str, count: int) -> None:
    with transaction() as session:
        requests = [
            asking(f"{contract.lower().replace('-', '')}x{n}", contract=contract, notify=False) for n in range(count)
        ]
        accept_all(
            session, [SubmittedRequest(LOCAL_PORTAL_ID, one, one.model_dump_json(), str(new_id())) for one in requests]
        )


def work_once(size: int = 200) -> int:
    """Claims one batch as a process does, and does it; returns how many rows were claimed."""
    taken = claim(size)
    enrollments.do_batch(taken)
    return len(taken)


def pauses_over() -> None:
    change("UPDATE job SET due_at = now() WHERE due_at > now()")


def test_two_thousand_jobs_behind_one_held_contract_write_one_row() -> None:
    with transaction() as session:
        for reference, seats in (("C-1", MANY // 2), ("C-2", 100)):
            add_contract(session, reference, seats)
    owe_enrollments("C-1", MANY)
    with held("C-1"):
        for number in range(5):
            owe_enrollments("C-2", 1)
            while work_once():  # until nothing more can be done before the pause is over
                pass
            assert rows("SELECT count(*) FROM job WHERE state = 'succeeded'") == [(number + 1,)]
            pauses_over()
        assert rows("SELECT count(*), CAST(sum(times) AS int) FROM job_attempt") == [(1, 5)]
        # The neighbour did not wait until the contract that is held was tried again.
        last = "SELECT max(finished_at) < (SELECT last_at FROM job_attempt) FROM job"
        assert rows(last) == [(True,)]
    while work_once():
        pass
    enrolled = "SELECT result -> 'people' -> 0 ->> 'code' FROM job WHERE request ->> 'contract' = 'C-1'"
    in_order = [code for (code,) in rows(f"{enrolled} ORDER BY sequence_number")]
    assert in_order == ["enrolled"] * (MANY // 2) + ["no_seat_left"] * (MANY // 2)


def test_the_pause_of_a_lane_grows_to_ten_seconds_and_begins_anew() -> None:
    (bad,) = owe_jobs(1)
    pauses = []
    for _ in range(7):
        make_due(bad)
        BatchRun(JOBS, work(fail_on(bad, Transient("held", seconds=0.5)))).run(claim())
        with transaction() as session:
            pauses.append(float(look(session, JOBS, bad)["due_in"]))
    for pause, middle in zip(pauses, (0.5, 1, 2, 4, 8, 10, 10), strict=True):
        assert middle * 0.5 - 0.3 < pause <= middle * 1.5
    make_due(bad)
    BatchRun(JOBS, work(fail_on(bad, ValueError("another fault")))).run(claim())
    make_due(bad)
    BatchRun(JOBS, work(fail_on(bad, Transient("held", seconds=0.5)))).run(claim())
    with transaction() as session:
        assert float(look(session, JOBS, bad)["due_in"]) <= 0.75
    assert attempt_outcomes(bad) == ["postponed", "retry", "postponed"]


def test_a_portal_sees_how_often_and_since_when_a_job_was_postponed() -> None:
    (bad,) = owe_jobs(1)
    for reason in (Transient("held"), Transient("held"), NotConfigured("no key")):
        make_due(bad)
        BatchRun(JOBS, work(fail_on(bad, reason))).run(claim())
    with transaction() as session:
        tried = (show_job(session, bad) or {})["attempts"]
    assert [(one["outcome"], one["error"]["class"], one["times"]) for one in tried] == [
        ("postponed", "Transient", 2),
        ("postponed", "NotConfigured", 1),
    ]
    assert tried[0]["created_at"] < tried[0]["last_at"] < tried[1]["created_at"]


@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_a_new_process_ends_the_pause_of_a_missing_setting(ledger: Ledger[Claimed]) -> None:
    with transaction() as session:
        row_id = owe(session, ledger)
    for _ in range(3):
        change(f"UPDATE {ledger.table} SET due_at = now()")
        with transaction() as session:
            mine = books.claim(session, ledger, QUEUE, size=9, lease=30, worker=new_id())
        BatchRun(ledger, work(fail_on(row_id, NotConfigured("LINK_KEYS is empty")))).run(mine)
    with transaction() as session:
        assert 60 <= float(look(session, ledger, row_id)["due_in"]) <= 180
    assert rows("SELECT times, outcome FROM job_attempt") == [(3, "postponed")]
    resume_postponed(["rosters"])
    with transaction() as session:
        assert float(look(session, ledger, row_id)["due_in"]) > 0
    resume_postponed([QUEUE])
    with transaction() as session:
        assert float(look(session, ledger, row_id)["due_in"]) <= 0


@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_pauses_end_in_parts_and_none_waits_for_a_lock(
    ledger: Ledger[Claimed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESUMED_AT_ONCE", 2)
    with transaction() as session:
        made = [owe(session, ledger, lane=lane(number)) for number in range(9)]
        mine = books.claim(session, ledger, QUEUE, size=9, lease=30, worker=new_id())
        books.set_back(session, ledger, [failed_attempt(ledger, row, "postponed", 60, counts=False) for row in mine])
        owe(session, ledger, lane=lane(10), due=60)  # it was not postponed, and keeps its time
    waiting = f"SELECT count(*) FROM {ledger.table} WHERE due_at > now()"
    with transaction() as holding:
        holding.execute(text(f"SELECT 1 FROM {ledger.table} WHERE id = :id FOR UPDATE"), {"id": made[4]})
        resume_postponed([QUEUE])
        assert rows(waiting) == [(2,)]
    resume_postponed([QUEUE])
    assert rows(waiting) == [(1,)]


def test_the_second_half_of_a_lane_does_not_overtake_its_postponed_first() -> None:
    made = owe_jobs(8, each_in_its_lane=False)

    def do(session: Session, taken: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        if made[6] in {row.id for row in taken}:
            raise ValueError("this one fails")
        if made[2] in {row.id for row in taken}:
            raise Transient("this one waits")
        return work(lambda _: None)(session, taken)

    BatchRun(JOBS, do).run(claim())
    assert jobs_done() == set()
    assert [attempt_outcomes(row_id) for row_id in made] == [["postponed"], *[[]] * 7]
    pauses_over()
    BatchRun(JOBS, work(lambda _: None)).run(claim())
    assert jobs_done() == set(made)


def test_a_job_postponed_behind_one_that_failed_is_not_overtaken() -> None:
    made = owe_jobs(3, each_in_its_lane=False)
    BatchRun(JOBS, work(fail_on(made[0], ValueError("this one")))).run(claim(1))
    BatchRun(JOBS, work(fail_on(made[1], Transient("held")))).run(claim(1))
    assert claim() == []
    assert [state(row_id)[0] for row_id in made] == ["queued"] * 3


def test_lanes_that_are_not_reached_in_time_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claimer, "LANES_SECONDS", 0.1)
    with transaction() as session:
        for number in range(4):
            add_contract(session, f"C-{number}")
    for number in range(4):
        owe_enrollments(f"C-{number}", 1)
    with transaction() as holding:
        holding.execute(text("SELECT 1 FROM contract FOR UPDATE"))
        work_once()
    assert rows("SELECT outcome, times FROM job_attempt") == [("postponed", 1)]
    assert rows("SELECT count(*) FROM job WHERE leased_until IS NULL AND due_at <= now()") == [(3,)]


@pytest.mark.parametrize(
    ("kinds", "small", "duplicates", "behind"),
    [
        ("iir", "iir", "", ""),
        ("dr", "", "d", "r"),
        ("rd", "r", "d", ""),
        ("ddrd", "", "dd", "rd"),
    ],
)
def test_a_revocation_does_not_overtake_a_duplicate_of_its_lane(
    kinds: str, small: str, duplicates: str, behind: str
) -> None:
    names = {"i": "issue_certificate", "r": "revoke_certificate", "d": "duplicate_own_certificate"}
    columns = {kind: JobColumns(name, LOCAL_PORTAL_ID, "{}", 0, "") for kind, name in names.items()}
    jobs = [ClaimedRow(new_id(), 1, 0, 0, lane(1), columns[kind]) for kind in kinds]
    other = ClaimedRow(new_id(), 1, 0, 0, lane(2), columns["r"])
    parts = certificates.in_order([*jobs, other])
    assert ["".join(row.columns.kind[0] for row in part) for part in parts] == [small + "r", duplicates, behind]
