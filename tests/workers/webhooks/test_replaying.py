"""Portals see what they were told, try by try, and have it told again."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.processes.support import change, rows
from tests.kit.webhooks.endpoints import add_endpoint, make_due, owe, send_due, states
from tests.kit.webhooks.receiver import Receiver, answer, in_turn
from workers.database import transaction
from workers.webhooks.replaying import list_attempts, list_webhooks, replay_range, replay_webhook

pytestmark = pytest.mark.usefixtures("fresh_database", "loopback")

BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
STRANGER = new_id()


def test_one_is_told_again_under_its_id() -> None:
    with Receiver() as receiver:
        endpoint, other = add_endpoint(receiver.url), add_endpoint(receiver.url, "other")
        [owed] = owe(endpoint, "enrollment:1")
        send_due()
        with transaction() as session:
            assert not replay_webhook(session, STRANGER, endpoint, UUID(owed))
            assert not replay_webhook(session, LOCAL_PORTAL_ID, other, UUID(owed))
            assert replay_webhook(session, LOCAL_PORTAL_ID, endpoint, UUID(owed))
            assert not replay_webhook(session, LOCAL_PORTAL_ID, endpoint, UUID(owed))  # it is owed already
        send_due()
    assert receiver.ids == [owed, owed]
    assert receiver.received[0].body == receiver.received[1].body


def test_a_range_is_told_again_in_the_order_of_each_resource() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owed = owe(endpoint, *["enrollment:1"] * 5)
        send_due()
        change("UPDATE webhook SET created_at = created_at - interval '2 days' WHERE sequence = 1")
        with transaction() as session:
            [(begin,)] = rows("SELECT min(created_at) FROM webhook WHERE sequence > 1")
            assert isinstance(begin, datetime)
            assert replay_range(session, STRANGER, endpoint, since=BEGIN, until=END).number == 0
            told = replay_range(session, LOCAL_PORTAL_ID, endpoint, since=begin, until=END)
        send_due()
    assert (told.number, str(told.last)) == (4, owed[-1])
    assert receiver.ids == [*owed, *owed[1:]]


def test_what_is_told_again_to_a_disabled_endpoint_is_held() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1")
        send_due()
        change("UPDATE webhook_endpoint SET disabled_at = now()")
        with transaction() as session:
            assert replay_range(session, LOCAL_PORTAL_ID, endpoint, since=BEGIN, until=END).number == 1
        send_due()
    assert (len(receiver.received), states()) == (1, {"held": 1})


def test_the_log_has_each_try_and_the_beginning_of_its_answer() -> None:
    with Receiver(in_turn(answer(500, b"no\x00t now" + b"!" * 2_000))) as receiver:
        endpoint = add_endpoint(receiver.url)
        first, second = owe(endpoint, "enrollment:1", "enrollment:1")
        send_due()
        make_due()
        send_due()
        with transaction() as session:
            tries = list_attempts(session, LOCAL_PORTAL_ID, endpoint, UUID(first))
            latest, earlier = list_webhooks(session, LOCAL_PORTAL_ID, endpoint)
            assert list_attempts(session, STRANGER, endpoint, UUID(first)) == []
            assert list_webhooks(session, STRANGER, endpoint) == []
            assert [one.id for one in list_webhooks(session, LOCAL_PORTAL_ID, endpoint, before=latest.id)] == [
                earlier.id
            ]
    assert [(one.status, one.answer) for one in tries] == [(500, "not now" + "!" * 1_016), (204, "")]
    assert (str(latest.id), latest.state, latest.status, latest.sequence) == (second, "delivered", 204, 2)
    assert (str(earlier.id), earlier.failures, earlier.status) == (first, 1, 204)
