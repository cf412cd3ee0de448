"""A large message is measured in parts: the door is kept meanwhile, and a message that changed is noticed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.kit.actors.messages import client, message, push
from tests.workers.engine.test_door import DOOR, Reader, bundle_of, keys
from workers.engine import door as doors
from workers.engine import oversized
from workers.engine.broker import make_broker
from workers.engine.door_lease import HOLD_SECONDS, lease_key
from workers.engine.oversized import READ_PART, ChangedMessageError
from workers.requests.base import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.usefixtures("running", "fresh_database", "small_parts")

LARGE = b"\x80" * (MAX_MESSAGE_BYTES + 100)

READING = hashlib.sha1(READ_PART.encode()).hexdigest()


class SlowRedis(redis.Redis):
    """A client of a Redis that takes its time: after each part of a message something happens."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def evalsha(self, sha: str, *args: Any) -> Any:
        answer = super().evalsha(sha, *args)
        if sha == READING and answer:
            self.meanwhile()
        return answer


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oversized, "PART", MAX_MESSAGE_BYTES // 2)
    monkeypatch.setattr(doors, "RENEW_SECONDS", 0.0)


@pytest.fixture
def slow(fresh_database: str) -> Iterator[SlowRedis]:
    opened = SlowRedis.from_url(os.environ["REDIS_URL"])
    assert isinstance(opened, SlowRedis)
    yield opened
    opened.close()


@pytest.fixture
def lease(fresh_database: str) -> str:
    return lease_key(os.environ["REDIS_NAMESPACE"], DOOR)


def reader(slow: SlowRedis) -> Reader:
    """Returns a reader of the door over this slow client."""
    found = Reader()
    found.broker.client.close()
    found.broker = make_broker(slow)
    consumer = found.broker.consume(DOOR)
    assert isinstance(consumer, doors.DoorConsumer)
    found.consumer, found.lease = consumer, consumer.lease
    return found


def payload(data: bytes | None, key: str = "large") -> None:
    """Puts other bytes in the place of a message, or removes it."""
    name = f"{os.environ['REDIS_NAMESPACE']}:{DOOR}.msgs"
    with client() as opened:
        if data is None:
            opened.hdel(name, key)
        else:
            opened.hset(name, key, data)


def test_the_door_is_kept_while_a_large_message_is_measured(slow: SlowRedis, lease: str) -> None:
    push(LARGE, key="large")
    with client() as opened:
        slow.meanwhile = lambda: opened.pexpire(lease, 500)
        [measured] = bundle_of(reader(slow).fetch()).messages
        assert measured.size == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
        assert opened.pttl(lease) > 1000 * HOLD_SECONDS - 1000


def test_a_reader_that_loses_the_door_while_it_measures_leaves_it(slow: SlowRedis, lease: str) -> None:
    push(message(key="before"), key="before")
    push(LARGE, key="large")
    with client() as opened, Reader() as heir:
        slow.meanwhile = lambda: opened.set(lease, heir.lease.holder, px=3_000)
        assert next(reader(slow).consumer) is None
        assert opened.get(lease) == heir.lease.holder.encode()
        assert keys(heir.fetch()) == ["before", "large"]


@pytest.mark.parametrize("now", [LARGE[:-1], LARGE + b"x", b"small", None])
def test_a_message_that_changes_while_it_is_measured_is_read_again(slow: SlowRedis, now: bytes | None) -> None:
    push(LARGE, key="large")
    one = reader(slow)
    slow.meanwhile = lambda: payload(now)
    assert next(one.consumer) is None
    assert one.consumer.trouble is not None
    assert one.consumer.trouble.code == ChangedMessageError.__name__
    slow.meanwhile = lambda: None
    payload(LARGE)
    [again] = bundle_of(one.fetch()).messages
    assert again.size == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    assert one.consumer.trouble is None


def test_a_message_that_is_gone_when_it_is_measured_has_no_size(slow: SlowRedis) -> None:
    with pytest.raises(ChangedMessageError):
        oversized.measure_message(slow, f"{os.environ['REDIS_NAMESPACE']}:{DOOR}.msgs", b"gone", lambda: None)


def test_a_consumer_that_measures_is_not_stuck(slow: SlowRedis) -> None:
    push(LARGE, queue="enrollments", key="large")
    consumer = make_broker(slow).consume("enrollments")

    def forget_turn() -> None:
        consumer.turned_at = 0.0

    slow.meanwhile = forget_turn
    assert next(consumer) is not None
    assert consumer.turned_at > 0.0
