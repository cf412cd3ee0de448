"""The flow of a queue, minute by minute, is as the clock has counted it."""

from sqlalchemy import text

from tests.workers.ops.test_folding import ended, fold
from workers.database import Session
from workers.ops.flows import MINUTES, read_flows, read_waits
from workers.ops.mail_results import read_mail_results

DEPTH = text("""
    INSERT INTO ledger_depth (ledger, minute, queue, waiting, arrived)
    VALUES ('job', date_trunc('minute', now()) - CAST(:ago AS interval), :queue, :waiting, :arrived)""")


def test_minutes_stand_in_their_place_and_the_current_one_is_left_out(session: Session) -> None:
    for ago, waiting in (("0 min", 99), ("1 min", 5), ("60 min", 7), ("61 min", 99)):
        session.execute(DEPTH, {"ago": ago, "queue": "rosters", "waiting": waiting, "arrived": waiting + 1})
    flow = read_flows(session)["rosters"]
    assert flow.waiting == [7] + [0] * (MINUTES - 2) + [5]
    assert flow.arrived == [8] + [0] * (MINUTES - 2) + [6]
    assert (flow.arrived_lately, flow.ended_lately) == (6, 0)


def test_what_ended_is_counted_with_its_waits_for_its_queue_alone(session: Session) -> None:
    for queue, ago in (("enrollments", "5 min"), ("enrollments", "20 min"), ("rosters", "5 min")):
        ended(session, queue=queue, ago=ago, took="3 s", ran="1 s")
    fold(session, 60)
    flows = read_flows(session, "enrollments")
    assert list(flows) == ["enrollments"]
    assert (sum(flows["enrollments"].ended), flows["enrollments"].ended_lately) == (2, 1)
    assert read_waits(session, "enrollments", 60) == [0, 0, 0, 2, 0, 0, 0, 0, 0]
    assert sum(read_waits(session, "enrollments", 15)) == 1
    assert sum(read_waits(session, "emails", 60)) == 0


def test_results_of_mails_are_told_by_their_states(session: Session) -> None:
    for state, rows in (("sent", 5), ("failed", 2), ("expired", 3), ("uncertain", 1), ("cancelled", 9)):
        session.execute(
            text("""
                INSERT INTO ledger_minute (ledger, minute, queue, kind, state, rows, waited, took)
                VALUES ('email', date_trunc('minute', now()), 'emails', 'invitation', :state, :rows,
                  ARRAY[0,0,0,0,0,0,0,0,0], ARRAY[0,0,0,0,0,0,0,0,0])"""),
            {"state": state, "rows": rows},
        )
    assert read_mail_results(session, "email", 60) == (5, 2, 4)
    assert read_mail_results(session, "job", 60) == (0, 0, 0)
