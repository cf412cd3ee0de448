"""A request on which PostgreSQL fails alone is refused and holds up no other; while it fails on all, none is."""

import base64
from collections.abc import Sequence

import pytest

from models.words import Code
from tests.kit.actors.messages import arguments, left, message, push, signed
from tests.kit.builders.portals import make_portal
from tests.kit.processes.support import Processes, change, forget, rows, wait_until
from tests.workers.actors.test_bundles import asked, in_order, noise, recorded
from workers import database
from workers.actors import requests as door
from workers.engine import tries
from workers.engine.door import Bundle, SentMessage
from workers.engine.tries import BlameMemory
from workers.ops.unrecorded import count_unrecorded

pytestmark = pytest.mark.usefixtures("running", "fresh_database", "quick")

DAMAGED = "RAISE EXCEPTION 'damaged' USING ERRCODE = 'XX002'"
"""The error of a damaged page of an index."""

AT_POISON = f"IF NEW.key = 'poison' THEN {DAMAGED}; END IF"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes two tries instead of six, with short pauses, and forgets what was at fault in other tests."""
    monkeypatch.setattr(tries, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(tries, "BLAMED", BlameMemory())


def break_on(table: str, body: str) -> None:
    """Runs this code before each insert into a table; the sequence ``tries`` counts also what is rolled back."""
    change("CREATE SEQUENCE IF NOT EXISTS tries")
    change(f"CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$")
    change(f"CREATE TRIGGER odd BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION odd()")


def repair(table: str) -> None:
    change(f"DROP TRIGGER odd ON {table}")


def tried() -> int:
    """Returns how often the sequence ``tries`` counted."""
    [(count,)] = rows("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tries")
    assert isinstance(count, int)
    return count


def limit_time(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    """Sets the time limit of statements for this process."""
    monkeypatch.setattr(database, "SESSION_OPTIONS", (f"-c statement_timeout={milliseconds}",))
    monkeypatch.setattr(tries, "LONE_SECONDS", milliseconds / 1000)
    forget()


def drained(messages: Sequence[SentMessage]) -> int:
    """Records messages as a reader does, one bundle after the other until one records nothing; returns their number."""
    done = 0
    while done < len(messages):
        bundle = recorded(*messages[done:])
        if bundle.recorded == 0:
            break
        done += bundle.recorded
    return done


def shown() -> list[tuple[str, object, object]]:
    """Returns key, state and code of each job in order; keys made of the content are named by their beginning."""
    return [(str(key).partition(":")[0], state, code) for key, state, code in in_order()]


REFUSED = ("refused", Code.NOT_RECORDABLE)


@pytest.mark.parametrize(
    ("table", "body", "key"),
    [
        ("idempotency", AT_POISON, "refused-message"),
        ("job", f"IF NEW.request ->> 'name' = 'Poison' THEN {DAMAGED}; END IF", "poison"),
    ],
    ids=["its key cannot be written", "its job cannot be written"],
)
def test_a_damaged_page_refuses_one_request_and_holds_up_no_other(table: str, body: str, key: str) -> None:
    break_on(table, body)
    messages = [asked("a"), asked("poison", name="Poison"), asked("b"), asked("c")]
    assert drained(messages) == 4
    assert shown() == [("a", "queued", None), (key, *REFUSED), ("b", "queued", None), ("c", "queued", None)]
    [(kept,)] = rows("SELECT message FROM job WHERE state = 'refused'")
    assert kept == messages[1].data


def test_a_time_limit_refuses_one_request_after_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "PAUSES", (0.01,) * 6)
    limit_time(monkeypatch, 200)
    break_on("idempotency", "IF NEW.key = 'poison' THEN PERFORM nextval('tries'); PERFORM pg_sleep(60); END IF")
    assert drained([asked("a"), asked("poison"), asked("b")]) == 3
    assert shown() == [("a", "queued", None), ("refused-message", *REFUSED), ("b", "queued", None)]
    assert tried() == 1 + tries.MOST_TIME_LIMITS + 1 + 1  # together, alone, between the proofs, as refused


def test_statements_about_one_request_have_a_shorter_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1000 * tries.LONE_SECONDS < 120_000
    monkeypatch.setattr(tries, "LONE_SECONDS", 0.2)
    break_on("job", "IF NEW.state = 'refused' THEN PERFORM pg_sleep(60); END IF")
    assert recorded(noise(b"\x80")).left_for == tries.TIME_LIMIT


@pytest.mark.parametrize("state", ["XX002", "42P01", "42703", "42501", "25006", "53100", "57014"])
def test_while_no_request_can_be_recorded_none_is_refused(state: str) -> None:
    break_on("job", f"RAISE EXCEPTION 'for all' USING ERRCODE = '{state}'")
    bundle = recorded(asked("a"), asked("b"))
    assert (bundle.recorded, bundle.left_for) == (0, state)
    repair("job")
    assert drained([asked("a"), asked("b")]) == 2
    assert shown() == [("a", "queued", None), ("b", "queued", None)]


def test_while_a_column_is_missing_only_for_jobs_none_is_refused() -> None:
    change("ALTER TABLE idempotency RENAME COLUMN exact TO exact_later")  # refusals could be recorded
    assert recorded(noise(b"\x80")).recorded == 1
    bundle = recorded(asked("a"), asked("b"))
    assert (bundle.recorded, bundle.left_for) == (0, "42703")
    assert len(in_order()) == 1


def test_what_passes_by_itself_is_waited_for() -> None:
    break_on("idempotency", "IF NEW.key = 'poison' THEN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END IF")
    bundle = recorded(asked("a"), asked("poison"), asked("b"))
    assert (bundle.recorded, bundle.left_for) == (1, "53100")
    assert shown() == [("a", "queued", None)]


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_request_that_succeeds_in_the_end_is_accepted(failures: int) -> None:
    break_on("idempotency", f"IF NEW.key = 'late' AND nextval('tries') <= {failures} THEN {DAMAGED}; END IF")
    assert drained([asked("late"), asked("b")]) == 2
    assert shown() == [("late", "queued", None), ("b", "queued", None)]
    assert tried() == failures + 1


def test_what_breaks_for_all_during_the_last_try_blames_no_request() -> None:
    at_proof = f"IF NEW.key LIKE 'ops:proof:%' AND nextval('tries') > 1 THEN {DAMAGED}; END IF"
    break_on("idempotency", f"{AT_POISON}; {at_proof}")
    bundle = recorded(asked("poison"), asked("b"))
    assert (bundle.recorded, bundle.left_for, tried()) == (0, "XX002", 2)
    assert in_order() == []


def test_a_portal_that_cannot_be_read_holds_up_no_other() -> None:
    recorded(asked("first"))
    broken = make_portal("broken")
    unread = signed(arguments(portal="broken", key_id=broken.key_id, key="x"), broken.secret)
    change("ALTER TABLE portal RENAME TO portal_table")
    change(f"""CREATE FUNCTION readable(name text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF name = 'broken' THEN {DAMAGED}; END IF; RETURN true; END $$""")
    change("CREATE VIEW portal AS SELECT * FROM portal_table WHERE readable(name)")
    forget()
    assert drained([asked("a"), SentMessage(b"x", b"x", unread), asked("b")]) == 3
    assert shown()[1:] == [("a", "queued", None), ("refused-message", *REFUSED), ("b", "queued", None)]


def test_a_refusal_that_cannot_have_its_key_is_kept_by_its_content() -> None:
    break_on("idempotency", AT_POISON)
    assert drained([asked("a"), asked("poison", version=9), asked("b")]) == 3
    assert shown() == [("a", "queued", None), ("refused-message", *REFUSED), ("b", "queued", None)]


def test_a_message_whose_every_key_fails_once_is_kept_in_the_end() -> None:
    by_content = f"IF NEW.key LIKE 'refused-message:%' AND nextval('tries') = 1 THEN {DAMAGED}; END IF"
    break_on("idempotency", f"{AT_POISON}; {by_content}")
    assert drained([asked("poison"), asked("b")]) == 2
    assert shown() == [("refused-message", *REFUSED), ("b", "queued", None)]


def test_a_message_that_cannot_be_kept_at_all_is_given_back() -> None:
    break_on("idempotency", f"{AT_POISON}; IF NEW.key LIKE 'refused-message:%' THEN {DAMAGED}; END IF")
    bundle = recorded(asked("a"), asked("poison"), asked("b"))
    assert (bundle.recorded, bundle.left_for) == (1, "XX002")
    repair("idempotency")
    assert drained([asked("poison"), asked("b")]) == 2
    assert shown() == [("a", "queued", None), ("poison", "queued", None), ("b", "queued", None)]


def test_a_blamed_request_is_acknowledged_before_the_next_is_recorded() -> None:
    break_on("idempotency", AT_POISON)
    messages = [asked("a"), asked("poison"), asked("b")]
    bundle = recorded(*messages)
    assert (bundle.recorded, bundle.left_for, bundle.fault) == (2, tries.REFUSED, "XX002")
    repair("idempotency")
    assert drained(messages) == 3  # the reader died before it acknowledged: all is read again
    assert shown() == [
        ("a", "queued", None),
        ("refused-message", *REFUSED),
        ("poison", "queued", None),
        ("b", "queued", None),
    ]


def test_a_blamed_request_that_is_sent_again_stays_refused() -> None:
    break_on("job", f"IF NEW.request ->> 'name' = 'Poison' THEN {DAMAGED}; END IF")
    messages = [asked("poison", name="Poison"), asked("b")]
    assert drained(messages) == 2
    repair("job")
    assert drained(messages) == 2
    assert drained([asked("poison", name="Poison")]) == 1
    assert shown() == [("poison", *REFUSED), ("b", "queued", None)]


def test_after_one_blamed_request_the_next_waits_for_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "PAUSES", (0.01,) * 6)
    break_on("idempotency", "IF NEW.key LIKE 'p%' THEN PERFORM nextval('tries'); " + DAMAGED + "; END IF")
    assert drained([asked("p1")]) == 1
    first = tried()
    assert drained([asked("p2")]) == 1
    assert (first, tried() - first) == (1 + 6 + 1 + 1, 1 + 1 + 1 + 1)


def test_noise_on_a_queue_of_wake_ups_is_kept_as_well() -> None:
    once = f"IF NEW.key LIKE 'refused-message:%' AND nextval('tries') <= 3 THEN {DAMAGED}; END IF"
    break_on("idempotency", once)
    door.set_aside(queue="enrollments", data=base64.b64encode(b"noise").decode())
    assert rows("SELECT state, message FROM job") == [("refused", b"noise")]


def test_a_running_worker_goes_on_behind_a_damaged_request(processes: Processes) -> None:
    break_on("idempotency", AT_POISON)
    raw = push(message(key="poison"))
    push(message(key="b"))
    processes.worker("requests", "enrollments")
    others = "SELECT state FROM job WHERE state <> 'refused'"
    wait_until(lambda: not left() and rows(others) == [("succeeded",)], seconds=60, say=processes.logs)
    assert shown()[0] == ("refused-message", *REFUSED)
    assert rows("SELECT message FROM job WHERE state = 'refused'") == [(raw,)]
    found = count_unrecorded()
    assert found is not None
    assert found.at_fault is not None
    assert found.at_fault[:2] == (1, "XX002")


def test_a_bundle_says_why_it_was_left() -> None:
    change("ALTER TABLE idempotency RENAME TO idempotency_away")
    bundle = Bundle([asked("a")])
    door.record_bundle(bundle)
    assert bundle.left_for == "42P01"
