"""The processes and threads of a race run these functions. A new process imports this module, so it is
no test module.
"""

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Policy, Progress
from tests.kit.builders.contracts import asking, codes, enrol
from tests.kit.processes.support import rows, wait_until
from workers.actors.registry import SERVICES, do_jobs
from workers.database import Session, dispose_engine, is_transient, transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, ClaimedRow, JobColumns, WorkOutcome
from workers.errors import Transient
from workers.requests.base import Request
from workers.requests.enrollment import Enroll, ProgressEvent, RecordProgress
from workers.requests.queues import Queue

SETTINGS = ("DATABASE_URL", "REDIS_URL", "REDIS_NAMESPACE", "LINK_KEYS", "MAIL_FROM")

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

UNFINISHED = text("SELECT count(*) FROM job WHERE finished_at IS NULL")

Answered = TypeVar("Answered")


def race(run: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Runs a function of this module at the same time in one process for each tuple of arguments; returns their
    answers.
    """
    context = multiprocessing.get_context("forkserver")  # imports once, then forks: twenty processes start quickly
    context.set_forkserver_preload([__name__])
    environment = {name: os.environ[name] for name in SETTINGS}
    with context.Pool(len(arguments), initializer=_enter, initargs=(environment,)) as pool:
        return pool.starmap(run, arguments, chunksize=1)


def _enter(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    dispose_engine()


def enrol_pairs(prefix: str, people: int) -> tuple[list[str], float]:
    """Enrolls people in pairs until the contract is full; returns their codes and the longest wait in seconds."""
    found: list[str] = []
    longest = 0.0
    for number in range(0, people, 2):
        begun = time.monotonic()
        found += enrol_until_done(asking(f"{prefix}x{number}", f"{prefix}x{number + 1}", policy=Policy.UNTIL_FULL))
        longest = max(longest, time.monotonic() - begun)
    return found, longest


def until_done(step: Callable[[Session], Answered]) -> Answered:
    """Does a step in its own transaction, and again after each transient fault, as a worker does."""
    pause = threading.Event()
    while True:
        try:
            with transaction() as session:
                return step(session)
        except Exception as error:
            if not (isinstance(error, Transient) or is_transient(error)):
                raise
        pause.wait(random.uniform(0.005, 0.05))


def outcome_of(session: Session, request: Request) -> WorkOutcome:
    """Returns the outcome of the service for a job of the portal `local` that has no row."""
    columns = JobColumns(request.kind, LOCAL_PORTAL_ID, request.model_dump_json(), 0, "")
    [outcome] = SERVICES[request.kind](session, [ClaimedRow(new_id(), 1, 0, 0, new_id(), columns)])
    return outcome


def do(session: Session, request: Request) -> tuple[str, dict[str, int]]:
    """Returns the state of the outcome, and the number of rows for each code."""
    outcome = outcome_of(session, request)
    return outcome.state, dict((outcome.result or {})["counts"])


def do_until_done(request: Request) -> tuple[str, dict[str, int]]:
    """Does a request in its own transactions, and again after each transient fault, as a worker does."""
    return until_done(lambda session: do(session, request))


def progress_of(enrollments: Sequence[UUID], progress: Progress = Progress.COMPLETED) -> RecordProgress:
    """Returns the progress events that the LMS reports for these people."""
    at = datetime(2026, 3, 5, tzinfo=UTC)
    events = [ProgressEvent(enrollment_id=one, progress=progress, occurred_at=at) for one in enrollments]
    return RecordProgress(events=events)


def enrol_until_done(request: Enroll) -> list[str]:
    """Enrolls people, and again after each transient fault; returns their codes."""
    return until_done(lambda session: codes(enrol(session, request)[0]))


def waiting_for_a_lock(number: int) -> Callable[[], bool]:
    """Returns a condition: this many sessions of this database wait for a lock."""
    return lambda: rows(WAITING) == [(number,)]


def second_waits_for_first(
    threads: ThreadPoolExecutor, first: Callable[[Session], Any], second: Callable[[Session], Any]
) -> tuple[Any, Any]:
    """Starts the second step while the first holds its locks; checks that the second waits; returns both answers."""
    with transaction() as session:
        answer = first(session)
        other = threads.submit(until_done, second)
        wait_until(waiting_for_a_lock(1))
    return answer, other.result(30)


def work_until_done() -> int:
    """Claims and does jobs until none is left; returns the number of batches."""
    pause = threading.Event()
    batches = 0
    while True:
        with transaction() as session:
            claimed = ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=7, lease=30, worker=new_id())
        if claimed:
            BatchRun(JOBS, do_jobs).run(claimed)
            batches += 1
            continue
        with transaction() as session:
            if session.execute(UNFINISHED).scalar() == 0:
                return batches
        pause.wait(0.01)
