"""What the commands about an import that exists share: one request recorded, its queue woken, its job followed."""

from typing import Final
from uuid import uuid4

import typer

from models.words import JobState
from workers.cli.edge import COMMON_CODES, UNFINISHED, edge, fail, print_json
from workers.cli.enqueue import EXIT_OF_STATE, follow
from workers.database import transaction
from workers.engine.acceptance import accept, find_portal
from workers.engine.broker import wake
from workers.requests.base import Request

EXIT_CODES: Final = f"""\b
Exit codes:
   0  done; without --wait: accepted
   1  refused, a business answer: nothing was changed, the code says why
   2  wrong use of the command
{COMMON_CODES}
  70  dead: gave up after its attempts (scripts/retry ID)
  {UNFINISHED}  not finished within the wait; it goes on
"""


def ask(request: Request, *, portal: str, wait: float | None) -> None:
    """Records the request and prints its job, as soon as it is finished or the wait is over."""
    key = f"shell:{uuid4()}"
    with edge():
        with transaction() as session:
            accepted = accept(session, find_portal(session, portal), request, request.model_dump_json(), key=key)
        wake(accepted.queue)
        job = follow(accepted.job_id, wait or 0.0)
    print_json({"key": key, **job})
    if job["finished"]:
        raise typer.Exit(EXIT_OF_STATE[JobState(job["state"])])
    if wait is not None:
        fail(UNFINISHED, f"not finished within {wait:g} s; it goes on")
