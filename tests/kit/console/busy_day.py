"""A busy day for the console: queues that clear, stand still, are paused; processes; a relay; what gave up.

Minutes are counted into the next one, so that its turn changes no figure of a test.
"""

from typing import Final

from tests.kit.processes.support import change

HOSTILE: Final = "<img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}"
"""A name that would be a script, or turn a line round, on a page that does not escape it."""

JOBS: Final = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, due_at, created_at, request)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), '{kind}', '{queue}',
      md5('{queue}' || (n % {lanes}))::uuid, 'queued', now() - interval '{oldest}' * n / {number},
      now() - interval '{oldest}' * n / {number}, '{{"contract": "C-1"}}' FROM generate_series(1, {number}) n"""

RUNNING: Final = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, due_at, leased_until, started_at, worker, request)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', 'enrollments', gen_random_uuid(), 'queued',
      now(), now() + interval '30 s', now() - interval '4 s' * n,
      (SELECT id FROM process WHERE kind LIKE '%enrollments%' LIMIT 1), '{}' FROM generate_series(1, 3) n"""

DEAD: Final = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, created_at, started_at, finished_at, error, trouble)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', 'enrollments', gen_random_uuid(), 'dead',
      now() - interval '2 h', now() - interval '2 h', now() - interval '1 h',
      json_build_object('class', 'NotNullViolation', 'reason', CAST(:reason AS text)), 'NotNullViolation|#|#'
    FROM generate_series(1, 7)"""

PROCESSES: Final = """
    INSERT INTO process (id, kind, host, pid, started_at, release)
    SELECT gen_random_uuid(), k, h, 400 + row_number() OVER (), now() - interval '3 h', '0.5.0' FROM (VALUES
      ('requests', 'par-01'), ('enrollments', 'par-01'), ('enrollments', 'par-02'), ('rosters', 'par-02'),
      ('emails', 'par-01'), ('emails_bulk', 'par-02'), ('certificates', 'par-02'), ('maintenance', 'par-01'),
      ('webhooks', 'par-01'), ('clock', 'par-01'), ('clock', 'par-02')) p (k, h)"""

CLOCK: Final = """
    INSERT INTO clock (name, holder, until)
    SELECT 'clock', id, now() + interval '3 s' FROM process WHERE kind = 'clock' AND host = 'par-01'
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"""

DEPTHS: Final = """
    INSERT INTO ledger_depth (ledger, minute, queue, waiting, arrived)
    SELECT CASE WHEN q LIKE 'emails%' THEN 'email' ELSE 'job' END, date_trunc('minute', now()) - interval '1 min' * n,
      q, greatest(CAST(most * CASE WHEN falls THEN n / 60.0 ELSE (1 - n / 60.0) END AS int), 0), arrived
    FROM generate_series(-1, 60) n, (VALUES ('enrollments', 184, true, 9), ('emails', 41, false, 3),
      ('certificates_bulk', 38, false, 1), ('emails_bulk', 512, true, 0)) q (q, most, falls, arrived)"""

ENDED: Final = """
    INSERT INTO ledger_minute (ledger, minute, queue, kind, state, rows, waited, took)
    SELECT ledger, date_trunc('minute', now()) - interval '1 min' * n, q, kind, state, rows,
      ARRAY[0, 0, rows, 0, 0, 0, 0, 0, 0], ARRAY[0, 0, 0, rows, 0, 0, 0, 0, 0]
    FROM generate_series(-1, 900) n, (VALUES ('job', 'enrollments', 'enroll', 'succeeded', 24),
      ('job', 'enrollments', 'enroll', 'dead', 1), ('email', 'emails_bulk', 'invitation', 'sent', 6),
      ('email', 'emails_bulk', 'invitation', 'failed', 1)) k (ledger, q, kind, state, rows)"""

HOURS: Final = """
    INSERT INTO ledger_hour (ledger, hour, queue, kind, state, rows, waited, took)
    SELECT ledger, date_trunc('hour', now()) - interval '1 h' * n, 'enrollments', 'enroll', state,
      rows * (3 + n % 24), ARRAY[0,0,0,0,0,0,0,0,0], ARRAY[0,0,0,0,0,0,0,0,0]
    FROM generate_series(1, 2000) n, (VALUES ('job', 'succeeded', 60), ('job', 'dead', 1), ('email', 'sent', 80))
      k (ledger, state, rows)"""

OTHERS: Final = """
    INSERT INTO mail_relay (name, accepted_at) VALUES ('smtp.example.fr:587', now() - interval '3 s');
    INSERT INTO release_run (release, first_seen_at, last_seen_at)
    VALUES ('0.5.0', now() - interval '9 h', now()), ('0.4.0', now() - interval '9 d', now() - interval '9 h');
    INSERT INTO queue_pause (id, queue, reason, paused_by, until)
    VALUES (gen_random_uuid(), 'rosters', :reason, 'ops:anne', now() + interval '2 h');
    UPDATE schedule SET next_run_at = now(), last_run_at = now() - interval '40 min'"""


def beat() -> None:
    """Lets all processes and the leading clock be heard of now."""
    change("UPDATE process SET seen_at = now()")
    change(CLOCK)


def fill(words: str = f"panne {HOSTILE}", error: str = HOSTILE) -> None:
    """Fills the database of a test with a busy day.

    Parameters:
      words: why a queue is paused.
      error: the reason of what gave up.
    """
    change(PROCESSES)
    change(CLOCK)
    change(JOBS.format(kind="enroll", queue="enrollments", lanes=9, oldest="3 min", number=184))
    change(JOBS.format(kind="duplicate_certificates", queue="certificates_bulk", lanes=4, oldest="45 min", number=38))
    change(JOBS.format(kind="import_roster", queue="rosters", lanes=2, oldest="26 min", number=5))
    change(RUNNING)
    change(DEAD, reason=error)
    change(DEPTHS)
    change(ENDED)
    change(HOURS)
    for statement in OTHERS.split(";\n"):
        change(statement, **({"reason": words} if ":reason" in statement else {}))


__all__ = ["HOSTILE", "beat", "fill"]
