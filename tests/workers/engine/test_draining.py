"""A process that an operator drains takes nothing new, finishes what it holds, says so, and goes on when asked."""

import signal
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from models.base import new_id
from tests.kit.actors.mailers import owe_invitations, states
from tests.kit.actors.messages import send
from tests.kit.processes.support import Processes, change, rows, wait_until
from tests.kit.processes.web_process import start_web
from tests.kit.relay.relay import Relay
from tests.workers.cli.conftest import Call
from tests.workers.cli.conftest import call as call  # noqa: PLC0414 - a fixture
from workers.clock import RunningClock
from workers.engine import draining
from workers.engine.broker import wake
from workers.engine.claimer import this_process
from workers.engine.draining import Drain, DrainOrder
from workers.engine.heartbeat import Heartbeat
from workers.engine.stopping import DRAINING
from workers.requests.catalog import PutCompany

WHY = ("--reason", "a new release")
OWE_JOB = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at)
    SELECT gen_random_uuid(), id, 'put_company', :queue, gen_random_uuid(), 'queued',
      '{"reference": "acme", "name": "Acme"}', now() FROM portal LIMIT 1"""


@pytest.fixture(autouse=True)
def _not_draining() -> Iterator[None]:
    yield
    DRAINING.clear()


def lives(processes: Processes, kind: str, number: int = 1) -> None:
    found = "SELECT count(*) FROM process WHERE kind = :kind AND seen_at > now() - interval '5 s'"
    wait_until(lambda: rows(found, kind=kind) == [(number,)], seconds=60, say=processes.logs)


def drained(call: Call, name: str, *words: str) -> None:
    """Drains a process and waits for it."""
    said = call("drain", name, "--wait", "30", *words, *WHY)
    assert said.code == 0, said


def woken(queue: str, condition: Callable[[], object]) -> Callable[[], object]:
    """Returns the condition; each look at it wakes the queue, as no clock runs."""

    def look() -> object:
        wake(queue)
        return condition()

    return look


def name_of(kind: str) -> str:
    [(name,)] = rows("SELECT host || ':' || pid FROM process WHERE kind = :kind AND drain_asked_at IS NULL", kind=kind)
    return str(name)


def test_an_order_is_followed_once_and_undone() -> None:
    holds = [True]
    changes: list[int] = []
    stops: list[int] = []
    drain = Drain(lambda _: holds[0], changed=lambda: changes.append(1), stop=lambda: stops.append(1))
    assert drain.is_over is False
    for _ in range(2):
        drain.follow(DrainOrder(asked=True, drained=False, stop=True))
    assert (DRAINING.is_set(), drain.is_over, len(changes), stops) == (True, False, 1, [])
    holds[0] = False
    assert (DRAINING.is_set(), drain.is_over) == (True, True)
    for _ in range(2):
        drain.follow(DrainOrder(asked=True, drained=True, stop=True))
    assert len(stops) == 1
    drain.follow(DrainOrder(asked=False, drained=False, stop=False))
    assert (DRAINING.is_set(), drain.is_over, len(changes)) == (False, False, 2)


def test_a_reader_that_began_its_turn_before_the_sign_may_hold_work(monkeypatch: pytest.MonkeyPatch) -> None:
    turned_at: list[float] = []

    class Sign(threading.Event):
        """The sign to take nothing new, at the moment at which a reader has just looked at it."""

        def set(self) -> None:
            turned_at.append(time.monotonic())
            super().set()

    monkeypatch.setattr(draining, "DRAINING", Sign())
    drain = Drain(lambda since: turned_at[-1] <= since)
    drain.follow(DrainOrder(asked=True, drained=False, stop=False))
    assert drain.is_over is False
    turned_at.append(time.monotonic())
    assert drain.is_over is True


@pytest.mark.usefixtures("fresh_database")
def test_processes_that_are_to_stop_together_wait_for_each_other() -> None:
    stops: list[str] = []

    def beating(name: str, kind: str = "rosters") -> Heartbeat:
        held[name] = True
        drain = Drain(lambda _: held[name], stop=lambda: stops.append(name))
        return Heartbeat(new_id(), kind, drain=drain)

    held: dict[str, bool] = {}
    hearts = [beating("one"), beating("two"), beating("other", "emails")]

    def beat(times: int = 3) -> None:
        for _ in range(times):
            for heart in hearts:
                heart._record()

    beat()
    change("UPDATE process SET drain_asked_at = now(), drain_stop = true")
    held["one"] = False
    beat()
    assert (stops, rows("SELECT count(*) FROM process WHERE drained_at IS NOT NULL")) == ([], [(1,)])
    held["two"] = False
    beat()
    assert sorted(stops) == ["one", "two"]


@pytest.mark.usefixtures("fresh_database")
def test_a_clock_gives_its_lead_up_and_takes_it_again() -> None:
    clock = RunningClock(this_process())
    clock.round()
    assert (clock.holds_work(), rows("SELECT 1 FROM clock WHERE until > now()")) == (True, [(1,)])
    DRAINING.set()
    clock.round()
    assert (clock.holds_work(), rows("SELECT 1 FROM clock WHERE until > now()")) == (False, [])
    DRAINING.clear()
    clock.round()
    assert rows("SELECT 1 FROM clock WHERE until > now()") == [(1,)]


@pytest.mark.heavy
def test_a_drained_worker_leaves_requests_and_jobs_to_another(processes: Processes, call: Call) -> None:
    queues = ("requests", "rosters")
    processes.worker(*queues)
    lives(processes, "requests rosters")
    drained(call, name_of("requests rosters"))
    [(first,)] = rows("SELECT id FROM process")
    send(PutCompany(reference="acme", name="Acme"), "one")
    change(OWE_JOB, queue="rosters")
    wake("rosters")
    assert call("drain", str(first), "--wait", "9", *WHY).code == 0  # still: it took none of them
    assert rows("SELECT count(*), max(claim) FROM job") == [(1, 0)]
    processes.worker(*queues)
    wait_until(lambda: rows("SELECT count(*) FROM job WHERE state = 'succeeded'") == [(1,)], say=processes.logs)
    wait_until(lambda: rows("SELECT count(*) FROM job") == [(2,)], say=processes.logs)
    assert rows("SELECT 1 FROM job WHERE worker = :first", first=first) == []
    second = name_of("requests rosters")
    drained(call, second)
    assert call("drain", str(first), "--undo", *WHY).code == 0
    change(OWE_JOB, queue="rosters")
    wait_until(woken("rosters", lambda: rows("SELECT 1 FROM job WHERE worker = :first", first=first)))
    send(PutCompany(reference="acme", name="Acme"), "two")
    wait_until(lambda: rows("SELECT count(*) FROM job") == [(4,)], say=processes.logs)


@pytest.mark.heavy
def test_a_mailer_that_is_drained_sends_what_it_holds_and_ends(processes: Processes, call: Call) -> None:
    with Relay(room=0) as relay:
        owe_invitations("anne")
        mailer = processes.worker("emails", threads=2, SMTP_URL=relay.url)
        wait_until(woken("emails", lambda: relay.holding == 1), say=processes.logs)
        name = name_of("emails")
        asked = call("drain", name, "--stop", "--json", *WHY)
        assert (asked.code, asked.json["answer"]) == (0, "drains")
        wait_until(lambda: "process.drains" in processes.logs())
        assert rows("SELECT drained_at FROM process") == [(None,)]
        relay.admit(None)
        assert mailer.wait(timeout=60) == 0, processes.logs()
    assert (states(), len(relay.mails)) == ({"sent": 1}, 1)
    assert rows("SELECT 1 FROM process") == []


@pytest.mark.heavy
def test_web_clock_and_senders_are_drained_too(processes: Processes, call: Call) -> None:
    web = start_web(processes)
    clock = processes.clock()
    processes.start("workers.cli", "webhooks")
    for kind in ("web", "clock", "webhooks"):
        lives(processes, kind)
        drained(call, name_of(kind))
    answer = httpx2.get(f"{web.base_url}/readyz", trust_env=False)
    assert (answer.status_code, answer.text) == (503, "an operator drains this process\n")
    assert rows("SELECT 1 FROM clock WHERE until > now()") == []
    [(host,)] = rows("SELECT host FROM process WHERE kind = 'web'")
    assert call("drain", f"{host}:web", "--undo", *WHY).code == 0
    wait_until(lambda: httpx2.get(f"{web.base_url}/readyz", trust_env=False).status_code == 200, say=processes.logs)
    clock.send_signal(signal.SIGTERM)
    assert clock.wait(timeout=30) == 0
