"""Streams of portals: one reader at a time, what is not recorded goes first and in order, no portal harms another."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import takewhile

import pytest
import redis

from tests.kit.actors.messages import client, left, stream
from tests.kit.builders.portals import make_portal
from tests.kit.processes.support import change, wait_until
from workers.engine import stream_door, streams
from workers.engine.broker import producer_client
from workers.engine.door import Bundle, SentMessage
from workers.engine.door_lease import HOLD_SECONDS, lease_key
from workers.engine.door_notes import DoorNotes
from workers.engine.stopping import STOPPING
from workers.engine.stream_door import StreamDoor
from workers.engine.streams import DOOR, LARGEST, PortalStreams, StreamEntry
from workers.requests.base import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.usefixtures("running", "fresh_database")


class Reader:
    """One process that reads streams."""

    def __init__(self, *portals: str) -> None:
        self.portals = portals
        self.streams = PortalStreams(producer_client(os.environ["REDIS_URL"]), os.environ["REDIS_NAMESPACE"], "me")
        self.streams.lease.holder = f"reader {id(self)}"
        self.places: Sequence[StreamEntry] = ()

    def fetch(self, done: Sequence[StreamEntry] = ()) -> list[SentMessage] | None:
        fetched = self.streams.fetch(self.portals, done)
        self.places = fetched.places if fetched else ()
        return None if fetched is None else list(fetched.messages)

    def bodies(self, done: Sequence[StreamEntry] = ()) -> list[str] | None:
        found = self.fetch(done)
        return None if found is None else [body_of(message) for message in found]


def body_of(message: SentMessage) -> str:
    return str(message.fields["body"]) if message.fields else message.data.decode()


@pytest.fixture
def readers() -> Iterator[list[Reader]]:
    with ExitStack() as stack:
        made = [Reader("a", "b"), Reader("a", "b")]
        for reader in made:
            stack.callback(reader.streams.client.close)
        yield made


def send(portal: str, *bodies: str, entry: str = "*") -> list[str]:
    with client() as opened:
        return [opened.xadd(stream(portal), {"body": body}, id=entry).decode() for body in bodies]


def lose_lease() -> None:
    """Lets the lease expire, as three seconds of silence do."""
    with client() as opened:
        assert opened.delete(lease_key(os.environ["REDIS_NAMESPACE"], DOOR))


def test_all_that_waits_is_one_bundle_in_the_order_of_each_portal(readers: list[Reader]) -> None:
    send("a", "1", "2")
    send("b", "3")
    send("a", "4")
    assert readers[0].bodies() == ["1", "2", "4", "3"]


def test_what_is_not_recorded_is_fetched_again_first(readers: list[Reader]) -> None:
    one = readers[0]
    send("a", "1", "2", "3")
    one.fetch()
    send("a", "4")
    assert one.bodies(one.places[:2]) == ["3", "4"]


def test_a_portal_with_many_requests_keeps_no_other_waiting(
    readers: list[Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BUNDLE", 3)
    send("a", *map(str, range(10)))
    send("b", "b")
    one = readers[0]
    assert one.bodies() == ["0", "1", "2"]
    assert one.bodies(one.places) == ["b", "3", "4"]
    assert one.bodies(one.places) == ["5", "6", "7"]


def test_only_one_process_reads_until_its_lease_ends(readers: list[Reader]) -> None:
    one, other = readers
    send("a", "1")
    assert one.bodies() == ["1"]
    assert other.bodies() is None
    lose_lease()
    assert other.bodies() == ["1"]
    assert one.bodies() is None


def test_a_reader_that_lost_its_lease_deletes_nothing(readers: list[Reader]) -> None:
    one, other = readers
    send("a", "1")
    one.fetch()
    recorded = one.places
    lose_lease()
    other.fetch()
    assert one.fetch(recorded) is None
    assert other.bodies() == ["1"]


def test_a_reader_that_leaves_deletes_what_is_recorded_and_frees_the_door(readers: list[Reader]) -> None:
    one, other = readers
    send("a", "1", "2")
    one.fetch()
    one.streams.leave(one.places[:1])
    assert other.bodies() == ["2"]
    one.streams.leave(one.places)  # no longer its own
    assert other.bodies() == ["2"]


def test_a_flushed_redis_is_read_on(readers: list[Reader]) -> None:
    one, other = readers
    send("a", "1")
    one.fetch()
    with client() as opened:
        for name in opened.scan_iter(f"{os.environ['REDIS_NAMESPACE']}:*"):
            opened.delete(name)
    send("a", "2")
    assert one.bodies(one.places) == ["2"]
    assert other.bodies() is None


def test_a_consumer_group_that_comes_and_goes_changes_nothing(readers: list[Reader]) -> None:
    one = readers[0]
    send("a", "1", "2")
    with client() as opened:
        opened.xgroup_create(stream("a"), "matricule", id="0")
        opened.xreadgroup("matricule", "other", {stream("a"): ">"})
        assert one.bodies() == ["1", "2"]
        opened.xgroup_destroy(stream("a"), "matricule")
    assert one.bodies(one.places[:1]) == ["2"]


@pytest.mark.parametrize("last", [LARGEST, "99999999999999-0"])
def test_a_stream_with_an_identifier_of_the_future_is_put_aside(readers: list[Reader], last: str) -> None:
    one = readers[0]
    send("a", "1")
    send("a", "poison", entry=last)
    found = one.fetch()
    assert found is not None
    assert [body_of(message) for message in found] == ["1", "poison"]
    assert [message.arrived for message in found] == [None, None]  # the identifiers tell no time
    send("a", "2", "3")
    assert one.bodies() == ["1", "poison", "2", "3"]
    assert one.bodies(one.places[:2]) == ["2", "3"]
    assert one.bodies(one.places) == []
    with client() as opened:
        assert not opened.exists(f"{stream('a')}.aside")


def test_a_stream_that_is_poisoned_again_is_read_in_its_order(readers: list[Reader]) -> None:
    one = readers[0]
    send("a", "1", entry=LARGEST)
    one.fetch()
    send("a", "2", entry=LARGEST)
    assert one.bodies() == ["1", "2"]
    assert one.bodies(one.places[:1]) == ["2"]
    send("a", "3")
    assert one.bodies(one.places) == ["3"]
    assert left() == {stream("a"): 1}


def test_the_time_of_arrival_is_that_of_redis(readers: list[Reader]) -> None:
    [entry] = send("a", "1")
    [message] = readers[0].fetch() or []
    assert message.arrived == int(entry.split("-")[0]) / 1000
    assert (message.key.decode(), message.portal) == (entry, "a")


def test_a_key_of_another_type_harms_its_portal_alone(readers: list[Reader]) -> None:
    one = readers[0]
    with client() as opened:
        opened.set(stream("a"), "no stream")
        send("b", "1")
        assert one.bodies() == ["1"]
        fetched = one.streams.fetch(one.portals, one.places)
        assert fetched is not None
        assert fetched.readable == [stream("b")]
        opened.delete(stream("a"))
    send("a", "2")
    assert one.bodies() == ["2"]


@pytest.mark.parametrize(
    "fields", [{"body": "x", "portal": "b"}, {"body": "x", "odd": "1"}, {b"\xff": "x"}, {"body": b"\xed\xa0\x80"}]
)
def test_an_entry_with_other_fields_is_unreadable(readers: list[Reader], fields: dict[str, str]) -> None:
    with client() as opened:
        opened.xadd(stream("a"), {**fields})
    [message] = readers[0].fetch() or []
    assert message.fields is None
    assert b"x" in message.data or b"\xed" in message.data


def test_a_field_that_is_said_twice_makes_an_entry_unreadable(readers: list[Reader]) -> None:
    with client() as opened:
        opened.execute_command("XADD", stream("a"), "*", "body", "1", "body", "2")
    [message] = readers[0].fetch() or []
    assert message.fields is None


def test_of_an_entry_that_is_too_large_the_beginning_is_fetched(readers: list[Reader]) -> None:
    room = MAX_MESSAGE_BYTES - len("body")
    send("a", "x" * room, "y" * (room + 1))
    fits, large = readers[0].fetch() or []
    assert fits.size is None
    assert large.size is not None
    assert large.size.length == MAX_MESSAGE_BYTES + 1
    assert large.data == b"body\0" + b"y" * (MAX_MESSAGE_BYTES - 5)


class Door:
    """A thread that reads the streams of this test, and what it recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream_door, "LOOK_SECONDS", 0.01)
        monkeypatch.setattr(stream_door, "RENEW_SECONDS", 0.05)
        self.recorded: list[str] = []
        self.holds_up = threading.Event()
        self.holds_up.set()
        self.fails = False
        self.gives_back: str | None = None  # the body of a message that cannot be recorded
        self.fault: str | None = None
        self.reader = StreamDoor(self.record, "me")

    def record(self, bundle: Bundle) -> None:
        if self.fails:
            raise RuntimeError("a bug")
        assert self.holds_up.wait(10)
        done = list(takewhile(lambda message: body_of(message) != self.gives_back, bundle.messages))
        self.recorded += [body_of(message) for message in done]
        bundle.recorded, bundle.fault = len(done), self.fault
        if len(done) < len(bundle.messages):
            bundle.left_for = "XX002"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    for portal in ("a", "b"):
        make_portal(portal)
    opened = Door(monkeypatch)
    yield opened
    STOPPING.set()
    if opened.reader.ident is not None:
        opened.reader.stop()
    STOPPING.clear()


