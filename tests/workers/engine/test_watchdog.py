"""The watchdog names what keeps a process from working, and ends the process when that lasts."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from models.base import new_id
from tests.kit.processes.lossy import way_to_postgres
from tests.kit.processes.support import Processes, change, forget, rows, wait_until
from workers.database import transaction
from workers.engine import watchdog
from workers.engine.heartbeat import Heartbeat
from workers.engine.stopping import STOPPING
from workers.engine.watchdog import (
    DEAD_POOL_SECONDS,
    ENDED_ITSELF,
    ENDS_AFTER,
    LATE_HEARTBEAT,
    LONGEST_BLOCK,
    STOP_SECONDS,
    Ailment,
    HeartbeatGuard,
    LoopWatch,
    ProcessWatch,
    Turns,
    lost,
)
from workers.signs import SIGNS, WorkSigns


@dataclass
class Clock:
    """A monotonic clock that only the test moves."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, watch: ProcessWatch, seconds: float) -> str | None:
        """Lets time pass as heartbeats look at it; returns what the last one tells."""
        told = None
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 2.0, end)
            told = watch.look()
        return told


@dataclass
class Ends:
    """The ends of the process that were asked for."""

    asked: list[str] = field(default_factory=list)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watchdog, "time", made)
    return made


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    made = Ends()
    monkeypatch.setattr(watchdog, "ask_to_stop", lambda: made.asked.append("in order"))
    monkeypatch.setattr(watchdog, "end_at_once", lambda: made.asked.append("at once"))
    return made


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    yield STOPPING
    STOPPING.clear()


def turning(clock: Clock) -> Turns:
    """Returns the turns of a thread that began one and does not end it."""
    turns = Turns(f"begun at {clock.now}")
    turns.begin()
    return turns


@pytest.mark.usefixtures("session")
def test_a_turn_that_takes_long_is_named_and_then_ends_the_process(clock: Clock, ends: Ends) -> None:
    watch = ProcessWatch(turning(clock))
    assert clock.pass_by(watch, 6.0) is None
    assert (clock.pass_by(watch, 2.0), ends.asked, watch.has_ended) == ("stuck", [], False)
    assert clock.pass_by(watch, ENDS_AFTER) == "stuck"
    assert (ends.asked, watch.has_ended) == (["in order"], True)
    clock.pass_by(watch, STOP_SECONDS)
    assert set(ends.asked[1:]) <= {"at once"}
    clock.pass_by(watch, 4.0)
    assert "at once" in ends.asked


@pytest.mark.usefixtures("session")
def test_a_turn_that_ends_and_a_wait_are_no_trouble(clock: Clock, ends: Ends) -> None:
    turns = turning(clock)
    watch = ProcessWatch(turns)
    assert clock.pass_by(watch, 8.0) == "stuck"
    turns.begin()
    assert clock.pass_by(watch, 2.0) is None
    turns.rest()
    assert (clock.pass_by(watch, 10 * ENDS_AFTER), ends.asked) == (None, [])


@pytest.mark.usefixtures("session")
def test_a_process_that_was_frozen_counts_from_when_it_goes_on(clock: Clock, ends: Ends) -> None:
    watch = ProcessWatch(turning(clock))
    clock.now += 10 * ENDS_AFTER
    assert (watch.look(), ends.asked) == (None, [])
    assert (clock.pass_by(watch, 8.0), ends.asked) == ("stuck", [])
    clock.pass_by(watch, ENDS_AFTER)
    assert ends.asked == ["in order"]


@pytest.mark.usefixtures("session")
def test_an_error_of_redis_is_named_and_ends_no_process(clock: Clock, ends: Ends) -> None:
    begun = clock.now
    watch = ProcessWatch(lambda: [Ailment("NOPERM", clock.now - begun, watchdog.TROUBLE_SECONDS)])
    assert clock.pass_by(watch, 6.0) is None
    assert (clock.pass_by(watch, 3_600.0), ends.asked) == ("NOPERM", [])


@pytest.mark.usefixtures("session")
def test_a_dead_thread_ends_the_process_unless_it_stops_anyway(
    clock: Clock, ends: Ends, stopping: threading.Event
) -> None:
    dead = threading.Thread(target=str)
    dead.start()
    dead.join()
    watch = ProcessWatch(lambda: lost({"reader": dead, "another": None}))
    stopping.set()
    assert (clock.pass_by(watch, 2.0), ends.asked) == (None, [])
    stopping.clear()
    assert (clock.pass_by(watch, 2.0), ends.asked) == ("thread_lost", ["in order"])


