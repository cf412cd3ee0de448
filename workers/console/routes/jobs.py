"""The pages on jobs: a search, lists, and one job with all that happened to it."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.address import normalise_email
from models.ops_action import ActionVerb
from models.words import Code, JobState
from workers.console.access.forms import posted
from workers.console.access.visitor import Operator, Reader
from workers.console.acting import act_on_one, back_to
from workers.console.filters import (
    WrongFilter,
    as_id,
    between,
    command_of,
    may_freeze,
    query_of,
    read_filter,
    read_id,
    said,
)
from workers.console.masking import masked_text
from workers.console.told import row_words
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.ops.audit_search import search_audit
from workers.ops.job_list import (
    LOOKED_AT,
    JobsPage,
    find_named,
    find_reference,
    list_jobs,
    list_jobs_between,
    list_jobs_of_key,
)
from workers.ops.job_people import list_people
from workers.ops.job_story import (
    JobFacts,
    asked_fields,
    contract_of,
    list_lane,
    list_mails_of_job,
    people_of,
    read_attempts,
    read_job,
)
from workers.ops.row_filter import RowFilter
from workers.ops.why import explain_wait
from workers.requests.queues import Queue
from workers.requests.registry import KINDS

router = APIRouter()

COLUMNS: Final = (
    *("id", "portal", "kind", "queue", "state", "why", "requested_by", "created_at", "started_at", "finished_at"),
    *("due_at", "dismissed_at", "failures", "rescues"),
)

FILTERS: Final = ("state", "kind", "queue", "portal", "contract", "trouble", "requested_by", "since", "until")


@router.api_route("/ops/find", methods=["GET", "HEAD"], response_model=None)
async def find(request: Request, _: Reader) -> Response:
    """Goes to the page of what was typed: an identifier or its beginning, an address, a key, a reference or a name."""
    words = said(query_of(request), "q")
    return RedirectResponse(await in_transaction(_address_of, words) if words else "/ops/jobs", 303)


def _address_of(session: Session, words: str) -> str:
    if (row_id := as_id(words)) is not None:
        return _page_of(find_named(session, row_id), row_id)
    if not isinstance(normalise_email(words), Code):
        return f"/ops/people?{urlencode({'q': words})}"
    for name, known in (("kind", KINDS), ("state", list(JobState)), ("queue", list(Queue))):
        if words in known:
            return f"/ops/jobs?{urlencode({name: words})}"
    if (reference := find_reference(session, words)) is not None:
        return f"/ops/jobs?{urlencode({reference: words})}"
    if list_jobs_of_key(session, words).jobs:
        return f"/ops/jobs?{urlencode({'key': words})}"
    name = "id" if between(words) else "requested_by"
    return f"/ops/jobs?{urlencode({name: words})}"


def _page_of(what: str | None, row_id: UUID) -> str:
    match what:
        case "email":
            return f"/ops/mails/{row_id}"
        case "action":
            return f"/ops/actions/{row_id}"
        case "account" | "enrollment":
            return f"/ops/people/{row_id}"
        case _:
            return f"/ops/jobs/{row_id}"


@router.api_route("/ops/jobs", methods=["GET", "HEAD"], response_model=None)
async def show_jobs(request: Request, visitor: Reader) -> Response:
    """Lists jobs by the filter in the address."""
    given = query_of(request)
    try:
        wanted, after = read_filter(given, "job"), read_id(given, "after")
    except WrongFilter as wrong:
        return await _show_list(request, visitor, RowFilter("job"), JobsPage([]), wrong=wrong.name, status=400)
    found = await in_transaction(_find_jobs, given, wanted, after)
    rows = [tuple(_exported(name, getattr(job, name)) for name in COLUMNS) for job in found.jobs]
    if (answer := table(request, visitor, "jobs", COLUMNS, rows)) is not None:
        return answer
    return await _show_list(request, visitor, wanted, found)


def _exported(name: str, value: object) -> object:
    return masked_text(value) if name == "requested_by" else value


def _find_jobs(session: Session, given: Mapping[str, str], wanted: RowFilter, after: UUID | None) -> JobsPage:
    if key := said(given, "key"):
        return list_jobs_of_key(session, key)
    if beginning := said(given, "id"):
        ends = between(beginning)
        return list_jobs_between(session, *ends) if ends else JobsPage([])
    by = said(given, "requested_by")
    routine = bool(said(given, "routine") or wanted.state or wanted.kind)
    return list_jobs(session, wanted, requested_by=by, after=after, with_schedules=routine)


async def _show_list(
    request: Request, visitor: Reader, wanted: RowFilter, found: JobsPage, *, wrong: str = "", status: int = 200
) -> Response:
    given = query_of(request)
    verbs = _verbs(wanted.state) if may_freeze(wanted) and not said(given, "requested_by") else ()
    return await page(
        request,
        visitor,
        "jobs.html",
        status=status,
        found=found,
        wanted=wanted,
        given={name: said(given, name) for name in (*FILTERS, "key", "id", "routine")},
        states=list(JobState),
        kinds=sorted(KINDS),
        queues=list(Queue),
        looked_at=LOOKED_AT,
        wrong=wrong,
        ticked_verbs=_verbs(wanted.state),
        verbs=verbs,
        commands={verb: command_of(verb, wanted) for verb in verbs},
    )


def _verbs(state: str) -> tuple[ActionVerb, ...]:
    """Returns what can be done to jobs of a state."""
    if state == JobState.DEAD:
        return (ActionVerb.RETRY, ActionVerb.DISMISS)
    if state == JobState.QUEUED:
        return (ActionVerb.CANCEL,)
    return () if state else (ActionVerb.RETRY, ActionVerb.DISMISS, ActionVerb.CANCEL)


def _read_story(session: Session, job_id: UUID, first: int) -> dict[str, Any] | None:
    job = read_job(session, job_id)
    if job is None:
        return None
    return {
        "job": job,
        "wait": explain_wait(session, job_id),
        "attempts": read_attempts(session, job_id),
        "people": list_people(session, job, first=first),
        "mails": list_mails_of_job(session, job_id),
        "lane": list_lane(session, job),
        "audit": search_audit(session, job=job_id, limit=20),
    }


@router.api_route("/ops/jobs/{job_id}", methods=["GET", "HEAD"], response_model=None)
async def show_job(request: Request, visitor: Reader, job_id: UUID) -> Response:
    """Shows one job: why it waits, what happened, its people, its mails and its neighbours."""
    given = query_of(request)
    place = said(given, "first")
    first = int(place) if place.isascii() and place.isdecimal() and len(place) <= 9 else 0
    story = await in_transaction(_read_story, job_id, first)
    if story is None:
        raise HTTPException(404)
    if (answer := _as_table(request, visitor, story)) is not None:
        return answer
    job: JobFacts = story["job"]
    return await page(
        request,
        visitor,
        "job.html",
        **story,
        first=first,
        asked=asked_fields(job.kind, job.request),
        contract=contract_of(job),
        size=people_of(job),
        counts=_counts(job),
        verbs=_verbs_of(job),
        acted=said(given, "acted"),
        outcome=said(given, "outcome"),
        **row_words(visitor),
    )


def _counts(job: JobFacts) -> dict[str, int]:
    counts = (job.result or {}).get("counts")
    return {str(code): number for code, number in counts.items()} if isinstance(counts, dict) else {}


def _verbs_of(job: JobFacts) -> tuple[ActionVerb, ...]:
    """Returns what can be done to a job; what it asked for must be kept to retry it."""
    if job.state == JobState.DEAD:
        retry = (ActionVerb.RETRY,) if job.request is not None else ()
        return retry if job.dismissed_at else (*retry, ActionVerb.DISMISS)
    waits = job.state == JobState.QUEUED and job.leased_until is None
    return (ActionVerb.CANCEL,) if waits and job.position == 0 else ()


def _as_table(request: Request, visitor: Reader, story: Mapping[str, Any]) -> Response | None:
    people = [(one.position, one.code, one.field, one.account_id, one.enrollment_id) for one in story["people"].people]
    mails = [(one.id, one.kind, one.state, one.created_at, one.finished_at) for one in story["mails"]]
    attempts = [
        (one.claim, one.outcome, (one.error or {}).get("class"), one.created_at, one.times, one.host)
        for one in story["attempts"]
    ]
    return (
        table(request, visitor, "people", ("position", "code", "field", "account_id", "enrollment_id"), people)
        or table(request, visitor, "mails", ("id", "kind", "state", "created_at", "finished_at"), mails)
        or table(request, visitor, "attempts", ("claim", "outcome", "class", "created_at", "times", "host"), attempts)
    )


@router.post("/ops/jobs/{job_id}/act", response_model=None)
async def act(request: Request, visitor: Operator, job_id: UUID) -> Response:
    """Retries, dismisses or cancels one job at once."""
    form = await posted(request)
    answer = await act_on_one(visitor, form, job_id)
    return back_to(f"/ops/jobs/{quote(str(job_id))}", acted=answer.verb, outcome=answer.outcome)
