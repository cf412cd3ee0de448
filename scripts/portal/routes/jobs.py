"""The page of a job: it refreshes itself until the job is done, then leads to its result."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import HOME, see_other, within
from scripts.portal.view import page
from scripts.portal.visitors import signed_in
from workers.portal_client import Job

LOOK_SECONDS: Final = 1.0
"""Seconds for which a page waits for the job, before it is shown and looks again."""


def show(request: Request) -> Response:
    """Leads to the result of a job that is done or refused; shows one that is under way, or that gave up."""
    visitor = signed_in(request)
    job = visitor.portal.wait_for(request.path_params["job"], seconds=LOOK_SECONDS)
    after = within(request.query_params.get("suite", HOME))
    if job.finished and job.state in ("succeeded", "refused"):
        return see_other(after)
    headers = {} if job.finished else {"Refresh": "1"}
    return page(request, "job.html", job=job, after=after, share=share_done(job), headers=headers)


def share_done(job: Job) -> int | None:
    """Returns how much of an import is done, in percent; None for other jobs, which have no shares."""
    rows, done = (job.progress or {}).get("rows"), (job.progress or {}).get("rows_done")
    if not isinstance(rows, int) or not isinstance(done, int) or rows == 0:
        return None
    return min(100, 100 * done // rows)


ROUTES: Final = [Route("/demandes/{job:uuid}", show, methods=["GET"])]
