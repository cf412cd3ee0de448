"""Measures the CPU of reading the status of a platform that has run for years and has trouble enough."""

import json
import subprocess
import sys
from statistics import median
from typing import Final

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.benchmarks.history import SMALL, HistorySize, add_history
from tests.benchmarks.measure import ROUNDS, Figure, Verdict
from tests.benchmarks.system import System
from tests.kit.processes.support import PROJECT
from workers.database import get_engine, transaction
from workers.ops.reconciliation import compare_now

MOST_MILLISECONDS: Final = 300
WAITING: Final = 20_000

# Gives the dead jobs of the history errors of eight kinds, each with a message of its own and a long traceback, and the
# trouble that a worker writes of them.
VARY_ERRORS = text("""
    UPDATE job SET trouble = class || '|' || reason || '|no row #',
      error = json_build_object('class', class, 'message', 'no row ' || job.id, 'traceback',
        repeat(md5(CAST(job.id AS text)), 60), 'reason', nullif(reason, ''))
    FROM (SELECT id, (ARRAY['KeyError', 'OperationalError', 'ValueError', 'WorkerLost'])[1 + n % 4] AS class,
        CASE WHEN n / 8 % 2 = 0 THEN 'locked' ELSE '' END AS reason
      FROM (SELECT id, abs(hashtext(CAST(id AS text))) AS n FROM job WHERE state = 'dead') numbered) varied
    WHERE varied.id = job.id""")

# Makes a fiftieth of the sent mails end without being sent, with the usual reasons.
VARY_MAILS = text("""
    UPDATE email SET state = (ARRAY['failed', 'expired', 'uncertain', 'suppressed'])[1 + abs(n / 50) % 4],
      trouble = 'failed|' || reason || '|', error = json_build_object('class', 'failed', 'reason', reason)
    FROM (SELECT id, n, (ARRAY['address_rejected', 'mailbox_full', 'policy', 'timed_out'])[1 + abs(n / 200) % 4]
        AS reason
      FROM (SELECT id, hashtext(CAST(id AS text)) AS n FROM email) numbered) varied
    WHERE varied.id = email.id AND n % 50 = 0""")

# Adds jobs that wait for a minute and more on three queues, in many lanes.
ADD_WAITING_JOBS = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at, created_at)
    SELECT CAST('019f000000007000a000' || lpad(to_hex(n), 12, '0') AS uuid), :portal, 'enroll',
      (ARRAY['enrollments', 'rosters', 'maintenance'])[1 + n % 3], CAST(md5(CAST(n % 2000 AS text)) AS uuid), 'queued',
      '{}', at, at
    FROM (SELECT n, now() - interval '1 second' * (n % 90) AS at FROM generate_series(1, CAST(:waiting AS int)) n)
      made""")

# Adds mails that wait as long; a third of them was set back for a fault of the relay.
ADD_WAITING_MAILS = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state, error,
      due_at, created_at)
    SELECT CAST('019f000000007000a000' || lpad(to_hex(n), 12, '0') AS uuid), 'invitation',
      (ARRAY['emails', 'emails_bulk'])[1 + n % 2], CAST(md5(CAST(n % 200 AS text)) AS uuid), 'waiting-' || n,
      'a' || n || '@histoire.example', 'fr', '<' || n || '@histoire.example>', now(), now() + interval '5 days', 'owed',
      CASE WHEN n % 3 = 0 THEN CAST('{"class": "retry", "reason": "timed_out"}' AS json) END,
      CASE WHEN n % 3 = 0 THEN now() + interval '5 minutes' ELSE at END, at
    FROM (SELECT n, now() - interval '1 second' * (n * 36 % 7200) AS at
      FROM generate_series(1, CAST(:waiting AS int)) n) made""")


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures the first reading of three processes, from the open connection to the printed tables."""
    with system.trial():
        add_history(SMALL if short else HistorySize())
        add_troubles(WAITING // 100 if short else WAITING)
        readings = [_read() for _ in range(1 if short else ROUNDS)]
    values = [1000 * (reading["python"] + reading["postgresql"]) for reading in readings]
    met = Verdict.MET if median(values) <= MOST_MILLISECONDS else Verdict.MISSED
    facts = {
        "by process": ", ".join(
            f"{one} {1000 * median(r[one] for r in readings):.0f}" for one in ("python", "postgresql")
        ),
        "until printed": f"{1000 * median(reading['wall'] for reading in readings):.0f} ms",
    }
    goal = f"≤ {MOST_MILLISECONDS} ms"
    return [Figure("status, CPU", goal, values, " ms", Verdict.NONE if short else met, facts)]


def add_troubles(waiting: int) -> None:
    """Adds what goes wrong and what waits to the history, and a comparison of seats; vacuums and analyses."""
    with transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(VARY_ERRORS)
        session.execute(VARY_MAILS)
        session.execute(ADD_WAITING_JOBS, {"portal": LOCAL_PORTAL_ID, "waiting": waiting})
        session.execute(ADD_WAITING_MAILS, {"waiting": waiting})
        assert compare_now(session).drift == []
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) job"))
        connection.execute(text("VACUUM (ANALYZE) email"))


def _read() -> dict[str, float]:
    """Reads the status in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.status_reader"]
    ended = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    reading: dict[str, float] = json.loads(ended.stdout)
    return reading
