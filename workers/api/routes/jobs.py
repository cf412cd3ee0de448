"""Jobs: how requests went, the results of their people, and how an import is stopped."""

from typing import Final, Literal
from uuid import UUID

from pydantic import Field
from starlette.responses import Response

from models.words import Code, JobState, Scope
from workers.api.calls import Call, json_answer
from workers.api.operation import Operation
from workers.api.pages import PageQuery, id_cursor, page_answer, read_id_cursor, read_number_cursor
from workers.api.problems import ApiProblem
from workers.api.schemas import Job, JobPerson, ListedJob, Page
from workers.api.submitting import body_of, submit
from workers.reading.job_lists import LATEST, JobFilter, list_jobs, list_people
from workers.reading.jobs import show_portal_job
from workers.reading.visible_jobs import VisibleJob, find_visible_job
from workers.requests.imports import CancelImport, ImportRoster
from workers.requests.registry import KINDS, SENDING_SCOPES

TAG: Final = "Jobs"

PORTAL_KINDS: Final = tuple(sorted(kind for kind, request in KINDS.items() if not request.internal))


class JobQuery(PageQuery):
    """Which jobs are asked for."""

    state: JobState | None = Field(default=None, description="only in this state")
    kind: Literal[PORTAL_KINDS] | None = Field(default=None, description="only of this kind")  # type: ignore[valid-type]


class PeopleQuery(PageQuery):
    """Which results of a job are asked for."""

    code: Code | None = Field(default=None, description="only with this result")


async def jobs(call: Call) -> Response:
    """Lists the jobs of the portal, the latest first, without their results.

    A page may have fewer items than `limit` although `next` is given.
    """
    query: JobQuery = call.query
    before = LATEST if query.cursor is None else read_id_cursor(query.cursor)
    page = await call.read(list_jobs, call.key, JobFilter(query.kind, query.state), before, query.limit)
    return page_answer(call, page.items, id_cursor(page.next) if page.next else None)


async def show(call: Call) -> Response:
    """Shows a job with a result for each person, in the order of the request.

    A job of more than 200 people shows the first 200, and in `people_next` the `cursor` with which
    `/v1/jobs/{job}/people` goes on.
    """
    job = await call.read(show_portal_job, call.key, call.identifier("job"))
    if job is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(job)


async def people(call: Call) -> Response:
    """Lists the results of the people of a job, in the order of the request; of one that runs those so far.

    A page may have fewer items than `limit` although `next` is given.
    """
    query: PeopleQuery = call.query
    first = read_number_cursor(query.cursor)
    page = await call.read(
        list_people, call.key, call.identifier("job"), code=query.code, first=first, size=query.limit
    )
    if page is None:
        raise ApiProblem(Code.NOT_FOUND)
    return page_answer(call, page.items, None if page.next is None else str(page.next))


async def cancel(call: Call) -> Response:
    """Stops the import of a file where it stands; people enrolled so far stay enrolled.

    Other kinds of jobs are done within moments and cannot be stopped: `not_cancellable`.
    """
    if (await visible_job(call)).kind != ImportRoster.kind:
        raise ApiProblem(Code.NOT_CANCELLABLE, "only the import of a file can be stopped")
    return await submit(call)


async def visible_job(call: Call, *, whole: bool = False) -> VisibleJob:
    """Finds the job that the address names.

    Raises: ApiProblem with `not_found` when the key may see no such job.
    """
    job_id: UUID = call.identifier("job")
    found = await call.read(find_visible_job, call.key, job_id, whole=whole)
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return found


OPERATIONS: Final = (
    Operation(
        "GET",
        "/jobs",
        "list_jobs",
        jobs,
        Scope.READ,
        "List jobs",
        TAG,
        query=JobQuery,
        answers={200: Page[ListedJob]},
        instead=SENDING_SCOPES,
    ),
    Operation(
        "GET",
        "/jobs/{job}",
        "show_job",
        show,
        Scope.READ,
        "Show a job",
        TAG,
        answers={200: Job},
        instead=SENDING_SCOPES,
    ),
    Operation(
        "GET",
        "/jobs/{job}/people",
        "list_job_people",
        people,
        Scope.READ,
        "List the results of the people of a job",
        TAG,
        query=PeopleQuery,
        answers={200: Page[JobPerson]},
        instead=SENDING_SCOPES,
    ),
    Operation(
        "POST",
        "/jobs/{job}/cancel",
        "cancel_job",
        cancel,
        Scope.ENROLL,
        "Stop a job",
        TAG,
        body=body_of(CancelImport, job="job"),
        keyed=True,
        problems=(Code.NOT_CANCELLABLE,),
    ),
)
