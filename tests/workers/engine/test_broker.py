"""Wake-ups, and the consumer that reads them, on a real Valkey."""

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest
from dramatiq.broker import MessageProxy
from sqlalchemy import text

from tests.kit.actors.messages import (
    client,
    left,
    push,
    send,
)
from tests.kit.processes.support import (
    Processes,
    forget,
    rows,
    wait_until,
)
from workers.database import transaction
from workers.engine.broker import (
    WAKE_FLAG_MS,
    WakeBroker,
    make_broker,
    producer_client,
    take_wake_flag,
    wake,
)
from workers.engine.consumer import MAINTENANCE_SECONDS, SteadyConsumer
from workers.requests.catalog import PutCompany
from workers.requests.queues import Queue


@pytest.fixture
def refused_redis(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points to a Redis that refuses connections."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{closed.getsockname()[1]}/0")
    forget()


@pytest.fixture
def broker(fresh_database: str) -> Iterator[WakeBroker]:
    """Creates a broker with one actor on `enrollments`."""
    made = make_broker(producer_client(os.environ["REDIS_URL"]))
    made.declare_queue(Queue.ENROLLMENTS)
    yield made
    made.client.close()


def wake_ups(queue: str = Queue.ENROLLMENTS) -> int:
    with client() as opened:
        return int(opened.llen(f"{os.environ['REDIS_NAMESPACE']}:{queue}"))


def test_a_queue_is_woken_once_until_its_flag_is_taken(fresh_database: str) -> None:
    for _ in range(5):
        wake(Queue.ENROLLMENTS)
    wake(Queue.ROSTERS)
    assert (wake_ups(), wake_ups(Queue.ROSTERS)) == (1, 1)
    take_wake_flag(Queue.ENROLLMENTS)
    wake(Queue.ENROLLMENTS)
    assert wake_ups() == 2


def test_a_wake_up_that_is_not_taken_counts_for_two_seconds_only(fresh_database: str) -> None:
    wake(Queue.ENROLLMENTS)
    with client() as opened:
        assert 0 < opened.pttl(f"{os.environ['REDIS_NAMESPACE']}:wake:enrollments") <= WAKE_FLAG_MS


def test_ringing_never_fails_the_caller(refused_redis: None) -> None:
    before = time.monotonic()
    wake(Queue.ENROLLMENTS)
    take_wake_flag(Queue.ENROLLMENTS)
    assert time.monotonic() - before < 5


def test_there_is_no_delay_queue(broker: WakeBroker) -> None:
    assert broker.get_declared_queues() == {"enrollments"}
    assert broker.delay_queues == set()


def test_an_idle_queue_is_looked_at_each_second(broker: WakeBroker) -> None:
    consumer = broker.consume("enrollments", timeout=60_000)
    before = time.monotonic()
    assert [next(consumer) for _ in range(2)] == [None] * 2
    assert time.monotonic() - before < 4


def test_closing_gives_back_what_was_not_looked_at(broker: WakeBroker) -> None:
    sent = [push(b"noise %d" % number, queue="enrollments") for number in range(3)]
    consumer = broker.consume("enrollments", prefetch=10)
    first = next(consumer)
    assert first is not None
    assert wake_ups() == 0
    consumer.close()
    assert wake_ups() == 2
    consumer.ack(first)
    other = broker.consume("enrollments", prefetch=10)
    seen = [next(other) for _ in range(2)]
    assert [getattr(message, "raw", None) for message in seen] == sent[1:]


def test_a_done_message_is_deleted_with_the_next_fetch(broker: WakeBroker) -> None:
    for number in range(3):
        push(b"noise %d" % number, queue="enrollments")
    consumer = broker.consume("enrollments", prefetch=2)
    first, second = next(consumer), next(consumer)
    assert first is not None
    assert second is not None
    consumer.ack(first)
    third = next(consumer)
    assert third is not None
    consumer.ack(second)
    consumer.ack(third)
    assert next(consumer) is None
    assert left() == {}


def test_a_message_done_after_the_end_is_deleted_at_once(broker: WakeBroker) -> None:
    push(b"noise", queue="enrollments")
    consumer = broker.consume("enrollments")
    message = next(consumer)
    assert message is not None
    consumer.close()
    consumer.ack(message)
    assert left() == {}


def test_a_key_without_a_message_holds_nothing_up(broker: WakeBroker) -> None:
    push(None, queue="enrollments")
    sent = push(b"noise", queue="enrollments")
    consumer = broker.consume("enrollments", prefetch=2)
    message = next(consumer)
    assert getattr(message, "raw", None) == sent


def after_a_while(consumer: SteadyConsumer) -> MessageProxy | None:
    """Returns the message that the consumer finds when it next searches for abandoned messages."""
    consumer._maintained_at -= MAINTENANCE_SECONDS
    found: MessageProxy | None = next(consumer)
    return found


