"""The process `matricule webhooks`: killed, doubled, woken, without Redis. Nothing owed is lost."""

import signal
import threading
from collections import Counter

import pytest
from standardwebhooks import Webhook as StandardWebhook

from models.base import new_id
from models.words import WebhookEvent
from tests.kit.processes.support import Processes, change, rows, wait_until
from tests.kit.webhooks.endpoints import add_endpoint, owe, states
from tests.kit.webhooks.receiver import Receiver, answer
from workers.engine import events
from workers.engine.broker import wake
from workers.engine.events import Event
from workers.engine.wake import waking_transaction
from workers.portals.secrets import webhook_secret
from workers.requests.queues import WEBHOOKS

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("fresh_database", "loopback")]

CONNECTIONS = 8


def all_delivered(processes: Processes, number: int) -> None:
    wait_until(lambda: states() == {"delivered": number}, say=lambda: f"{states()} {processes.logs()[-3000:]}")


def listens(processes: Processes) -> None:
    """Waits until a sender has said that it is alive."""
    wait_until(lambda: rows("SELECT 1 FROM process WHERE kind = 'webhooks'"), say=processes.logs)


def test_a_killed_sender_repeats_only_what_was_on_its_way(processes: Processes) -> None:
    with Receiver(gate=threading.Event()) as receiver:
        assert receiver.gate is not None
        owed = owe(add_endpoint(receiver.url), *(f"enrollment:{n}" for n in range(300)))
        first = processes.start("workers.cli", "webhooks", LEASE_SECONDS="2")
        wait_until(lambda: receiver.waiting == CONNECTIONS, say=processes.logs)
        processes.kill(first)
        receiver.gate.set()
        processes.start("workers.cli", "webhooks", LEASE_SECONDS="2")
        all_delivered(processes, 300)
    times = Counter(receiver.ids)
    assert sorted(times) == sorted(owed)
    assert len(receiver.ids) - len(times) <= 2 * CONNECTIONS


def test_a_sender_killed_again_and_again_loses_nothing(processes: Processes) -> None:
    kills = 4
    with Receiver() as receiver:
        owed = owe(add_endpoint(receiver.url), *(f"enrollment:{n % 200}" for n in range(600)))
        for _ in range(kills):
            before = len(receiver.received)
            sender = processes.start("workers.cli", "webhooks", LEASE_SECONDS="1")
            wait_until(lambda: len(receiver.received) > before, say=processes.logs)  # noqa: B023
            processes.kill(sender)
        processes.start("workers.cli", "webhooks", LEASE_SECONDS="1")
        all_delivered(processes, 600)
    times = Counter(receiver.ids)
    assert sorted(times) == sorted(owed)
    assert len(receiver.ids) - len(times) <= kills * 2 * CONNECTIONS


def test_two_senders_share_the_work_and_keep_the_order(processes: Processes) -> None:
    with Receiver(gate=threading.Event()) as receiver:
        assert receiver.gate is not None
        owed = owe(add_endpoint(receiver.url), *(f"enrollment:{n % 100}" for n in range(400)))
        for _ in range(2):
            processes.start("workers.cli", "webhooks")
        wait_until(lambda: receiver.waiting == 2 * CONNECTIONS, say=processes.logs)
        receiver.gate.set()
        all_delivered(processes, 400)
    assert Counter(receiver.ids) == dict.fromkeys(owed, 1)
    places = {one: place for place, one in enumerate(receiver.ids)}
    assert all(places[owed[n]] < places[owed[n + 100]] for n in range(300))
    assert rows("SELECT count(DISTINCT worker) FROM webhook") == [(2,)]


def test_a_sender_that_is_stopped_ends_what_is_under_way(processes: Processes) -> None:
    with Receiver(gate=threading.Event()) as receiver:
        assert receiver.gate is not None
        owe(add_endpoint(receiver.url), *(f"enrollment:{n}" for n in range(100)))
        sender = processes.start("workers.cli", "webhooks")
        wait_until(lambda: receiver.waiting == CONNECTIONS, say=processes.logs)
        sender.send_signal(signal.SIGTERM)
        wait_until(lambda: rows("SELECT 1 FROM webhook WHERE leased_until IS NULL HAVING count(*) >= 80"))
        receiver.gate.set()
        assert sender.wait(timeout=30) == 0
    assert len(receiver.received) == CONNECTIONS
    assert states() == {"delivered": CONNECTIONS, "owed": 100 - CONNECTIONS}
    assert rows("SELECT 1 FROM webhook WHERE leased_until IS NOT NULL") == []
    assert rows("SELECT 1 FROM process") == []


def test_a_wake_up_is_answered_at_once(processes: Processes) -> None:
    """Ten times one after the other: looking each five seconds would take longer than the test waits."""
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        processes.start("workers.cli", "webhooks")
        listens(processes)
        for number in range(10):
            owe(endpoint, f"enrollment:{number}")
            wake(WEBHOOKS)
            wait_until(lambda: len(receiver.received) > number, seconds=20, say=processes.logs)  # noqa: B023
        all_delivered(processes, 10)


def test_without_redis_and_without_a_wake_up_it_is_sent(processes: Processes) -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        processes.start("workers.cli", "webhooks", REDIS_URL="redis://127.0.0.1:1")
        listens(processes)
        owe(endpoint, "enrollment:1")
        all_delivered(processes, 1)


def test_a_later_try_comes_by_itself(processes: Processes) -> None:
    tried = iter([answer(500)])
    with Receiver(lambda _: next(tried, answer(204))) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        processes.start("workers.cli", "webhooks")
        wait_until(lambda: rows("SELECT 1 FROM webhook WHERE failures = 1 AND leased_until IS NULL"))
        change("UPDATE webhook SET due_at = now() + interval '1 second'")
        all_delivered(processes, 1)
        assert len(receiver.received) == 2


def test_sessions_that_end_while_it_sends_lose_nothing(processes: Processes) -> None:
    with Receiver() as receiver:
        owed = owe(add_endpoint(receiver.url), *(f"enrollment:{n}" for n in range(400)))
        processes.start("workers.cli", "webhooks", LEASE_SECONDS="2")
        for number in (50, 150, 250):
            wait_until(lambda: len(receiver.received) > number, say=processes.logs)  # noqa: B023
            change(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid()"
            )
        all_delivered(processes, 400)
    assert set(receiver.ids) == set(owed)


def test_an_event_that_is_owed_in_a_transaction_is_told(processes: Processes) -> None:
    portal, resource = new_id(), f"enrollment:{new_id()}"
    change("INSERT INTO portal (id, name) VALUES (:id, 'lms')", id=portal)
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url, portal_id=portal)
        processes.start("workers.cli", "webhooks")
        listens(processes)
        enrolled = WebhookEvent.PARTICIPANT_ENROLLED
        for _ in range(2):
            with waking_transaction() as session:
                events.owe(session, [Event(portal, enrolled, resource, {"contract": "C-1"})])
        all_delivered(processes, 2)
    for number, request in enumerate(receiver.received, start=1):
        secret = StandardWebhook(webhook_secret("test", endpoint, 1))
        told = secret.verify(request.body.decode(), request.headers)
        assert told["type"] == "participant.enrolled"
        assert told["data"] == {"sequence": number, "portal": "lms", "contract": "C-1"}
