"""A consumer waits inside Redis while its queue is empty; where it cannot, it asks again and again."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from dramatiq.broker import MessageProxy

from tests.kit.actors.messages import push
from tests.kit.processes.support import Processes, rows, wait_until
from tests.kit.processes.valkey import OwnValkey
from workers.engine import consumer as consumers
from workers.engine.broker import WakeBroker, make_broker, worker_client
from workers.engine.consumer import SteadyConsumer

QUEUE = "enrollments"


@pytest.fixture
def server(fresh_database: str, valkey: Callable[..., OwnValkey], use: Callable[[str], None]) -> OwnValkey:
    """Starts a server that has no clients but those of the test."""
    started = valkey()
    use(started.url)
    return started


@pytest.fixture
def broker(server: OwnValkey) -> Iterator[WakeBroker]:
    """Creates a broker as a worker has it."""
    made = make_broker(worker_client(server.url))
    made.declare_queue(QUEUE)
    yield made
    made.client.close()


def blocked(server: OwnValkey) -> int:
    """Counts the clients that wait inside the server."""
    with server.client() as opened:
        return int(opened.info("clients")["blocked_clients"])


def the_next(consumer: SteadyConsumer) -> MessageProxy:
    """Asks until there is a message."""
    while (message := next(consumer)) is None:
        pass
    return message


def test_a_message_ends_the_wait_of_a_consumer(server: OwnValkey, broker: WakeBroker) -> None:
    consumer = broker.consume(QUEUE)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(the_next, consumer)
        wait_until(lambda: blocked(server) == 1)
        sent = push(b"noise", queue=QUEUE)
        assert getattr(reading.result(10), "raw", None) == sent


def test_waiting_changes_nothing_in_the_queue(server: OwnValkey, broker: WakeBroker) -> None:
    consumer = broker.consume(QUEUE, prefetch=10)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(consumer._wait_for_message)
        wait_until(lambda: blocked(server) == 1)
        sent = [push(b"noise %d" % number, queue=QUEUE) for number in range(3)]
        waiting.result(10)
    assert [getattr(the_next(consumer), "raw", None) for _ in range(3)] == sent


def fetches(server: OwnValkey) -> int:
    """Counts the scripts that were run to fetch."""
    with server.client() as opened:
        return int(opened.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_a_queue_that_stayed_empty_is_not_asked_again(
    server: OwnValkey, broker: WakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "WAIT_SECONDS", 0.01)
    consumer = broker.consume(QUEUE)
    assert [next(consumer) for _ in range(2)] == [None, None]
    asked = fetches(server)
    assert [next(consumer) for _ in range(9)] == [None] * 9
    assert fetches(server) == asked
    sent = push(b"noise", queue=QUEUE)
    assert getattr(the_next(consumer), "raw", None) == sent


def test_a_consumer_that_waits_still_looks_for_messages_of_the_dead(
    server: OwnValkey, broker: WakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "WAIT_SECONDS", 0.01)
    consumer = broker.consume(QUEUE)
    assert [next(consumer) for _ in range(3)] == [None] * 3
    asked, consumer._maintained_at = fetches(server), consumer._maintained_at - consumers.MAINTENANCE_SECONDS
    assert next(consumer) is None
    assert fetches(server) > asked


def test_two_consumers_that_wait_are_both_woken(server: OwnValkey, broker: WakeBroker) -> None:
    other = make_broker(worker_client(server.url))
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(one.consume(QUEUE)._wait_for_message) for one in (broker, other)]
        wait_until(lambda: blocked(server) == 2)
        push(b"noise", queue=QUEUE)
        wait_until(lambda: blocked(server) == 0)
        for one in waiting:
            one.result(10)
    other.client.close()


def test_a_done_message_is_told_soon_although_the_queue_is_empty(server: OwnValkey, broker: WakeBroker) -> None:
    push(b"noise", queue=QUEUE)
    consumer = broker.consume(QUEUE)
    message = the_next(consumer)
    with ThreadPoolExecutor(1) as thread, server.client() as opened:
        reading = thread.submit(lambda: [next(consumer) for _ in range(4)])
        consumer.ack(message)
        wait_until(lambda: opened.hlen(f"{os.environ['REDIS_NAMESPACE']}:{QUEUE}.msgs") == 0)
        reading.result(10)


@pytest.mark.parametrize("refusal", ["NOPERM", "OOM"])
def test_a_consumer_that_may_not_wait_polls_and_is_not_deaf(
    server: OwnValkey, broker: WakeBroker, refusal: str
) -> None:
    with server.client() as admin:
        if refusal == "OOM":
            sent = push(b"noise", queue=QUEUE)
            admin.config_set("maxmemory", 1)
        else:
            admin.execute_command("ACL", "SETUSER", "default", "-blmove")
            sent = push(b"noise", queue=QUEUE)
        consumer = broker.consume(QUEUE)
        message = the_next(consumer)
        assert getattr(message, "raw", None) == sent
        consumer.ack(message)
        assert [next(consumer) for _ in range(3)] == [None] * 3
        assert consumer.trouble is None
        assert consumer.misses > 0  # it polls


def test_a_proxy_without_blocking_commands_is_never_asked_for_one(processes: Processes, server: OwnValkey) -> None:
    processes.worker("requests", QUEUE, REDIS_BLOCKING="False")
    wait_until(lambda: rows("SELECT 1 FROM process"), say=processes.logs)
    push({"queue_name": QUEUE, "actor_name": "none"}, queue=QUEUE)
    wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'refused'"), say=processes.logs)
    with server.client() as opened:
        used = opened.info("commandstats")
    assert not {name for name in used if name.startswith("cmdstat_bl")}


def test_a_connection_lost_while_waiting_is_followed_by_another(server: OwnValkey, broker: WakeBroker) -> None:
    consumer = broker.consume(QUEUE)
    with ThreadPoolExecutor(1) as thread, server.client() as admin:
        reading = thread.submit(the_next, consumer)
        wait_until(lambda: blocked(server) == 1)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sent = push(b"noise", queue=QUEUE)
        assert getattr(reading.result(10), "raw", None) == sent
