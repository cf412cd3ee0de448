"""Jobs of a lane are done in the order in which they were recorded, whichever transaction began first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import query
from tests.kit.builders.ledgers import WAITING_FOR_A_LOCK
from tests.kit.processes.support import rows, wait_until
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.acceptance import MOST_LANES, OwedJob, accept, owe_jobs
from workers.engine.ledger import JOBS
from workers.requests.certificates import RevokeCertificate
from workers.requests.internal import IssueCertificate
from workers.requests.queues import Queue

ENROLLMENT = new_id()


def issue(session: Session, enrollment: UUID = ENROLLMENT) -> None:
    """Owes a certificate, as the transaction that sees the completion does."""
    request = IssueCertificate(enrollment_id=enrollment)
    owe_jobs(session, [OwedJob(request, request.key)])


def revoke(session: Session, key: str = "revoke", enrollment: UUID = ENROLLMENT) -> None:
    """Records the portal's request to revoke the certificate."""
    request = RevokeCertificate(enrollment_id=enrollment, reason="issued by mistake")
    accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=key)


def kinds() -> list[str]:
    """Claims all due jobs of certificates; returns their kinds in the order in which they are done."""
    with transaction() as session:
        claimed = books.claim(session, JOBS, Queue.CERTIFICATES, size=500, lease=30, worker=new_id())
    return [row.columns.kind for row in claimed]


def begin(session: Session) -> None:
    """Begins the transaction: what it writes from now on carries this moment, however late that is."""
    session.execute(text("SELECT now()"))


@pytest.mark.parametrize("issued_first", [True, False], ids=["issue, then revoke", "revoke, then issue"])
def test_the_first_committed_is_first_though_its_transaction_began_later(
    fresh_database: str, issued_first: bool
) -> None:
    first, second = (issue, revoke) if issued_first else (revoke, issue)
    with transaction() as early:
        begin(early)
        with transaction() as late:
            first(late)
        second(early)
    done = ["issue_certificate", "revoke_certificate"]
    assert kinds() == (done if issued_first else done[::-1])


@pytest.mark.parametrize("issued_first", [True, False], ids=["issue holds the lane", "revoke holds the lane"])
def test_a_lane_is_recorded_by_one_transaction_after_the_other(fresh_database: str, issued_first: bool) -> None:
    first, second = (issue, revoke) if issued_first else (revoke, issue)

    def later() -> None:
        with transaction() as session:
            second(session)

    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            first(session)
            waiting = pool.submit(later)
            wait_until(lambda: rows(WAITING_FOR_A_LOCK) or waiting.done())
            with transaction() as other:  # another lane waits for none
                revoke(other, "another", new_id())
            assert not waiting.done()
        waiting.result(10)
    done = ["issue_certificate", "revoke_certificate"]
    numbered = "SELECT kind FROM job WHERE request ->> 'enrollment_id' = :id ORDER BY sequence_number"
    assert [kind for (kind,) in rows(numbered, id=str(ENROLLMENT))] == (done if issued_first else done[::-1])


def test_many_at_once_are_done_in_the_order_of_their_commits(fresh_database: str) -> None:
    assert kinds() == []  # opens the pool of connections, before the threads do
    start, recorded = Barrier(4), []

    def record(thread: int) -> None:
        start.wait()
        for number in range(25):
            key = f"{thread}-{number}"
            with transaction() as session:
                begin(session)
                revoke(session, key)
                recorded.append(key)  # no other thread is here before this transaction has ended

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(record, thread) for thread in range(4)]:
            one.result()
    with transaction() as session:
        claimed = books.claim(session, JOBS, Queue.CERTIFICATES, size=500, lease=30, worker=new_id())
        keys = dict(query(session, "SELECT job_id, key FROM idempotency"))
    assert [keys[row.id] for row in claimed] == recorded


def test_a_transaction_that_owes_thousands_of_jobs_takes_few_locks(session: Session) -> None:
    requests = [IssueCertificate(enrollment_id=new_id()) for _ in range(3_000)]
    owe_jobs(session, [OwedJob(one, one.key) for one in requests[:MOST_LANES]])
    owe_jobs(session, [OwedJob(one, one.key) for one in requests[MOST_LANES:]])
    [(held,)] = query(session, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    assert held == MOST_LANES
    names = [str(one.enrollment_id) for one in requests]
    recorded = query(session, "SELECT request ->> 'enrollment_id' FROM job ORDER BY sequence_number")
    assert [name for (name,) in recorded] == names
