"""Records the request of a call as a job, and answers with the job."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from models.words import Code, JobState
from workers.api.bodies import read_body, read_request
from workers.api.calls import Call, json_answer
from workers.api.operation import Body
from workers.api.problems import ApiProblem, key_required
from workers.database import Session
from workers.engine.acceptance import AcceptedJob, SubmittedRequest
from workers.portals.rights import as_sent_by, refusal
from workers.reading.enrollments import OwnEnrollment, find_own_enrollment
from workers.reading.jobs import show_recorded_job
from workers.requests.base import Request

ENROLLMENT: Final = "enrollment_id"
"""The field of requests that names an enrollment."""

POLL_SECONDS: Final = 1
"""Seconds after which a caller may look at a job again."""


async def submit(call: Call) -> Response:
    """Reads the request of a body, records it, and answers with its job."""
    body = call.operation.body
    if body is None or body.request is None:
        raise TypeError(f"{call.operation.name} has no request")
    key = required_key(call)
    given = {name: call.path[parameter] for name, parameter in body.given.items()}
    if ENROLLMENT in given:
        enrollment = await own_enrollment(call, body.given[ENROLLMENT])
        given[ENROLLMENT] = str(enrollment.id)
    return await record(call, key, *read_request(body.request, await read_body(call.http, body.most), given))


async def own_enrollment(call: Call, parameter: str) -> OwnEnrollment:
    """Finds the enrollment that the address names.

    Raises: ApiProblem with `not_found` when this portal has none with this identifier.
    """
    found = await call.read(find_own_enrollment, call.key.portal_id, call.identifier(parameter))
    if found is None or not call.key.may_name(found.company):
        raise ApiProblem(Code.NOT_FOUND)
    return found


def required_key(call: Call) -> str:
    """Returns the idempotency key of a call; PUT needs none, because it may be repeated anyway.

    Raises: ApiProblem.
    """
    key = call.idempotency_key()
    if key is not None:
        return key
    if call.operation.method == "PUT":
        return f"put:{uuid4()}"
    raise key_required()


async def record(call: Call, key: str, request: Request, text: str) -> Response:
    """Records a request and answers with its job, as it is when the wait is over that the call asks for.

    Raises: ApiProblem with `not_found` when the key may not name what the request is about.
    """
    request, text = as_sent_by(call.key, request, text)
    if call.key.companies is not None and await call.read(refusal, call.key, request) is not None:
        raise ApiProblem(Code.NOT_FOUND)
    accepted = await call.services.recorder.accept(SubmittedRequest(call.key.portal_id, request, text, key))
    return await answer_job(call, accepted, request)


async def answer_job(call: Call, accepted: AcceptedJob, request: Request) -> Response:
    """Answers 202 with a job that goes on, or 200 with one that has finished; a refused one has finished too."""
    seconds = None if call.services.waiter.is_full else call.wait_seconds()
    if seconds is None and accepted.created_at is not None:
        return _answer(fresh_job(accepted, request), accepted, None)
    if seconds:
        await wait_or_leave(call, accepted.job_id, seconds)
    job = await call.read(_shown, call.key.portal_id, accepted.job_id)
    return _answer(job, accepted, seconds)


async def wait_or_leave(call: Call, job_id: UUID, seconds: float) -> None:
    """Waits for a job to finish, for as long as the client is there; what was accepted is done all the same.

    Raises: starlette.requests.ClientDisconnect when the client left.
    """
    waits = asyncio.ensure_future(call.services.waiter.wait(job_id, seconds))
    leaves = asyncio.ensure_future(_client_left(call.http))
    try:
        await asyncio.wait((waits, leaves), return_when=asyncio.FIRST_COMPLETED)
        if not waits.done():
            raise ClientDisconnect
    finally:
        waits.cancel()
        leaves.cancel()


async def _client_left(http: HttpRequest) -> None:
    """Returns once the client has left; the body was read, so the server has nothing else to say."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _answer(job: Mapping[str, Any], accepted: AcceptedJob, seconds: float | None) -> Response:
    headers = {"Location": f"/v1/jobs/{accepted.job_id}"}
    if accepted.repeated:
        headers["Idempotency-Replayed"] = "true"
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds:g}"
    if not job["finished"]:
        headers["Retry-After"] = str(POLL_SECONDS)
    return json_answer(job, 200 if job["finished"] else 202, headers)


def fresh_job(accepted: AcceptedJob, request: Request) -> dict[str, Any]:
    """Returns a job that was just recorded, as ``show_recorded_job`` would, without reading it."""
    return {
        "id": str(accepted.job_id),
        "kind": request.kind,
        "state": JobState.QUEUED,
        "finished": False,
        "requested_by": request.requested_by,
        "created_at": accepted.created_at.isoformat() if accepted.created_at else None,
        "started_at": None,
        "finished_at": None,
        "result": {"people": []},
        "error": None,
    }


def _shown(session: Session, portal_id: UUID, job_id: UUID) -> dict[str, Any]:
    job = show_recorded_job(session, portal_id, job_id)
    if job is None:
        raise LookupError(f"job {job_id} was accepted and is not in the ledger")
    return job


def body_of(request: type[Request], **given: str) -> Body:
    """Describes a body that is a request; `given` names the fields that the address gives, and its parameters."""
    return Body(request, given=given)
