"""When a key was last used is written by the minute, with one statement for all keys."""

import threading
import time

import pytest
from sqlalchemy import Engine, event

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.kit.builders.portals import make_portal
from tests.kit.processes.support import change, forget, rows
from workers.database import get_engine, transaction
from workers.portals.keys import add_key
from workers.portals.messages import UnverifiedMessage, verify
from workers.portals.use import USE, KeyUse
from workers.requests.signing import SignedFields

LAST_USE = "SELECT key_id, CAST(extract(epoch FROM now() - last_used_at) AS int) FROM portal_key ORDER BY id"


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def add() -> str:
    with transaction() as session:
        return add_key(session, LOCAL_PORTAL_ID, scopes=[Scope.READ]).key_id


class Clock:
    """A clock that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def statements(engine: Engine) -> list[str]:
    """Collects the statements that are sent from now on."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    return sent


def test_many_uses_of_many_keys_are_written_with_one_statement() -> None:
    keys, clock = [add() for _ in range(3)], Clock()
    use = KeyUse(clock)
    sent = statements(get_engine())
    for _ in range(100):
        for key_id in keys[:2]:
            use.note(key_id)
    assert sent == []
    clock.now += 30.0
    use.note(keys[0])
    clock.now += 600.0
    assert use.flush() == 2
    assert len(sent) == 1
    ages = {str(key_id): age for key_id, age in rows(LAST_USE)}
    assert ages.pop(keys[2]) is None
    assert 600 <= int(str(ages[keys[0]])) <= 660
    assert 630 <= int(str(ages[keys[1]])) <= 690
    assert use.flush() == 0
    use.close()


def test_an_earlier_use_of_another_process_changes_nothing() -> None:
    key_id, clock = add(), Clock()
    use = KeyUse(clock)
    change("UPDATE portal_key SET last_used_at = now() + interval '1 hour'")
    use.note(key_id)
    assert use.flush() == 0
    use.close()


def test_a_key_that_is_unknown_harms_no_other() -> None:
    key_id = add()
    use = KeyUse()
    use.note("unknown0")
    use.note(key_id)
    assert use.flush() == 1
    use.close()


def test_what_cannot_be_written_is_kept_for_the_next_time() -> None:
    key_id = add()
    use = KeyUse()
    use.note(key_id)
    change("ALTER TABLE portal_key RENAME COLUMN key_id TO other")
    with pytest.raises(Exception, match="key_id"):
        use.flush()
    change("ALTER TABLE portal_key RENAME COLUMN other TO key_id")
    assert use.flush() == 1
    use.close()


def test_a_timer_writes_by_itself_and_the_end_of_a_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    key_id = add()
    made: list[tuple[float, object]] = []

    class Timer(threading.Timer):
        def __init__(self, seconds: float, work: object) -> None:
            made.append((seconds, work))
            super().__init__(3_600.0, lambda: None)

    monkeypatch.setattr("workers.portals.use.threading.Timer", Timer)
    use = KeyUse()
    use.note(key_id)
    use.note(key_id)
    [(seconds, work)] = made
    assert (seconds, rows(LAST_USE)) == (60.0, [(key_id, None)])
    assert callable(work)
    work()
    assert rows(LAST_USE) != [(key_id, None)]
    change("UPDATE portal_key SET last_used_at = NULL")
    use.note(key_id)
    use.close()
    assert rows(LAST_USE) != [(key_id, None)]
    assert len(made) == 2


def test_a_database_that_is_away_is_no_error_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    key_id = add()
    use = KeyUse()
    use.note(key_id)
    with monkeypatch.context() as away:
        away.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        forget()
        use.close()
    forget()
    assert rows(LAST_USE) == [(key_id, None)]
    assert use.flush() == 1


def test_a_signed_message_is_a_use_of_its_key_and_a_forged_one_is_none() -> None:
    made = make_portal("acme")
    signed = SignedFields("acme", made.key_id, "put_company", "1", "one", str(int(time.time())), "{}")
    fields = signed._asdict() | {"signature": signed.sign(made.secret)}
    with pytest.raises(UnverifiedMessage):
        verify(fields | {"body": "[]"})
    assert USE.flush() == 0
    verify(fields)
    assert USE.flush() == 1
