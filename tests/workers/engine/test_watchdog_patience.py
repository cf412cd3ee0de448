"""The watchdog ends no process that is well: its database, Redis, or a step of its work takes long."""

import threading
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.processes.support import forget, wait_until
from tests.workers.engine.test_watchdog import Clock, Ends, heart, looks
from tests.workers.engine.test_watchdog import clock as clock  # noqa: PLC0414 - a fixture
from tests.workers.engine.test_watchdog import ends as ends  # noqa: PLC0414 - a fixture
from workers import clock as clocks
from workers.clock import RunningClock
from workers.database import POOL_OVERFLOW, POOL_SIZE, get_engine, transaction
from workers.engine import watchdog
from workers.engine.heartbeat import Heartbeat
from workers.engine.processes import _ailments_of
from workers.engine.stream_door import StreamDoor
from workers.engine.watchdog import DEAD_POOL_SECONDS, HANGS_AFTER, LATE_HEARTBEAT, HeartbeatGuard, ProcessWatch
from workers.signs import SIGNS, WorkSign, WorkSigns

ASK = text("SELECT 1")


@pytest.fixture
def signs(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> WorkSigns:
    """The signs of a process, by the clock of the test."""
    monkeypatch.setattr("workers.signs.time", clock)
    made = WorkSigns()
    monkeypatch.setattr(watchdog, "SIGNS", made)
    return made


@pytest.mark.usefixtures("session")
def test_a_long_step_may_take_long_after_each_transaction_in_it(clock: Clock, ends: Ends, signs: WorkSigns) -> None:
    watch = ProcessWatch()
    with signs.during("claimer of maintenance"), signs.patiently(900.0):
        clock.pass_by(watch, 60.0)
        signs.show()
        assert (clock.pass_by(watch, 900.0), ends.asked) == (None, [])
        clock.pass_by(watch, HANGS_AFTER + 4.0)
    assert ends.asked == ["in order"]


@pytest.mark.usefixtures("session")
def test_another_thread_may_give_the_sign_of_one_that_waits(clock: Clock, ends: Ends, signs: WorkSigns) -> None:
    watch = ProcessWatch()
    with signs.during("claimer of emails"):
        with signs.patiently(900.0) as go_on:
            for _ in range(3):
                other = threading.Thread(target=go_on)
                other.start()
                other.join()
                assert clock.pass_by(watch, 800.0) is None
        assert (clock.pass_by(watch, 20.0), ends.asked) == (None, [])
        assert clock.pass_by(watch, 20.0) == "work_hangs"


@pytest.mark.usefixtures("session")
def test_each_statement_that_is_answered_is_a_sign() -> None:
    with SIGNS.during("the test"), transaction() as session:
        session.execute(ASK)
        first = SIGNS.oldest()
        session.execute(ASK)
        second = SIGNS.oldest()
    assert first is not None
    assert second is not None
    assert first.at < SIGNS.heard_at <= second.at


def test_a_round_of_the_clock_ends_the_process_if_it_gives_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[WorkSign | None] = []

    def tick(*_: object) -> bool:
        seen.append(SIGNS.oldest())
        return False

    monkeypatch.setattr(clocks, "tick", tick)
    running = RunningClock(new_id())
    running.round()
    assert [one and one.work for one in seen] == ["round of the clock"]
    running.rounds.begin()
    [turn] = running.rounds()
    assert turn.ends == float("inf")  # many statements, each within its limit, may take longer together


def test_a_reader_that_waits_for_a_resolver_of_names_ends_no_process(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr("workers.engine.processes.time", clock)
    reader = SimpleNamespace(turned_at=clock.now - 120.0, trouble=None)
    [stuck] = _ailments_of(cast("StreamDoor", reader), "reader of streams")
    assert (stuck.code, stuck.seconds > stuck.named, stuck.seconds < stuck.ends) == ("stuck", True, True)


@pytest.mark.usefixtures("session")
def test_work_that_waits_for_the_database_ends_no_process(clock: Clock, ends: Ends, signs: WorkSigns) -> None:
    watch = ProcessWatch()
    with signs.during("claimer of emails"):
        for _ in range(600):
            clock.pass_by(watch, 2.0)
            watch.wait_for_database()
        assert ends.asked == []
        clock.pass_by(watch, HANGS_AFTER + 4.0)
    assert ends.asked == ["in order"]


@pytest.mark.usefixtures("fresh_database")
def test_a_heartbeat_that_is_not_recorded_is_told_to_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    missed: list[int] = []
    heartbeat = Heartbeat(new_id(), "rosters", missed=lambda: missed.append(1))
    heartbeat._record()
    assert (missed, heartbeat.unrecorded_since) == ([], None)
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://matricule@127.0.0.1:1/none")
    forget()
    heartbeat._record()
    assert len(missed) == 1
    assert heartbeat.unrecorded_since is not None


@pytest.mark.usefixtures("fresh_database")
def test_a_heartbeat_that_waits_for_redis_has_no_dead_connections(clock: Clock, ends: Ends) -> None:
    heartbeat = heart()
    heartbeat.beaten_at = clock.now  # none is being recorded
    guard = HeartbeatGuard(heartbeat)
    looks(clock, guard, int(HANGS_AFTER / 2))
    assert ends.asked == []
    looks(clock, guard, int(DEAD_POOL_SECONDS))
    assert "at once" in ends.asked


@pytest.mark.usefixtures("fresh_database")
def test_connections_in_use_are_not_dead_while_some_are_answered(clock: Clock, ends: Ends, signs: WorkSigns) -> None:
    heartbeat = heart()
    heartbeat.unrecorded_since = clock.now - LATE_HEARTBEAT
    guard = HeartbeatGuard(heartbeat)
    used = [get_engine().connect() for _ in range(POOL_SIZE + POOL_OVERFLOW)]
    try:
        for _ in range(10):
            signs.hear()
            looks(clock, guard, 4)
        assert ends.asked == []
        looks(clock, guard, int(DEAD_POOL_SECONDS) + 2)
        assert "at once" in ends.asked
    finally:
        for one in used:
            one.close()


def test_a_guard_that_waits_for_a_server_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[float] = []
    waits = threading.Event()

    class Timer:
        """The timer that ends a process in which no Python code runs."""

        @staticmethod
        def dump_traceback_later(seconds: float, **_: object) -> None:
            armed.append(seconds)

        cancel_dump_traceback_later = armed.clear

    monkeypatch.setattr(watchdog, "faulthandler", Timer)
    monkeypatch.setattr(watchdog, "SILENCE_SECONDS", 0.06)
    monkeypatch.setattr(HeartbeatGuard, "look", lambda _: waits.wait())
    heartbeat = heart()
    guard = HeartbeatGuard(heartbeat)
    guard.start()
    wait_until(lambda: len(armed) > 2)
    heartbeat._end.set()
    waits.set()
    guard.join()
    wait_until(lambda: not armed)
