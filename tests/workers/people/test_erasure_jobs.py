"""A portal may erase only its own people; an erasure as a job has its effect once."""

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.retention import RetentionClass
from tests.kit.actors.committed_jobs import (
    all_rows,
    claimed,
    done_twice,
    fail_half_way,
)
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    did,
    enrol_people,
    enrolled,
    everything,
    query,
)
from tests.kit.builders.erasure import (
    ANNE,
    anne,
    did_for,
    erasing,
    other_portal,
    start,
    traces,
)
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.people import erasure
from workers.people.retention import purge
from workers.requests.enrollment import Withdraw
from workers.requests.queues import Queue

# The right to erase


def test_a_portal_may_erase_its_own_people_and_no_others(session: Session) -> None:
    for reference in ("C-1", "C-2"):
        add_contract(session, reference)
        enrol_people(session, anne(), contract=reference)
    enrol_people(session, "zoe")
    portal = other_portal(session, "C-2")
    before = everything(session)
    assert did_for(session, portal, erasing())["result"]["code"] == "shared_account"
    assert did_for(session, portal, erasing("zoe@example.com"))["result"]["code"] == "not_found"
    assert did_for(session, portal, erasing("nobody@example.com"))["result"]["code"] == "not_found"
    after = everything(session)
    assert {table for table in after if after[table] != before[table]} == {"job", "idempotency", "audit"}
    tried = "SELECT result, account_id IS NULL FROM audit WHERE action = 'erase_person' AND portal_id = :p ORDER BY id"
    assert query(session, tried, p=portal) == [("shared_account", False), ("not_found", False), ("not_found", True)]
    did(session, Withdraw(contract="C-1", enrollment_ids=[
        query(session, "SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN account a"
                       " ON a.id = e.account_id WHERE reference = 'C-1' AND email_norm = :email", email=ANNE)[0][0]
    ]))  # fmt: skip
    assert did_for(session, portal, erasing())["result"]["code"] == "shared_account"  # the other portal decides too
    session.execute(text("UPDATE enrollment SET detached_at = now() WHERE withdrawn_at IS NOT NULL"))
    assert did_for(session, portal, erasing())["result"]["code"] == "shared_account"
    assert did_for(session, LOCAL_PORTAL_ID, erasing())["result"]["code"] == "erased"


def test_a_portal_has_those_erased_whom_no_other_ever_enrolled(session: Session) -> None:
    add_contract(session)
    enrol_people(session, anne())
    assert did_for(session, other_portal(session, "C-1"), erasing())["result"]["code"] == "erased"


def test_a_portal_cannot_erase_a_person_without_a_company(session: Session) -> None:
    add_contract(session)
    [enrollment] = enrolled(session, anne())
    did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment]))
    add_contract(session, "C-2")
    portal = other_portal(session, "C-2")
    assert did_for(session, portal, erasing())["result"]["code"] == "not_found"
    # Also not a person who said that they do not belong to this company.
    session.execute(text("UPDATE contract SET portal_id = :portal"), {"portal": portal})
    session.execute(text("UPDATE enrollment SET detached_at = now()"))
    assert did_for(session, portal, erasing())["result"]["code"] == "not_found"
    assert did_for(session, LOCAL_PORTAL_ID, erasing())["result"]["code"] == "erased"


# Done once, also after a crash


def commit_anne() -> None:
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C-2")
        did(session, asking(anne(), "zoe"), asking(anne(), contract="C-2"))
        start(session, "C-2", "completed")
        accepted(session, erasing(), "one")


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    commit_anne()
    taken = claimed(Queue.MAINTENANCE)
    before = done_twice(taken)
    with transaction() as session:
        assert accepted(session, erasing(), "one") == taken[0].id
        [job] = did(session, erasing(), key="another")
    assert (job["state"], job["result"]["code"]) == ("refused", "not_found")
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "idempotency", "audit"}
    assert rows("SELECT result FROM audit WHERE action = 'erase_person' ORDER BY id") == [("done",), ("not_found",)]


@pytest.mark.parametrize("step", ["_leave", "_forget", "_blank_requests", "forget_everywhere", "record"])
def test_an_erasure_that_fails_half_way_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    commit_anne()
    fail_half_way(monkeypatch, erasure, step, Queue.MAINTENANCE)
    assert rows("SELECT CAST(request AS text) LIKE '%lorval%' FROM job WHERE kind = 'erase_person'") == [(True,)]
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    assert rows("SELECT state, failures, request IS NULL FROM job WHERE kind = 'erase_person'") == [
        ("succeeded", 1, True)
    ]
    assert rows("SELECT count(*) FROM certificate_holder") == [(1,)]
    all_rows()


def test_the_work_left_by_an_erasure_ends_by_itself(fresh_database: str) -> None:
    commit_anne()
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    with transaction() as session:
        session.execute(text("UPDATE certificate_holder SET kept_until = now() - interval '1 second'"))
        assert purge(session)[RetentionClass.HOLDER] == 1
        assert traces(session, "lorval") == {}
