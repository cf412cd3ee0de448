"""Jobs: how a request went."""

from typing import Final

from starlette.responses import Response

from models.words import Code, Scope
from workers.api.calls import Call, json_answer
from workers.api.operation import Operation
from workers.api.problems import ApiProblem
from workers.api.schemas import Job
from workers.reading.jobs import show_portal_job


async def show(call: Call) -> Response:
    """Shows a job with a result for each person, in the order of the request."""
    job = await call.read(show_portal_job, call.key.portal_id, call.identifier("job"))
    if job is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(job)


OPERATIONS: Final = (
    Operation("GET", "/jobs/{job}", "show_job", show, Scope.READ, "Show a job", "Jobs", answers={200: Job}),
)
