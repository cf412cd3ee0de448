"""The longest lanes of a queue have the names of their contracts and companies; what runs has its process."""

from typing import Any

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.ledgers import owe
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS
from workers.ops import lanes
from workers.ops.capped import StatusCaps
from workers.ops.lanes import read_lanes, read_running
from workers.requests.base import lane_id


def company(session: Session) -> Any:
    return session.execute(text("SELECT id FROM company")).scalar_one()


def test_lanes_are_those_of_contracts_the_longest_first(session: Session) -> None:
    add_contract(session, seats=1)
    of_contract, of_person = lane_id(LOCAL_PORTAL_ID, "contract:C-1"), new_id()
    for _ in range(3):
        owe(session, JOBS, lane=of_contract, due=-60)
    owe(session, JOBS, lane=of_person, due=-90)
    owe(session, JOBS, lane=new_id(), queue="rosters")
    session.execute(text("""UPDATE job SET request = '{"contract": "C-1"}'"""))
    found = read_lanes(session, "enrollments")
    assert [(one.lane, one.waiting, one.name) for one in found] == [(of_contract, 3, "C-1"), (of_person, 1, "")]


def test_lanes_of_mails_are_those_of_companies(session: Session) -> None:
    add_contract(session, seats=1)
    owe(session, EMAILS, lane=company(session), queue="emails")
    owe(session, EMAILS, lane=new_id(), queue="emails")
    reference = session.execute(text("SELECT reference FROM company")).scalar_one()
    named = {(one.name, one.portal) for one in read_lanes(session, "emails")}
    assert named == {(reference, "local"), ("", "")}


def test_only_the_rows_that_are_due_first_are_looked_at(session: Session, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes, "CAPS", StatusCaps(rows=2))
    first, later = new_id(), new_id()
    for lane, due in ((first, -90), (first, -80), (later, -70)):
        owe(session, JOBS, lane=lane, due=due)
    assert [(one.lane, one.waiting) for one in read_lanes(session, "enrollments")] == [(first, 2)]


def test_what_runs_has_the_process_that_does_it(session: Session) -> None:
    worker = new_id()
    session.execute(
        text("INSERT INTO process (id, kind, host, pid) VALUES (:id, 'enrollments', 'par-01', 7)"), {"id": worker}
    )
    for _ in range(2):
        owe(session, JOBS, lane=new_id())
    begun = "UPDATE job SET leased_until = now() + interval '9 s', started_at = now(), worker = :worker"
    session.execute(text(f"{begun} WHERE id = (SELECT max(CAST(id AS text))::uuid FROM job)"), {"worker": worker})
    [one] = read_running(session, "enrollments")
    assert (one.ledger, one.kind, one.host, one.pid) == ("job", "put_company", "par-01", 7)
    assert read_running(session, "rosters") == []