def recorded(door: Door, *bodies: str) -> None:
    wait_until(lambda: door.recorded == list(bodies), say=lambda: str(door.recorded))


def test_a_thread_records_what_comes_and_leaves_nothing(door: Door) -> None:
    door.reader.start()
    send("a", "1")
    recorded(door, "1")
    send("b", "2", "3")
    recorded(door, "1", "2", "3")
    wait_until(lambda: not left(), say=lambda: str(left()))


def test_without_waiting_inside_redis_it_asks_again_and_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise redis.exceptions.NoPermissionError("NOPERM this user has no permissions to run XREAD")

    monkeypatch.setattr(PortalStreams, "wait", refused)
    door.reader.start()
    for number in range(3):
        send("a", str(number))
        recorded(door, *map(str, range(number + 1)))
    assert door.reader.trouble is None


def test_a_bundle_that_takes_long_keeps_the_lease(door: Door) -> None:
    door.holds_up.clear()
    door.reader.start()
    send("a", "1")
    key = lease_key(os.environ["REDIS_NAMESPACE"], DOOR)
    with client() as opened:
        wait_until(lambda: opened.exists(key))
        opened.pexpire(key, 300)
        wait_until(lambda: opened.pttl(key) > 1000 * HOLD_SECONDS - 500)
    door.holds_up.set()
    recorded(door, "1")


