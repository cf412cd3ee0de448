"""Records a request from a shell in the ledger, wakes its queue and follows its job."""

import getpass
import os
import time
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import typer

from models.portal import LOCAL_PORTAL_ID
from models.words import JobState
from workers.cli.edge import DEAD, REFUSED, UNFINISHED, fail
from workers.database import transaction
from workers.engine.acceptance import AcceptedJob, accept, accept_internal, find_portal
from workers.engine.broker import wake
from workers.reading.jobs import show_job
from workers.requests.base import Request

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""The shortest and the longest time between two looks at a job, in seconds."""

EXIT_OF_STATE: Final = {
    JobState.SUCCEEDED: 0,
    JobState.REFUSED: REFUSED,
    JobState.CANCELLED: REFUSED,
    JobState.DEAD: DEAD,
}

DEAD_CODE: Final = f"  {DEAD}  dead: gave up after its attempts (matricule retry ID)"
"""The exit code of a job that died, as the help of a command tells it."""


class Asked(NamedTuple):
    """A request that was accepted.

    Parameters:
      repeated: it was accepted before, under the same key.
      job: the job as ``show_job`` shows it, finished or not.
    """

    repeated: bool
    job: dict[str, Any]


def ask(request: Request, body: str, *, portal: str, key: str, wait: float | None) -> Asked:
    """Records a request in the name of a portal; returns its job, finished or as it stands when the wait is over."""
    with transaction() as session:
        accepted = accept(session, find_portal(session, portal), request, body, key=key)
    return _followed(accepted, wait)


def ask_as_ops(request: Request, body: str, *, wait: float | None) -> Asked:
    """Records a request that portals may not send; returns its job like `ask`."""
    with transaction() as session:
        accepted = accept_internal(session, LOCAL_PORTAL_ID, request, body, key=f"ops:{uuid4()}")
    return _followed(accepted, wait)


def new_key() -> str:
    """Makes a key for a request that was typed without one."""
    return f"shell:{uuid4()}"


def _followed(accepted: AcceptedJob, wait: float | None) -> Asked:
    wake(accepted.queue)
    return Asked(accepted.repeated, follow(accepted.job_id, wait or 0.0))


def follow(job_id: UUID, seconds: float) -> dict[str, Any]:
    """Returns the job once it is finished, or as it stands when the time is over; looks less and less often."""
    deadline, pause = time.monotonic() + seconds, SHORTEST_PAUSE
    while True:
        with transaction() as session:
            job = show_job(session, job_id)
        if job is None:
            raise LookupError(f"job {job_id} was accepted and is not in the ledger")
        left = deadline - time.monotonic()
        if job["finished"] or left <= 0:
            return job
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


def end(job: dict[str, Any], wait: float | None, then: str) -> None:
    """Ends a command that printed its job: by the job's state, or with `then` when the wait was over before."""
    if job["finished"]:
        raise typer.Exit(EXIT_OF_STATE[JobState(job["state"])])
    if wait is not None:
        fail(UNFINISHED, f"not finished within {wait:g} s; it goes on{then}")


def finished(asked: Asked, wait: float) -> dict[str, Any]:
    """Returns the job; ends the command when it is not finished."""
    job = asked.job
    if not job["finished"]:
        fail(UNFINISHED, f"not finished within {wait:g} s; job {job['id']} goes on: matricule jobs show {job['id']}")
    return job


def asker() -> str:
    """Returns the system user as the audit trail names them."""
    try:
        return f"shell:{getpass.getuser()}"
    except (KeyError, OSError):  # a container without this user in its passwd
        return f"shell:{os.getuid()}"
