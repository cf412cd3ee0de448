"""Real processes send reminders and release seats: the clock starts the work, a kill interrupts it, the
mails arrive.
"""

from collections.abc import Iterator

import pytest

from models.words import EmailKind
from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.builders.invited_people import (
    MANAGER,
    OPTIONS,
    change_contract,
    deliver,
    invited,
    later,
    owe,
    plan,
    warned,
)
from tests.kit.moments import FRIDAY_NOON, SUNDAY_NIGHT, set_database_to
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from tests.kit.relay.relay import Mail, Relay
from workers.database import Session, transaction
from workers.engine.broker import wake
from workers.ops.reconciliation import find_drift
from workers.requests.internal import PlanReleases, SendReminders

pytestmark = pytest.mark.heavy

LEASE = 2.0
PEOPLE = [f"p{number}" for number in range(20)]
STALL = """
    CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"""
STALLED = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
STATE = """
    SELECT count(*) FILTER (WHERE reminders = 1), count(release_warned_at), count(withdrawn_at),
      (SELECT enrolled_count FROM contract), (SELECT count(*) FROM email WHERE kind = :kind),
      (SELECT count(DISTINCT enrollment_id) FROM email WHERE kind = :kind)
    FROM enrollment"""


def prepare(session: Session, kind: EmailKind) -> None:
    """Enrolls twenty people who are due for a mail of this kind today, and owes the job that begins it."""
    if kind is EmailKind.RELEASE:
        warned(session, *PEOPLE)
    else:
        invited(session, *PEOPLE)
        later(session, 2 if kind is EmailKind.REMINDER else 23)
    owe(session, SendReminders() if kind is EmailKind.REMINDER else PlanReleases())


@pytest.mark.parametrize(
    ("kind", "job", "table", "when", "before", "after"),
    [
        (EmailKind.REMINDER, "send_reminders", "email", "NEW.kind = 'reminder'", (0, 0, 0), (20, 0, 0)),
        (EmailKind.RELEASE_WARNING, "plan_releases", "email", "NEW.kind = 'release_warning'", (0, 0, 0), (0, 20, 0)),
        (EmailKind.RELEASE, "release_seats", "seat_movement", "NEW.change = -1", (0, 20, 0), (0, 20, 20)),
    ],
)
def test_a_worker_killed_half_way_leaves_nothing_and_another_does_it_once(
    processes: Processes,
    kind: EmailKind,
    job: str,
    table: str,
    when: str,
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> None:
    with transaction() as session:
        prepare(session, kind)
    change("DELETE FROM schedule")
    change(STALL)
    change(f"CREATE TRIGGER stall BEFORE INSERT ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION stall()")
    worker = processes.worker("maintenance", "enrollments", LEASE_SECONDS=str(LEASE))
    wake("maintenance")
    wait_until(lambda: rows(STALLED), say=processes.logs)
    processes.kill(worker)
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
         " AND datname = current_database()")  # fmt: skip
    wait_until(lambda: not rows(STALLED))
    assert rows(STATE, kind=kind) == [(*before, 20, 0, 0)]
    change(f"DROP TRIGGER stall ON {table}")
    processes.clock()
    processes.worker("maintenance", "enrollments", LEASE_SECONDS=str(LEASE))
    done = "SELECT state, rescues FROM job WHERE kind = :kind AND rescues > 0"
    wait_until(lambda: rows(done, kind=job) == [("succeeded", 1)], say=processes.logs)
    assert rows(STATE, kind=kind) == [(*after, 20 - after[2], 20, 20)]
    with transaction() as session:
        assert find_drift(session) == []


@pytest.fixture
def relay(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    with Relay() as opened:
        monkeypatch.setenv("SMTP_URL", opened.url)
        yield opened


def three_people(session: Session) -> None:
    """Enrolls Luc, warned a week ago; Zoé, due for a warning today; and Anne, invited two days ago."""
    add_contract(session)
    change_contract(session, **OPTIONS)
    enrolled(session, "luc")
    deliver(session)
    later(session, 7)
    enrolled(session, "zoe")
    deliver(session)
    later(session, 16)
    plan(session)
    deliver(session)
    later(session, 5)
    enrolled(session, "anne")
    deliver(session)
    later(session, 2)


SLOTS_COME = "UPDATE schedule SET next_run_at = now() WHERE name IN ('reminders', 'releases')"


def test_the_clock_fires_and_the_mails_get_out(relay: Relay, processes: Processes) -> None:
    set_database_to(FRIDAY_NOON)
    with transaction() as session:
        three_people(session)
    change("UPDATE enrollment SET next_reminder_at = NULL WHERE enrolled_at < now() - interval '3 days'")
    change(SLOTS_COME)
    processes.clock()
    processes.worker("maintenance", "enrollments", "emails", "emails_bulk")

    def got() -> bool:
        addresses = [address for mail in list(relay.mails) for address in mail.recipients]
        return sorted(addresses) == ["anne@example.com", *[MANAGER] * 2, "luc@example.com", "zoe@example.com"]

    wait_until(got, say=lambda: f"{[(m.recipients, m.message['Subject']) for m in relay.mails]} {processes.logs()}")
    [anne], [luc], [zoe] = (relay.to(f"{name}@example.com") for name in ("anne", "luc", "zoe"))
    assert "Rappel" in str(anne.message["Subject"])
    assert "/links/" in anne.text
    assert "Ce lien est valable jusqu’au" in anne.text
    assert "votre place sera rendue à votre entreprise" in zoe.text
    assert "/links/" in zoe.text
    assert "a été rendue à Acmé" in luc.text
    assert "/links/" not in luc.text

    def named(mail: Mail) -> list[bool]:
        return [f"<{name}@example.com>" in mail.text for name in ("anne", "luc", "zoe")]

    assert sorted(named(mail) for mail in relay.to(MANAGER)) == [[False, False, True], [False, True, False]]
    wait_until(lambda: not rows("SELECT 1 FROM email WHERE due_at IS NOT NULL"))
    assert rows("SELECT enrolled_count FROM contract") == [(2,)]
    assert "@example.com" not in processes.logs()
    with transaction() as session:
        assert find_drift(session) == []


def test_the_clock_fires_at_night_and_no_mail_is_sent(relay: Relay, processes: Processes) -> None:
    set_database_to(SUNDAY_NIGHT)
    with transaction() as session:
        three_people(session)
    before = rows(STATE, kind=EmailKind.REMINDER)
    [(begun,)] = rows("SELECT now()")
    change(SLOTS_COME)
    processes.clock()
    processes.worker("maintenance", "enrollments", "emails", "emails_bulk")
    fired = "SELECT kind FROM job WHERE kind IN ('send_reminders', 'plan_releases') AND finished_at > :begun"
    wait_until(lambda: len(rows(fired, begun=begun)) == 2, say=processes.logs)
    wait_until(lambda: not rows("SELECT 1 FROM email WHERE due_at IS NOT NULL"))
    assert rows(STATE, kind=EmailKind.REMINDER) == before
    assert relay.mails == []
