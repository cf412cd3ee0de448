"""`matricule status` is readable in 80 columns and has an exit code for monitoring."""

import os
import re
import signal

import pytest
import redis
from sqlalchemy import text

from tests.kit.actors.messages import send
from tests.kit.builders.corrections import correct, participant
from tests.kit.processes.support import (
    Processes,
    change,
    forget,
    rows,
    wait_until,
)
from tests.workers.cli.conftest import Call
from tests.workers.cli.test_seed import ALL
from workers.cli.status import age
from workers.database import transaction
from workers.engine.door_lease import lease_key
from workers.outbox.suppression import suppress
from workers.requests.catalog import PutCompany

HOSTILE = "BC[/2026]:100:"
"""A contract reference of a portal that must be shown neither as markup nor as an emoji."""

ADD_NAME_CORRECTIONS = text("""
    INSERT INTO name_correction (id, account_id, portal_id, job_id, old_first_name, old_last_name, new_first_name,
      new_last_name, state, asked_at)
    SELECT id, id, id, id, 'Anne', 'B', 'Anne', 'C', 'pending', now() - interval '7 hours' FROM account""")


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def test_an_inbox_that_cannot_be_read_is_told(fresh_database: str, call: Call) -> None:
    change(
        "INSERT INTO inbox (id, portal_id, reference, contract, url, policy, notify, report_locale, full_sync, trouble)"
        " SELECT id, id, 'rh', 'C-1', 'file:///x', 'until_full', true, 'fr', false, 'PermissionError' FROM portal"
    )
    assert "the inbox rh cannot be read (PermissionError)" in " ".join(call("status").out.split())
    change("UPDATE inbox SET paused = true")
    assert "the inbox rh" not in call("status").out


def test_a_relay_that_refuses_us_is_told_with_its_words_until_it_accepts(fresh_database: str, call: Call) -> None:
    change(
        "INSERT INTO mail_relay (name, accepted_at, refused_at, refused_reason, refused_words) VALUES ('mx.test:587',"
        " now() - interval '1 minute', now(), 'sender_refused', 'rcpt 554 5.7.1 [x] {y}: Sender address rejected')"
    )
    told = "nothing was accepted since: mend what it names. It says: rcpt 554 5.7.1 [x] {y}"
    assert told in " ".join(call("status").out.split())
    change("UPDATE mail_relay SET refused_at = refused_at - interval '2 hours', accepted_at = NULL")
    assert "refuses our mails" not in call("status").out
    change("UPDATE mail_relay SET refused_at = now(), accepted_at = now() + interval '1 second'")
    assert "refuses our mails" not in call("status").out


def test_the_process_that_reads_what_portals_send_is_named(call: Call) -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as opened:
        opened.set(lease_key(os.environ["REDIS_NAMESPACE"], "requests"), "host-7:4211:x")
        assert "requests of portals are read by host-7:4211" in " ".join(call("status").out.split())


def test_without_any_process_it_says_what_is_missing(call: Call) -> None:
    call("enqueue", "put_company", "--file", "-", stdin={"reference": "acme", "name": "Acmé"})
    called = call("status")
    assert called.code == 1
    for sentence in (
        "no process serves requests: 0 waiting",
        "no process serves enrollments: 1 waiting",
        "no clock leads",
        "served by no process: requests, enrollments",
    ):
        assert sentence in called.out


def test_a_whole_system_is_healthy_and_its_contracts_show_their_counters(call: Call, processes: Processes) -> None:
    call("seed", "-", stdin=ALL)
    processes.worker("requests", "enrollments", "rosters", "emails", "emails_bulk", "maintenance")
    processes.clock()
    wait_until(lambda: call("status").code == 0, say=processes.logs)
    change("UPDATE schedule SET next_run_at = now() WHERE name = 'reconcile'")
    wait_until(lambda: "no drift, compared" in call("status").out, say=processes.logs)
    called = call("status")
    for words in ("C-1", "Acmé", "healthy", "led by", "no drift", "Inscriptions", "Participants", "Places"):
        assert words in called.out
    assert "\x1b" not in called.out
    assert max(map(len, called.out.splitlines())) <= 80


def test_pending_corrections_and_suppressed_addresses_are_counted(call: Call) -> None:
    shown = call("status").out
    assert "suppressed no addresses" in shown
    assert "no corrections of addresses\n" in shown
    assert "no corrections of names\n" in shown
    for name in ("corrections", "name_corrections"):
        assert call("status", "--json").json[name] == {"pending": 0, "oldest_seconds": None}
    with transaction() as session:
        correct(session, participant(session))
        session.execute(text("UPDATE email_correction SET asked_at = now() - interval '5 hours'"))
        session.execute(ADD_NAME_CORRECTIONS)
        for number in range(3):
            suppress(session, f"a{number}@example.com", why="asked", requested_by="")
    shown = call("status").out
    assert "suppressed 3 addresses" in shown
    assert "1 correction of an address, the oldest for 5 h\n" in shown
    waiting = call("status", "--json").json["corrections"]
    assert (waiting["pending"], round(waiting["oldest_seconds"] / 3_600)) == (1, 5)
    assert "1 correction of a name, the oldest for 7 h\n" in shown


