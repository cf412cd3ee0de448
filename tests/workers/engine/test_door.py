"""One reader at a time holds a door; what it took and did not acknowledge goes to the next, first and in order."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from dramatiq.broker import MessageProxy

from tests.kit.actors.messages import client, left, message, push
from tests.kit.processes.support import wait_until
from workers.engine import door as doors
from workers.engine.broker import WakeBroker, make_broker, producer_client
from workers.engine.consumer import MAINTENANCE_SECONDS
from workers.engine.door import Bundle, DoorConsumer
from workers.engine.door_lease import HOLD_SECONDS, lease_key
from workers.engine.door_notes import DoorNotes, GivenBackMessage
from workers.engine.tries import REFUSED, STOPS

pytestmark = pytest.mark.usefixtures("running")

DOOR = "requests"


class Reader:
    """One process that reads the door: a broker with its consumer."""

    def __init__(self) -> None:
        self.broker: WakeBroker = make_broker(producer_client(os.environ["REDIS_URL"]))
        consumer = self.broker.consume(DOOR)
        assert isinstance(consumer, DoorConsumer)
        self.consumer = consumer
        self.lease = consumer.lease

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.client.close()

    def fetch(self) -> MessageProxy:
        """Returns the next bundle, as the message that carries it."""
        found = next(self.consumer)
        assert found is not None
        return found

    def record(self, proxy: MessageProxy, count: int | None = None) -> None:
        """Ends a bundle of which the first messages were recorded, or all."""
        bundle = bundle_of(proxy)
        bundle.recorded = len(bundle.messages) if count is None else count
        self.consumer.ack(proxy)


@pytest.fixture
def readers(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Reader]]:
    """Provides two readers; the one that waits looks at once."""
    monkeypatch.setattr(doors, "LOOK_SECONDS", 0.01)
    with ExitStack() as stack:
        yield [stack.enter_context(Reader()) for _ in range(2)]


def bundle_of(proxy: MessageProxy) -> Bundle:
    bundle = proxy.bundle
    assert isinstance(bundle, Bundle)
    return bundle


def keys(proxy: MessageProxy) -> list[str]:
    return [one.key.decode() for one in bundle_of(proxy).messages]


def send(*names: str) -> list[str]:
    for name in names:
        push(message(key=name), key=name)
    return list(names)


def lose_lease() -> None:
    """Lets the lease expire, as three seconds of silence do."""
    with client() as opened:
        assert opened.delete(lease_key(os.environ["REDIS_NAMESPACE"], DOOR))


def test_all_that_waits_is_one_bundle_in_the_order_of_sending(readers: list[Reader]) -> None:
    sent = send(*(f"{number}" for number in range(30)))
    assert keys(readers[0].fetch()) == sent


def test_a_bundle_has_an_end(readers: list[Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "BUNDLE", 3)
    send("a", "b", "c", "d")
    one = readers[0]
    first = one.fetch()
    assert keys(first) == ["a", "b", "c"]
    one.record(first)
    assert keys(one.fetch()) == ["d"]


def test_a_bundle_of_large_messages_has_few_of_them(readers: list[Reader]) -> None:
    for number in range(20):
        push(b"x" * 200_000, key=f"{number}")
    bundle = bundle_of(readers[0].fetch())
    assert 1 < len(bundle.messages) < 20
    assert sum(len(one.data) for one in bundle.messages) < doors.BUNDLE_BYTES + 200_000


def test_a_door_has_one_reader(readers: list[Reader]) -> None:
    one, other = readers
    send("a")
    first = one.fetch()
    send("b")
    assert next(other.consumer) is None
    one.record(first)
    assert next(other.consumer) is None  # also between two bundles: the one that has the door keeps it
    assert keys(one.fetch()) == ["b"]


def test_a_bundle_is_recorded_before_the_next_is_fetched(
    readers: list[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "RENEW_SECONDS", 0.01)
    one, _ = readers
    send("a")
    first = one.fetch()
    send("b")
    assert [next(one.consumer) for _ in range(3)] == [None] * 3
    one.record(first)
    assert [keys(found) for _ in range(2) if (found := next(one.consumer))] == [["b"]]


def test_a_dead_readers_bundle_goes_first_and_in_order(readers: list[Reader]) -> None:
    dead, heir = readers
    send("a", "b", "c")
    dead.fetch()
    send("d")
    lose_lease()
    assert keys(heir.fetch()) == ["a", "b", "c", "d"]


def test_of_a_bundle_left_in_the_middle_the_rest_goes_first(readers: list[Reader]) -> None:
    one, other = readers
    send("a", "b", "c")
    first = one.fetch()
    send("d")
    one.record(first, 1)
    assert next(one.consumer) is None  # rests, so that another may take the door
    assert keys(other.fetch()) == ["b", "c", "d"]
    assert next(one.consumer) is None


def leave(reader: Reader, reason: str, recorded: int = 0) -> None:
    """Gives back a bundle for this reason, after some of its messages were recorded."""
    proxy = reader.fetch()
    bundle_of(proxy).left_for = reason
    reader.record(proxy, recorded)
    reader.consumer.close()
    reader.consumer._rests_until = 0.0


@contextmanager
def notes() -> Iterator[DoorNotes]:
    with client() as opened:
        yield DoorNotes(opened, os.environ["REDIS_NAMESPACE"], DOOR)


def noted() -> GivenBackMessage | None:
    with notes() as found:
        return found.given_back()


def test_a_message_that_comes_back_is_counted_over_all_readers(readers: list[Reader]) -> None:
    send("a", "b", "c")
    leave(readers[0], "XX002", recorded=1)
    for reader in [*readers, readers[0]]:
        leave(reader, "57014")
    found = noted()
    assert found is not None
    assert found[:3] == ("b", "57014", 3)  # what was recorded before it began the count anew
    assert 0 <= found.seconds < 60


def test_another_message_that_comes_back_is_counted_anew(readers: list[Reader]) -> None:
    send("a", "b")
    leave(readers[0], "XX002")
    leave(readers[0], "XX002")
    with client() as opened:
        opened.hset(f"{os.environ['REDIS_NAMESPACE']}:{DOOR}.given_back", "message", "another")
    leave(readers[0], "XX002")
    found = noted()
    assert found is not None
    assert found[:3] == ("a", "XX002", 1)


@pytest.mark.parametrize("reason", [STOPS, REFUSED])
def test_a_reader_that_stops_or_refused_one_gives_none_back(readers: list[Reader], reason: str) -> None:
    send("a", "b")
    leave(readers[0], reason, recorded=1)
    assert noted() is None


def test_a_door_that_goes_on_forgets_what_was_given_back(readers: list[Reader]) -> None:
    one, _ = readers
    send("a", "b")
    leave(one, "XX002")
    one.record(one.fetch())
    one.consumer.close()
    assert noted() is None
    assert left() == {}


def test_messages_refused_for_a_fault_are_counted_for_a_day(readers: list[Reader]) -> None:
    one, _ = readers
    for state in ("XX001", "XX002"):
        send(f"{state}-a", f"{state}-b")
        proxy = one.fetch()
        bundle_of(proxy).left_for, bundle_of(proxy).fault = REFUSED, state
        one.record(proxy, 1)
        one.record(one.fetch())
    with notes() as found, client() as opened:
        faulty = found.at_fault()
        assert faulty is not None
        assert faulty[:2] == (2, "XX002")
        assert 86_000 < opened.ttl(f"{os.environ['REDIS_NAMESPACE']}:{DOOR}.at_fault") <= 86_400


def test_behind_a_message_that_was_refused_the_reader_goes_on_at_once(readers: list[Reader]) -> None:
    one, _ = readers
    send("a", "b")
    proxy = one.fetch()
    bundle_of(proxy).left_for = REFUSED
    one.record(proxy, 1)
    assert keys(one.fetch()) == ["b"]


def test_a_reader_that_closes_frees_the_door_at_once(readers: list[Reader]) -> None:
    one, other = readers
    send("a", "b")
    proxy = one.fetch()
    send("c")
    one.consumer.requeue([proxy])  # no thread began it
    one.consumer.close()
    assert keys(other.fetch()) == ["a", "b", "c"]


def test_what_a_reader_leaves_is_back_on_the_queue_in_order(readers: list[Reader]) -> None:
    one, _ = readers
    send("a", "b", "c")
    proxy = one.fetch()
    send("d")
    one.record(proxy, 1)
    one.consumer.close()
    with client() as opened:  # also an older release would read it now
        assert opened.lrange(f"{os.environ['REDIS_NAMESPACE']}:{DOOR}", 0, -1) == [b"b", b"c", b"d"]
    assert set(left()) == {f"{os.environ['REDIS_NAMESPACE']}:{DOOR}{part}" for part in ("", ".msgs")}


@pytest.mark.parametrize("milliseconds", [None, 3_600_000])
def test_a_lease_of_a_clock_that_was_ahead_shuts_no_door(readers: list[Reader], milliseconds: int | None) -> None:
    one, _ = readers
    send("a")
    with client() as opened:
        opened.set(one.lease.key, "a dead one", px=milliseconds)
        assert keys(one.fetch()) == ["a"]
        assert 0 < opened.pttl(one.lease.key) <= one.lease.milliseconds


def test_a_reader_that_closes_waits_for_its_bundle(readers: list[Reader]) -> None:
    one, other = readers
    send("a")
    proxy = one.fetch()
    one.consumer.close()
    send("b")
    assert next(other.consumer) is None
    one.record(proxy)
    found = other.fetch()
    assert keys(found) == ["b"]
    other.record(found)
    other.consumer.close()
    assert left() == {}


def test_the_answer_of_a_fetch_that_was_lost_is_fetched_again(readers: list[Reader]) -> None:
    one, _ = readers
    send("a", "b")
    one.fetch()
    one.consumer._bundle = None  # as after an answer that never arrived
    send("c")
    assert keys(one.fetch()) == ["a", "b", "c"]


def test_a_frozen_reader_that_wakes_up_acknowledges_and_waits(readers: list[Reader]) -> None:
    frozen, heir = readers
    send("a", "b")
    late = frozen.fetch()
    lose_lease()
    again = heir.fetch()
    send("c")
    frozen.record(late)  # its transaction found the keys of the other, or was the first
    assert next(frozen.consumer) is None
    heir.record(again)
    last = heir.fetch()
    assert keys(last) == ["c"]
    heir.record(last)
    heir.consumer.close()
    assert left() == {}


def test_a_bundle_that_is_being_recorded_keeps_the_door(readers: list[Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "RENEW_SECONDS", 0.01)
    one, other = readers
    send("a")
    bundle_of(one.fetch()).begun = True
    with client() as opened:
        opened.pexpire(one.lease.key, 200)
        next(one.consumer)
        assert opened.pttl(one.lease.key) > 1000 * HOLD_SECONDS - 1000
    assert next(other.consumer) is None


def test_a_bundle_that_no_thread_begins_lets_the_door_go(
    readers: list[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "RENEW_SECONDS", 0.01)
    one, other = readers
    send("a")
    one.fetch()
    with client() as opened:
        opened.pexpire(one.lease.key, 50)
        next(one.consumer)
        wait_until(lambda: not opened.exists(one.lease.key))
    assert keys(other.fetch()) == ["a"]


def test_a_flushed_redis_gives_the_door_to_the_first_that_asks(
    readers: list[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "RENEW_SECONDS", 0.01)
    one, other = readers
    send("a")
    bundle_of(one.fetch()).begun = True
    with client() as opened:
        for name in opened.scan_iter(f"{os.environ['REDIS_NAMESPACE']}:*"):
            opened.delete(name)
    send("b")
    next(one.consumer)  # renews: it still records what it holds
    assert next(other.consumer) is None


def test_what_an_older_release_had_fetched_comes_back_when_it_is_dead(readers: list[Reader]) -> None:
    one, _ = readers
    send("a")
    space = os.environ["REDIS_NAMESPACE"]
    with client() as opened:  # as its consumer fetched: the identifier is in a set of its own
        opened.lpop(f"{space}:{DOOR}")
        opened.sadd(f"{space}:__acks__.dead.{DOOR}", "a")
        opened.zadd(f"{space}:__heartbeats__", {"dead": 1})
    one.consumer._maintained_at -= MAINTENANCE_SECONDS
    assert keys(one.fetch()) == ["a"]


@pytest.mark.parametrize("part", ["", ".msgs", ".taken", ".holder"])
def test_a_key_of_another_type_is_a_trouble_and_no_end(readers: list[Reader], part: str) -> None:
    one, _ = readers
    name = f"{os.environ['REDIS_NAMESPACE']}:{DOOR}{part}"
    with client() as opened:
        if part != "":
            send("a")
        opened.delete(name)
        opened.zadd(name, {"odd": 1})
        if part == ".taken":
            assert one.lease.renew()
        assert next(one.consumer) is None
        assert one.consumer.trouble is not None
        opened.delete(name)
    send("b")
    assert keys(one.fetch())[-1] == "b"
    assert one.consumer.trouble is None