def test_messages_of_a_fetch_whose_answer_was_lost_are_put_back(broker: WakeBroker) -> None:
    sent = [push(b"noise %d" % number, queue="enrollments") for number in range(3)]
    consumer = broker.consume("enrollments", prefetch=4)
    first = next(consumer)
    assert first is not None
    # As after a fetch with a lost answer: no consumer has the message.
    consumer.message_cache.clear()
    consumer.ack(first)
    assert next(consumer) is None
    seen = [after_a_while(consumer), next(consumer)]
    assert {getattr(message, "raw", None) for message in seen} == set(sent[1:])
    assert after_a_while(consumer) is None  # a message in work is not delivered twice


def test_messages_fetched_by_a_dead_process_go_to_the_next(broker: WakeBroker) -> None:
    sent = push(b"noise", queue="enrollments")
    dead = broker.consume("enrollments")
    assert next(dead) is not None
    with client() as opened:  # its last heartbeat was two minutes ago
        beats = f"{os.environ['REDIS_NAMESPACE']}:__heartbeats__"
        opened.zadd(beats, {broker.broker_id: int((time.time() - 120) * 1000)})
    living = make_broker(producer_client(os.environ["REDIS_URL"]))
    consumer = living.consume("enrollments")
    message = after_a_while(consumer)
    assert message is not None
    assert getattr(message, "raw", None) == sent
    consumer.ack(message)
    consumer.close()
    assert left() == {}
    living.client.close()


def test_a_message_given_back_is_read_again(broker: WakeBroker) -> None:
    push(b"noise", queue="enrollments")
    consumer = broker.consume("enrollments")
    message = next(consumer)
    assert message is not None
    message.given_back = True  # type: ignore[attr-defined]
    consumer.ack(message)
    again = next(consumer)
    assert again is not None
    consumer.ack(again)
    consumer.close()
    assert left() == {}


def test_a_full_consumer_does_not_fetch(broker: WakeBroker) -> None:
    for number in range(4):
        push(b"noise %d" % number, queue="enrollments")
    consumer = broker.consume("enrollments", prefetch=2)
    held = [next(consumer) for _ in range(3)]
    assert [message is None for message in held] == [False, False, True]
    assert wake_ups() == 2


def test_a_full_broker_still_says_it_is_alive(broker: WakeBroker) -> None:
    broker.beat()
    with client() as opened:
        (beat,) = opened.zrange(f"{os.environ['REDIS_NAMESPACE']}:__heartbeats__", 0, -1, withscores=True)
    assert beat[0].decode() == broker.broker_id
    assert abs(beat[1] / 1000 - time.time()) < 5


def test_a_beat_is_sent_seldom_but_again_at_once_after_one_that_failed(
    broker: WakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = f"{os.environ['REDIS_NAMESPACE']}:__heartbeats__"
    with monkeypatch.context() as away, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away.setenv("REDIS_URL", f"redis://127.0.0.1:{closed.getsockname()[1]}/0")
        forget()
        broker.beat()
    forget()
    with client() as opened:
        broker.beat()
        assert opened.zrem(beats, broker.broker_id) == 1
        broker.beat()
        assert opened.zscore(beats, broker.broker_id) is None


def test_what_waits_when_a_reader_stops_is_done_by_another(processes: Processes) -> None:
    for number in range(20):
        send(PutCompany(reference=f"R-{number}", name="Lorval"), f"key-{number}")
    with transaction() as session:
        session.execute(text("LOCK TABLE idempotency"))
        first = processes.worker("requests", "enrollments", threads=2)
        wait_until(lambda: wake_ups("requests.taken") == 20, say=processes.logs)
        for number in range(20, 40):
            send(PutCompany(reference=f"R-{number}", name="Lorval"), f"key-{number}")
        first.terminate()
        wait_until(lambda: "Shutting down" in processes.logs())
    first.wait(timeout=20)
    assert rows("SELECT count(*) FROM job") == [(20,)]  # the bundle in hand, and no other was fetched
    assert wake_ups("requests") == 20
    processes.worker("requests", "enrollments")
    wait_until(lambda: rows("SELECT count(*) FROM job") == [(40,)] and not left(), seconds=15, say=lambda: str(left()))


@pytest.mark.parametrize("repeated", [False, True], ids=["once", "twice"])
def test_sigterm_ends_a_worker_in_good_order_however_often_it_comes(processes: Processes, repeated: bool) -> None:
    worker = processes.worker("enrollments", "maintenance", processes=2, threads=2)
    wait_until(lambda: processes.logs().count("ready for action") == 2, say=processes.logs)
    pids = [int(str(pid)) for (pid,) in rows("SELECT pid FROM process")]
    worker.terminate()
    wait_until(lambda: processes.logs().count("Stopping worker process") == 2, say=processes.logs)
    if repeated:  # as a service manager sends it to every process of a service
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
    assert worker.wait(timeout=10) == 0
    assert processes.logs().count("process.stopped") == 2
    assert rows("SELECT 1 FROM process") == []