@pytest.mark.usefixtures("session")
def test_work_that_gives_no_sign_for_a_lease_is_named(
    clock: Clock, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = WorkSigns()
    monkeypatch.setattr("workers.signs.time", clock)
    monkeypatch.setattr(watchdog, "SIGNS", signs)
    watch = ProcessWatch()
    with signs.during("claimer of rosters"):
        assert clock.pass_by(watch, 29.0) is None
        assert (clock.pass_by(watch, 2.0), ends.asked) == ("work_hangs", [])
        signs.show()
        with signs.patiently(900.0):
            assert (clock.pass_by(watch, 900.0), ends.asked) == (None, [])
        assert clock.pass_by(watch, 29.0) is None
        clock.pass_by(watch, watchdog.HANGS_AFTER)
        assert ends.asked == ["in order"]
    assert signs.oldest() is None


@pytest.mark.usefixtures("session")
def test_each_transaction_is_a_sign_of_the_thread_at_work() -> None:
    with SIGNS.during("the test"):
        before = SIGNS.oldest()
        with transaction():
            begun = SIGNS.oldest()
        ended = SIGNS.oldest()
    assert before is not None
    assert begun is not None
    assert ended is not None
    assert before.at < begun.at < ended.at


def test_an_event_loop_that_is_blocked_is_named_until_it_goes_on() -> None:
    loop, release = asyncio.new_event_loop(), threading.Event()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    look = LoopWatch(loop)
    assert list(look()) == []
    wait_until(lambda: look._asked_at is None)
    loop.call_soon_threadsafe(release.wait)
    assert list(look()) == []
    [blocked] = look()
    assert (blocked.code, blocked.named, blocked.ends) == ("loop_blocked", LONGEST_BLOCK, ENDS_AFTER)
    release.set()
    wait_until(lambda: look._asked_at is None)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert [list(look()), list(look())] == [[], []]


def heart() -> Heartbeat:
    """Returns the heartbeat of a process; it does not run."""
    return Heartbeat(new_id(), "rosters")


def looks(clock: Clock, guard: HeartbeatGuard, number: int) -> None:
    """Lets the guard look each two seconds."""
    for _ in range(number):
        clock.now += 2.0
        guard.look()


@pytest.mark.usefixtures("fresh_database")
def test_dead_connections_are_named_over_another_one_and_end_the_process(clock: Clock, ends: Ends) -> None:
    heartbeat = heart()
    heartbeat.beaten_at = heartbeat.unrecorded_since = clock.now
    guard = HeartbeatGuard(heartbeat)
    looks(clock, guard, 2)
    assert rows("SELECT 1 FROM process") == []
    looks(clock, guard, 2)
    assert rows("SELECT kind, trouble FROM process") == [("rosters", "dead_connections")]
    assert ends.asked == []
    looks(clock, guard, int(DEAD_POOL_SECONDS / 2))
    assert "at once" in ends.asked


@pytest.mark.usefixtures("fresh_database")
def test_a_database_that_is_away_ends_no_process(clock: Clock, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://matricule@127.0.0.1:1/none")
    forget()
    guard = HeartbeatGuard(heart())
    looks(clock, guard, 30)
    assert ends.asked == []


@pytest.mark.usefixtures("fresh_database")
def test_a_database_that_comes_back_is_waited_for(clock: Clock, ends: Ends) -> None:
    heartbeat = heart()
    guard = HeartbeatGuard(heartbeat)
    for _ in range(30):
        heartbeat.unrecorded_since = clock.now - LATE_HEARTBEAT - 1
        looks(clock, guard, 1)
        heartbeat.unrecorded_since = None
        looks(clock, guard, 1)
    assert (ends.asked, rows("SELECT 1 FROM process")) == ([], [])


def wounded(processes: Processes, loses: str, **environment: str) -> "Callable[[], int]":
    """Starts a worker that loses a part; returns a function that waits for its end."""
    queues = ("requests", "enrollments")
    words = ("dramatiq", "tests.kit.processes.wounded", "--processes", "1", "--threads", "4", "--queues", *queues)
    group = processes.start(*words, LOSES=loses, **environment)
    return lambda: group.wait(timeout=60)


@pytest.mark.heavy
def test_a_process_with_a_connection_on_which_nothing_answers_ends(processes: Processes) -> None:
    with way_to_postgres(b"INSERT INTO process", "hold") as (way, url):
        ended = wounded(processes, "nothing", ENDS="6", DATABASE_URL=url)
        wait_until(lambda: rows("SELECT trouble FROM process") == [("dead_connections",)], say=processes.logs)
        assert (ended(), len(way.fates)) == (ENDED_ITSELF, 0), processes.logs()


@pytest.mark.heavy
def test_a_process_in_which_no_python_code_runs_ends(processes: Processes) -> None:
    assert wounded(processes, "interpreter", ENDS="3")() == 1
    assert "Timeout" in processes.logs()


@pytest.mark.heavy
@pytest.mark.parametrize(("loses", "named"), [("blocked", "stuck"), ("loop", "loop_blocked")])
def test_a_process_that_works_no_more_says_so_and_ends(processes: Processes, loses: str, named: str) -> None:
    ended = wounded(processes, loses, ENDS="9")
    wait_until(lambda: rows("SELECT trouble FROM process") == [(named,)], seconds=60, say=processes.logs)
    assert ended() == ENDED_ITSELF, processes.logs()
    assert f'"reason": "{named}"' in processes.logs()


@pytest.mark.heavy
def test_work_that_hangs_ends_its_process_and_is_done_once_by_another(processes: Processes) -> None:
    change("""
        INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at)
        SELECT gen_random_uuid(), id, 'put_company', 'enrollments', gen_random_uuid(), 'queued',
          '{"reference": "acme", "name": "Acme"}', now() FROM portal LIMIT 1""")
    ended = wounded(processes, "claimers", ENDS="9", LEASE_SECONDS="2")
    wait_until(lambda: rows("SELECT trouble FROM process") == [("work_hangs",)], seconds=60, say=processes.logs)
    assert ended() == ENDED_ITSELF, processes.logs()
    assert rows("SELECT state, claim FROM job") == [("running", 1)]
    processes.clock()
    processes.worker("enrollments")
    wait_until(lambda: rows("SELECT state, claim FROM job") == [("succeeded", 2)], say=processes.logs)
    assert rows("SELECT count(*) FROM company WHERE reference = 'acme'") == [(1,)]