def test_json_says_the_same_to_programs(call: Call) -> None:
    called = call("status", "--json")
    assert (called.code, called.json["healthy"], called.json["problems"][0]["code"]) == (1, False, "no_clock")


def test_dead_work_and_drift_are_to_be_looked_at(call: Call) -> None:
    call("seed", "-", stdin=ALL)
    job = call("enqueue", "put_company", "--file", "-", stdin={"reference": "[b]", "name": "[red]Acmé[/]"}).json["id"]
    error = '{"class": "[/b]ErrorWithALongName", "reason": "message_rejected", "message": "Zoé"}'
    rows("UPDATE job SET state = 'dead', due_at = NULL, error = CAST(:error AS json) RETURNING id", error=error)
    rows("UPDATE company SET name = '[red]Acmé[/red] [/nothing]' RETURNING id")
    rows("UPDATE contract SET enrolled_count = 1, reference = :reference RETURNING id", reference=HOSTILE)
    assert "not compared yet" in call("status").out
    called = call("status", "--seats")
    assert called.code == 1
    assert "1 drift, compared 0 s ago" in called.out
    assert "1 dead on enrollments: see why, then matricule retry ID" in called.out
    assert f"  {job}  put_company  [/b]ErrorWithALongName message_rejected\n" in called.out
    assert f"the seats of contract {HOSTILE} do not add up" in called.out
    for shown in ("[/nothing]", f"\n{HOSTILE} "):
        assert shown in called.out


DEAD_JOBS = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, error, finished_at)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', 'enrollments', gen_random_uuid(), 'dead',
      CAST(:error AS json), CAST('2026-03-01T08:30Z' AS timestamptz) + interval '1 hour' * n
    FROM generate_series(1, CAST(:times AS int)) n RETURNING 1"""


def test_each_error_of_many_dead_jobs_is_told_once(call: Call) -> None:
    for times, error in ((9, '{"class": "KeyError"}'), (3, '{"class": "[/b]E", "reason": "locked"}'), (1, None)):
        rows(DEAD_JOBS, times=times, error=error)
    shown = call("status").out
    assert "13 dead on enrollments: see why, then matricule retry ID\n" in shown
    assert "          9  KeyError  first 2026-03-01 09:30, last 2026-03-01 17:30\n" in shown
    assert "          3  [/b]E locked  first 2026-03-01 09:30, last 2026-03-01 11:30\n" in shown
    assert "          1  no error recorded  first 2026-03-01 09:30, last 2026-03-01 09:30\n" in shown
    assert re.search(r"\n  the oldest: [0-9a-f-]{36}, [0-9a-f-]{36}\n", shown)
    assert ("more" in shown, "further errors" in shown) == (False, False)


def test_numbers_beyond_a_cap_are_told_as_such(call: Call) -> None:
    rows(DEAD_JOBS, times=1_001, error='{"class": "KeyError"}')
    rows(DEAD_JOBS, times=9_000, error='{"class": "ValueError"}')
    shown = call("status").out
    for words in ("10 000+ dead on enrollments", " 250+  KeyError  first", " 250+  ValueError  first"):
        assert words in shown
    problem = next(one for one in call("status", "--json").json["problems"] if one["code"] == "dead")
    assert (problem["count"], problem["at_least"], len(problem["rows"])) == (10_000, True, 10)


def test_requests_waiting_in_redis_without_a_worker_are_shown(call: Call, fresh_database: str) -> None:
    for key in ("one", "two"):
        send(PutCompany(reference="acme", name="Acmé"), key)
    called = call("status")
    assert called.code == 1
    assert "no process serves requests: 2 waiting" in called.out
    assert re.search(r"requests \(in Redis\) +2 ", called.out)
    assert call("status", "--json").json["requests"]["waiting"] == 2


def test_redis_away_is_to_be_looked_at(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    forget()
    called = call("status")
    assert (called.code, "Redis does not answer" in called.out, "unreachable" in called.out) == (1, True, True)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0, "0 s"), (-1, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_durations_are_short(seconds: float | None, shown: str) -> None:
    assert age(seconds) == shown


def test_a_frozen_process_is_told_from_a_killed_one(call: Call, processes: Processes) -> None:
    frozen, killed = processes.worker("emails"), processes.worker("rosters")
    wait_until(lambda: rows("SELECT count(*) FROM process") == [(2,)], say=processes.logs)
    os.killpg(frozen.pid, signal.SIGSTOP)
    processes.kill(killed)
    wait_until(lambda: rows("SELECT 1 FROM process HAVING max(seen_at) < now() - interval '10 seconds'"))
    shown = call("status").out
    assert re.search(r"^emails .* ago: silent$", shown, re.MULTILINE)
    assert re.search(r"^rosters .* ago: killed$", shown, re.MULTILINE)
    os.killpg(frozen.pid, signal.SIGCONT)
    wait_until(lambda: "silent" not in call("status").out)
