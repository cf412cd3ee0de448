"""The requests of a portal are limited over all web processes, without a call of Redis for a request."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis

from models.rate_limit import UNLIMITED
from tests.kit.actors.messages import client
from tests.kit.processes.support import forget, wait_until
from tests.kit.processes.valkey import OwnValkey
from workers.portals.keys import KnownKey
from workers.portals.limits import RateLimits

NOTHING_CAME_BACK = 1
"""A test takes less than the second after which one of 60 requests a minute comes back, or little more."""


@pytest.fixture(autouse=True)
def _namespace(fresh_database: str) -> None:
    """Gives each test its own keys."""


@pytest.fixture
def process() -> Iterator[Callable[[], RateLimits]]:
    """Makes the counts of one web process; ends its thread after the test."""
    made: list[RateLimits] = []

    def make() -> RateLimits:
        made.append(RateLimits())
        return made[-1]

    yield make
    for one in made:
        one.close()


def key(limit: int | None = 60, portal_id: UUID | None = None) -> KnownKey:
    return KnownKey(uuid4(), "abcdefgh", portal_id or uuid4(), "acme", [], None, None, None, limit)


def without_thread(monkeypatch: pytest.MonkeyPatch) -> RateLimits:
    """Makes the counts of a process without its thread, so that the test says when it settles."""
    limits = RateLimits()
    monkeypatch.setattr(limits, "_want", lambda: None)
    return limits


def allowed(limits: RateLimits, one: KnownKey, tries: int) -> int:
    return sum(limits.check(one).allowed for _ in range(tries))


def test_one_process_allows_the_limit_and_refuses_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, one = without_thread(monkeypatch), key(60)
    assert limits.check(one).remaining == 59
    assert 59 <= allowed(limits, one, 200) <= 59 + NOTHING_CAME_BACK
    refused = limits.check(one)
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 0, 1)
    assert limits.check(key(60)).allowed, "another portal has its own limit"


def test_requests_come_back_with_time() -> None:
    now = 1_000.0
    limits, one = RateLimits(settle=lambda _: {}, clock=lambda: now), key(60)
    assert allowed(limits, one, 100) == 60
    now += 10.0
    assert allowed(limits, one, 100) == 10
    now += 3_600.0
    assert allowed(limits, one, 100) == 60
    limits.close()


def test_a_portal_without_a_limit_is_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = without_thread(monkeypatch)
    assert {limits.check(key(None)) for _ in range(10)} == {UNLIMITED}
    limits.settle()
    with client() as opened:
        assert list(opened.scan_iter(f"{os.environ['REDIS_NAMESPACE']}:limit:*")) == []


def test_processes_that_settled_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, one = without_thread(monkeypatch), without_thread(monkeypatch), key(60)
    assert allowed(first, one, 40) == 40
    first.settle()
    assert second.check(one).allowed, "it has not heard of the others yet"
    second.settle()
    assert 19 <= allowed(second, one, 100) <= 19 + NOTHING_CAME_BACK
    second.settle()
    first.check(one)
    first.settle()
    assert allowed(first, one, 100) <= NOTHING_CAME_BACK


def test_what_two_processes_allowed_at_one_moment_is_missing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may allow the whole limit before they settle; then both wait until the debt is over."""
    first, second, one = without_thread(monkeypatch), without_thread(monkeypatch), key(60)
    assert allowed(first, one, 60) == allowed(second, one, 60) == 60
    first.settle()
    second.settle()
    for limits in (first, second):
        limits.check(one)
        limits.settle()
        told = limits.check(one)
        assert (told.allowed, 58 <= told.retry_after <= 61) == (False, True)


def test_a_limit_that_is_changed_counts_what_was_sent_before(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, one = without_thread(monkeypatch), key(60)
    assert allowed(limits, one, 30) == 30
    limits.settle()
    higher = one._replace(requests_per_minute=6_000)
    assert 2_990 <= allowed(limits, higher, 6_000) <= 3_200, "half of the minute was used"
    assert limits.check(one._replace(requests_per_minute=None)) == UNLIMITED


def test_a_thread_settles_by_itself_while_requests_come(process: Callable[[], RateLimits]) -> None:
    first, second, one = process(), process(), key(60)
    name = f"{os.environ['REDIS_NAMESPACE']}:limit:{one.portal_id}"
    assert allowed(first, one, 50) == 50
    with client() as opened:
        wait_until(lambda: 47_000 < opened.pttl(name) <= 50_000)
        assert second.check(one).allowed
        wait_until(lambda: second.check(one).remaining < 12)


def test_the_keys_of_portals_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, one = without_thread(monkeypatch), key(60)
    allowed(limits, one, 3)
    limits.settle()
    with client() as opened:
        [name] = opened.scan_iter(f"{os.environ['REDIS_NAMESPACE']}:limit:*")
        assert 0 < opened.pttl(name) <= 3_000


def test_a_clock_of_redis_that_was_ahead_costs_a_minute_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, one = without_thread(monkeypatch), key(60)
    with client() as opened:
        name = f"{os.environ['REDIS_NAMESPACE']}:limit:{one.portal_id}"
        opened.set(name, (int(opened.time()[0]) + 86_400) * 1_000_000)
    limits.check(one)
    limits.settle()
    assert limits.check(one).retry_after <= 62


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnValkey]:
    """Starts a Valkey that a test may kill."""
    started = OwnValkey(tmp_path / "valkey").start()
    monkeypatch.setenv("REDIS_URL", started.url)
    forget()
    yield started
    started.kill()


def test_while_redis_is_away_each_process_counts_alone(server: OwnValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, one = without_thread(monkeypatch), without_thread(monkeypatch), key(60)
    server.kill()
    for limits in (first, second):
        assert 60 <= allowed(limits, one, 100) <= 60 + NOTHING_CAME_BACK
        with pytest.raises(redis.RedisError):
            limits.settle()
        assert not limits.check(one).allowed
    server.start()
    first.settle()
    assert first.check(one).allowed, "what was sent meanwhile is not held against the portal"


def test_the_thread_goes_on_when_redis_is_back(server: OwnValkey, process: Callable[[], RateLimits]) -> None:
    limits, one = process(), key(6_000)
    server.kill()
    assert allowed(limits, one, 100) == 100
    server.start()
    with server.client() as opened:
        wait_until(lambda: limits.check(one) and opened.keys("*:limit:*"))
