"""One snapshot for all readers: made by the first who asks, shown to the others; without a database it says so."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from tests.kit.processes.support import change, forget, rows
from tests.workers.ops.test_status_plans import statements_of
from workers.database import transaction
from workers.engine.rollout import this_release
from workers.ops import snapshot
from workers.ops.snapshot import FRESH_SECONDS, read_snapshot
from workers.ops.status import read_status


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def age_by(seconds: float) -> None:
    change("UPDATE status_snapshot SET taken_at = taken_at - make_interval(secs => :seconds)", seconds=seconds)


def without_age(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(status))
    return {key: value for key, value in found.items() if key != "age_seconds"}


def test_all_who_look_within_five_seconds_see_the_same() -> None:
    first = read_snapshot()
    change("DELETE FROM schedule")
    second = read_snapshot()
    assert without_age(second) == without_age(first)
    assert first["age_seconds"] == 0.0
    assert 0.0 <= second["age_seconds"] < FRESH_SECONDS
    age_by(FRESH_SECONDS)
    assert (len(first["schedules"]) > 0, read_snapshot()["schedules"]) == (True, [])


def test_a_second_look_costs_one_statement() -> None:
    read_snapshot()
    assert len(statements_of(read_snapshot)) == 1


def test_a_snapshot_of_another_release_or_of_the_future_is_not_shown() -> None:
    first = read_snapshot()
    for spoil in ("form = '1 0.0.1'", "taken_at = now() + interval '1 hour'"):
        change(f"UPDATE status_snapshot SET {spoil}, facts = '{{}}'")
        assert read_snapshot().keys() == first.keys()
    assert rows("SELECT form FROM status_snapshot") == [(f"{snapshot.FORM} {this_release()}",)]


def test_of_many_who_ask_at_once_one_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read_snapshot()
    age_by(FRESH_SECONDS)
    made = []

    def counted(*args: Any, **options: Any) -> dict[str, Any]:
        made.append(options)
        return read_status(*args, **options)

    monkeypatch.setattr(snapshot, "read_status", counted)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: without_age(read_snapshot()), range(6)))
    assert (len(made), [one == found[0] for one in found]) == (1, [True] * 6)


def test_who_asks_waits_for_the_one_who_makes_it() -> None:
    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            session.execute(snapshot.AWAIT_TURN)
            asked = pool.submit(read_snapshot)
            assert not asked.done()
            facts = json.dumps({"made": "by another"})
            session.execute(snapshot.KEEP_SNAPSHOT, {"form": f"{snapshot.FORM} {this_release()}", "facts": facts})
        assert without_age(asked.result(timeout=30)) == {"made": "by another"}


def test_seats_compared_now_are_shown_to_the_next_reader_too() -> None:
    assert read_snapshot()["reconciled"] is None
    assert read_snapshot(compare_seats=True)["reconciled"]["contracts"] == 0
    assert read_snapshot()["reconciled"]["contracts"] == 0


def test_without_a_database_it_says_so_and_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/nothing")
    forget()
    status = read_snapshot()
    assert (status["healthy"], status["database"], status["requests"]["waiting"]) == (False, None, 0)
    assert [problem["code"] for problem in status["problems"]][:1] == ["no_database"]
    assert "secret" not in json.dumps(status)
    assert read_snapshot(compare_seats=True)["database"] is None


def test_a_server_that_takes_no_writes_is_told(fresh_database: str) -> None:
    change(f"ALTER DATABASE {fresh_database} SET default_transaction_read_only = on")
    forget()
    [problem, *_] = read_snapshot()["problems"]
    assert (problem["code"], problem["class"]) == ("no_database", "25006")


def test_a_status_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LIMIT_STATEMENTS", text("SET LOCAL statement_timeout = '50ms'"))
    monkeypatch.setattr(snapshot, "read_status", lambda session, *_, **__: session.execute(text("SELECT pg_sleep(9)")))
    [problem, *_] = read_snapshot()["problems"]
    assert (problem["code"], problem["class"]) == ("no_database", "57014")
