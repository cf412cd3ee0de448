"""Progression individuelle: search a person, see their progress, fetch a duplicate of their certificate."""

from typing import Any, Final, NamedTuple
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import follow
from scripts.portal.forms import read_form
from scripts.portal.mail_shown import MailShown, MailWords
from scripts.portal.moments import now
from scripts.portal.outcomes import read_job
from scripts.portal.people import read_person, result_of
from scripts.portal.routes.certificates import KIND, duplicate
from scripts.portal.site import site_of
from scripts.portal.view import page
from scripts.portal.visitors import Visitor, signed_in
from workers.portal_client import Job, Page, Participant, ParticipantProgress

MOST_FOUND: Final = 50

MOST_TYPED: Final = 200


class ShownPerson(NamedTuple):
    """One person's progress, as the page shows it.

    Parameters:
      certificate: the version that is valid, with its duplicates; None without one.
      job: a job of duplicates that has just ended; code, number: its result.
    """

    person: Participant
    progress: ParticipantProgress
    mail: MailShown
    certificate: Any
    job: Job | None = None
    code: str = ""
    number: str = ""


def search(request: Request) -> Response:
    """Finds people by the beginning of their names or address; one alone is shown at once."""
    visitor = signed_in(request)
    typed = request.query_params.get("q", "").strip()[:MOST_TYPED]
    cursor = request.query_params.get("apres") or None
    found = _search(visitor, typed, cursor) if typed else None
    only = found.items[0] if found and len(found.items) == 1 and found.next is None and cursor is None else None
    shown = _read(request, visitor, only.enrollment_id) if only else None
    return page(request, "progression.html", typed=typed, found=found, cursor=cursor, shown=shown)


def _search(visitor: Visitor, typed: str, cursor: str | None) -> Page[Participant]:
    return visitor.portal.participants_page(visitor.contract, q=typed, cursor=cursor, limit=MOST_FOUND)


def show(request: Request) -> Response:
    """Shows one person's progress, and the duplicate that was just asked for."""
    visitor = signed_in(request)
    enrollment: UUID = request.path_params["enrollment"]
    job_id = request.query_params.get("demande", "")
    job = read_job(visitor, job_id, KIND) if job_id else None
    if job is not None and not job.finished:
        return follow(job, then=f"/progression/{enrollment}?demande={job.id}")
    shown = _read(request, visitor, enrollment)  # after the job, which may end meanwhile
    if job is not None:
        result = result_of(job, enrollment)
        shown = shown._replace(job=job, code=result.code, number=str((result.detail or {}).get("number", "")))
    typed = request.query_params.get("q", "").strip()[:MOST_TYPED]
    return page(request, "progression.html", typed=typed, found=None, cursor=None, shown=shown)


def _read(request: Request, visitor: Visitor, enrollment: UUID) -> ShownPerson:
    person = read_person(visitor, enrollment)
    progress = visitor.portal.progress(enrollment)
    valid = next((one for one in reversed(progress.certificates) if one.status == "valid"), None)
    latest = valid or (progress.certificates[-1] if progress.certificates else None)
    certificate = visitor.portal.certificate(latest.id) if latest else None
    words = MailWords(site_of(request).texts, visitor.language, now())
    return ShownPerson(person, progress, words.of(person), certificate)


def fetch(request: Request) -> Response:
    """Asks for a duplicate of the certificate of one person."""
    visitor = signed_in(request)
    form = read_form(request)
    person = read_person(visitor, request.path_params["enrollment"])
    job = duplicate(visitor, [str(person.enrollment_id)], form)
    return follow(job, then=f"/progression/{person.enrollment_id}?demande={job.id}")


ROUTES: Final = [
    Route("/progression", search, methods=["GET"]),
    Route("/progression/{enrollment:uuid}", show, methods=["GET"]),
    Route("/progression/{enrollment:uuid}/attestation", fetch, methods=["POST"]),
]
