"""The streams of portals with a real worker: what is signed is done, all else is kept as refused, and none is left."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from models.words import Code
from tests.kit.actors.messages import COMPANY, add, arguments, left, portal_client, send, signed, stream
from tests.kit.builders.portals import make_portal
from tests.kit.processes.killed import flush_redis
from tests.kit.processes.support import Processes, rows, wait_until
from tests.kit.processes.valkey import OwnValkey
from workers.portal_client import SentAnswer
from workers.requests.base import MAX_MESSAGE_BYTES
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


def test_what_is_not_a_signed_request_is_kept_and_never_done(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    send(company(1), "first", door="stream")
    ended(1, processes)
    fields = arguments(key="true")
    add({name: fields[name] for name in ("kind", "version", "key", "body")})
    add(fields | {"body": json.dumps(COMPANY | {"name": "Junk"})})
    add(fields | {"extra": "x"})
    add({"body": "x" * (MAX_MESSAGE_BYTES + 1)})
    add(arguments(key="true", portal="local"))
    add(arguments(key="late", sent_at="1000000000"))
    send(company(2), "true", door="stream")
    assert [row[1:] for row in ended(8, processes)][1:] == [
        *[("local", "refused", code) for code in REFUSED],
        ("demo", "succeeded", None),
    ]
    wait_until(lambda: not left(), say=lambda: str(left()))
    assert rows("SELECT reference FROM company ORDER BY reference") == [("R-1",), ("R-2",)]


REFUSED = (
    Code.UNAUTHORIZED,
    Code.UNAUTHORIZED,
    Code.UNREADABLE_MESSAGE,
    Code.REQUEST_TOO_LARGE,
    Code.UNAUTHORIZED,
    Code.UNAUTHORIZED,
)


def test_a_poisoned_stream_is_read_to_its_end_and_used_again(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    send(company(1), "first", door="stream")
    ended(1, processes)
    add(arguments(key="poison"), entry="18446744073709551615-1")
    wait_until(lambda: can_add(arguments(key="after")), say=processes.logs)
    assert [row[:3] for row in ended(3, processes)] == [
        (key, "demo", "succeeded") for key in ("first", "poison", "after")
    ]
    wait_until(lambda: not left(), say=lambda: str(left()))


def can_add(fields: dict[str, Any]) -> bool:
    """Adds an entry with the next identifier, which Redis refuses after the largest one."""
    try:
        add(fields)
    except redis.ResponseError:
        return False
    return True


def test_a_portal_reads_which_of_its_requests_were_accepted(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    portal = portal_client("stream")
    sent = portal.send_many([(company(1), "one"), (company(1), "one"), (company(2), "one")])
    read: list[SentAnswer] = []

    def has_read(count: int) -> bool:
        read.extend(portal.read_answers(read[-1].place if read else "0-0", seconds=0.1))
        return len(read) == count

    wait_until(lambda: has_read(3), say=processes.logs)
    portal.close()
    assert [(answer.message_id, answer.outcome) for answer in read] == [
        (sent[0], "accepted"),
        (sent[1], "repeated"),
        (sent[2], "conflict"),
    ]
    assert {answer.job_id for answer in read[:2]} == {str(job) for (job,) in rows(JOB_OF_KEY)}


JOB_OF_KEY = "SELECT job_id FROM idempotency WHERE key = 'one'"


def test_while_redis_is_full_portals_are_told_and_reading_goes_on(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    server = valkey()
    use(server.url)
    for number in range(20):
        send(company(number), f"key-{number}", door="stream")
    with server.client() as admin:
        admin.config_set("maxmemory", 1)
        with pytest.raises(redis.OutOfMemoryError):
            send(company(20), "key-20", door="stream")
        processes.worker("requests", "enrollments")
        ended_jobs = "SELECT count(*) FROM job"
        wait_until(lambda: rows(ended_jobs) == [(20,)], say=processes.logs)
        wait_until(lambda: not admin.xlen(stream()), say=processes.logs)
        admin.config_set("maxmemory", 0)
    send(company(20), "key-20", door="stream")
    assert [key for key, *_ in ended(21, processes)] == [f"key-{number}" for number in range(21)]


def test_after_a_flush_of_redis_portals_repeat_and_all_is_done_once(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    send(company(0), "key-0", door="stream")
    ended(1, processes)
    for number in range(1, 4):
        flush_redis()
        send(company(number), f"key-{number}", door="stream")
        ended(number + 1, processes)
    for number in range(4):
        send(company(number), f"key-{number}", door="stream")
    wait_until(lambda: not left(), say=lambda: str(left()))
    assert rows(JOBS) == [(f"key-{number}", "demo", "succeeded", None) for number in range(4)]