def test_a_bug_while_recording_ends_no_reader_and_loses_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_door, "LONGEST_PAUSE", 0.01)
    door.fails = True
    door.reader.start()
    send("a", "1")
    wait_until(lambda: door.reader.turned_at > 0 and door.reader.is_alive())
    door.fails = False
    recorded(door, "1")


def test_a_portal_that_lost_its_keys_is_still_read(door: Door) -> None:
    change("UPDATE portal_key SET revoked_at = now()")
    door.reader.start()
    send("a", "1")
    recorded(door, "1")


def noted() -> tuple[str, str, int] | None:
    with client() as opened:
        note = DoorNotes(opened, os.environ["REDIS_NAMESPACE"], DOOR).given_back()
    return note and (note.message, note.reason, note.times)


def test_an_entry_that_is_given_back_is_noted_until_it_is_recorded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_door, "REST_SECONDS", 0.01)
    door.gives_back = "2"
    [_, entry] = send("a", "1", "2")
    door.reader.start()
    wait_until(lambda: (noted() or ("", "", 0))[2] > 1)
    assert (noted() or ())[:2] == (f"{stream('a')} {entry}", "XX002")
    send("b", "3")  # another portal goes on, which does not say that this entry does
    door.gives_back = None
    wait_until(lambda: not left() and noted() is None, say=lambda: f"{left()} {noted()}")


def test_an_entry_on_which_the_database_fails_is_noted(door: Door) -> None:
    door.fault = "57014"
    send("a", "1")
    door.reader.start()
    wait_until(lambda: not left(), say=lambda: str(left()))
    with client() as opened:
        found = DoorNotes(opened, os.environ["REDIS_NAMESPACE"], DOOR).at_fault()
    assert found is not None
    assert found[:2] == (1, "57014")
