"""Messages that wait in Redis without a worker to record them."""

import json
import os
import socket
import time

import pytest

from tests.kit.actors.messages import add, arguments, client, demo, message, push, stream
from workers.engine.broker import make_broker, worker_client
from workers.engine.door_lease import DoorLease
from workers.engine.door_notes import DoorNotes
from workers.engine.streams import DOOR as STREAMS
from workers.ops.unrecorded import UnrecordedRequests, count_unrecorded
from workers.requests.base import REQUESTS_QUEUE
from workers.settings import get_settings


def test_messages_sent_and_not_recorded_are_counted(fresh_database: str) -> None:
    assert count_unrecorded() == UnrecordedRequests(0, None)
    demo()  # is made before the time is taken
    now = time.time() * 1000
    for age in (90, 5, 70):
        push(message() | {"message_timestamp": now - age * 1000})
    found = count_unrecorded()
    assert found is not None
    assert (found.waiting, round(found.oldest_seconds or 0)) == (3, 90)


def test_a_message_that_a_process_has_fetched_is_the_oldest(fresh_database: str) -> None:
    for age in (90, 5):
        push(message() | {"message_timestamp": (time.time() - age) * 1000})
    broker = make_broker(worker_client(os.environ["REDIS_URL"]))
    assert next(broker.consume(REQUESTS_QUEUE)) is not None
    push(message() | {"message_timestamp": time.time() * 1000})
    found = count_unrecorded()
    broker.client.close()
    assert found is not None
    assert (found.waiting, round(found.oldest_seconds or 0)) == (3, 90)


@pytest.mark.parametrize("payload", [b"garbage", b"[]", json.dumps({"message_timestamp": "x"}).encode(), None])
def test_a_message_that_cannot_be_read_has_no_age(fresh_database: str, payload: bytes | None) -> None:
    push(payload)
    assert count_unrecorded() == UnrecordedRequests(int(payload is not None), None)


def test_a_key_that_is_no_text_is_only_counted(fresh_database: str) -> None:
    with client() as opened:
        name = f"{os.environ['REDIS_NAMESPACE']}:requests"
        opened.hset(f"{name}.msgs", b"\xff", b"noise")
        opened.rpush(name, b"\xff")
    assert count_unrecorded() == UnrecordedRequests(1, None)


def test_the_process_that_reads_the_door_is_named(fresh_database: str) -> None:
    with client() as opened:
        lease = DoorLease(opened, os.environ["REDIS_NAMESPACE"], REQUESTS_QUEUE, "me")
        assert lease.renew()
        me = f"{socket.gethostname()}:{os.getpid()}"
        assert count_unrecorded() == UnrecordedRequests(0, None, me)
        lease.release()
    assert count_unrecorded() == UnrecordedRequests(0, None)


def test_a_message_that_holds_up_the_door_is_told(fresh_database: str) -> None:
    push(message())
    with client() as opened:
        notes = DoorNotes(opened, os.environ["REDIS_NAMESPACE"], REQUESTS_QUEUE)
        for _ in range(3):
            notes.note_given_back(b"\xffm", "XX002")
        notes.note_at_fault("57014")
    found = count_unrecorded()
    assert found is not None
    assert found.given_back is not None
    assert found.given_back[:3] == ("\ufffdm", "XX002", 3)
    assert found.as_json()["given_back"]["times"] == 3
    shown = found.as_json()["at_fault"]
    assert (shown["number"], shown["reason"]) == (1, "57014")


def test_requests_in_streams_are_counted_with_their_age(fresh_database: str) -> None:
    demo()
    now = int(time.time() * 1000)
    for portal, age in (("a", 70), ("a", 5), ("b", 90)):
        add(arguments(), portal=portal, entry=f"{now - age * 1000}-1")
    with client() as opened:
        opened.rename(stream("b"), f"{stream('b')}.aside")  # a stream whose identifiers tell no time
    push(message() | {"message_timestamp": now - 20_000})
    found = count_unrecorded()
    assert found is not None
    assert (found.waiting, round(found.oldest_seconds or 0)) == (4, 70)


def test_redis_away_is_told(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{closed.getsockname()[1]}/0")
    get_settings.cache_clear()
    assert count_unrecorded() is None


def test_notes_of_both_doors_are_told_together(fresh_database: str) -> None:
    with client() as opened:
        for door, times in ((REQUESTS_QUEUE, 1), (STREAMS, 2)):
            notes = DoorNotes(opened, os.environ["REDIS_NAMESPACE"], door)
            for _ in range(times):
                notes.note_at_fault("57014")
        DoorNotes(opened, os.environ["REDIS_NAMESPACE"], STREAMS).note_given_back(b"stream 1-1", "XX002")
    found = count_unrecorded()
    assert found is not None
    assert found.given_back is not None
    assert found.given_back[:3] == ("stream 1-1", "XX002", 1)
    assert found.at_fault is not None
    assert found.at_fault.number == 3
