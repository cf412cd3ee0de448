"""The streams of portals with a real worker: what is signed is done, all else is kept as refused, and none is left."""

from typing import Any

from tests.kit.actors.messages import add, arguments, left, portal_client, send, signed
from tests.kit.builders.portals import make_portal
from tests.kit.processes.support import Processes, rows, wait_until
from workers.requests.catalog import PutCompany

JOBS = """
    SELECT i.key, p.name, j.state, j.error ->> 'code' FROM job j JOIN idempotency i ON i.job_id = j.id
    JOIN portal p ON p.id = i.portal_id ORDER BY j.sequence_number"""


def ended(count: int, processes: Processes) -> list[tuple[Any, ...]]:
    """Returns the jobs, once this many have ended."""
    ended_jobs = "SELECT 1 FROM job WHERE finished_at IS NOT NULL"
    wait_until(lambda: len(rows(ended_jobs)) >= count, say=lambda: f"{rows(JOBS)} {left()} {processes.logs()[-2000:]}")
    return rows(JOBS)


def company(number: int) -> PutCompany:
    return PutCompany(reference=f"R-{number}", name="Lorval")


def test_requests_are_done_in_the_order_in_which_they_were_added(processes: Processes) -> None:
    portal = portal_client("stream")
    for number in range(10):
        portal.send(company(number), key=f"one-{number}")
    portal.send_many([(company(number), f"many-{number}") for number in range(300)])
    portal.close()
    processes.worker("requests", "enrollments")
    jobs = ended(310, processes)
    assert [key for key, *_ in jobs] == [f"one-{n}" for n in range(10)] + [f"many-{n}" for n in range(300)]
    assert {(name, state) for _, name, state, _ in jobs} == {("demo", "succeeded")}
    wait_until(lambda: not left(), say=lambda: str(left()))


def test_a_portal_that_is_new_is_read_within_seconds(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    send(company(1), "first", door="stream")
    ended(1, processes)
    newcomer = make_portal("newcomer")
    fields = arguments(portal="newcomer", key_id=newcomer.key_id, key="new")
    add(signed(fields, newcomer.secret), portal="newcomer")
    assert ended(2, processes)[-1] == ("new", "newcomer", "succeeded", None)
