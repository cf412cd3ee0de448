"""Modifier l'email, Corriger le nom: what will happen to this account is said before it is done."""

from typing import Any, Final, NamedTuple
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import follow
from scripts.portal.forms import read_form
from scripts.portal.mail_shown import MailWords
from scripts.portal.moments import now
from scripts.portal.outcomes import read_job
from scripts.portal.people import full_name, read_person, result_of
from scripts.portal.site import site_of
from scripts.portal.view import page
from scripts.portal.visitors import signed_in
from workers.portal_client import InvalidRequest, Participant

UNPROCESSABLE: Final = 422
"""The status of a form that is to be corrected."""

LONGEST_ADDRESS: Final = 254

CAN_BE_ASKED: Final = frozenset({"at_once", "needs_confirmation"})
"""The words of `can.correct` with which the address can be changed."""

LEFT: Final = frozenset({"already_withdrawn", "detached"})
"""The words of `can.correct` of people who are not on the contract any more."""

EMAIL_TONES: Final = {
    "corrected": "good",
    "confirmation_sent": "good",
    "agreement_awaited": "good",
    "unchanged": "plain",
}
NAME_TONES: Final = {"name_corrected": "good", "name_confirmation_sent": "good", "unchanged": "plain"}
"""How the result of a correction is shown; every other code is a refusal."""


class FieldFault(NamedTuple):
    """A field that is to be corrected: its name, and the key of the text that says how."""

    field: str
    text: str


def ask_email(request: Request) -> Response:
    """Shows what a change of the address will do to this account, and the form if it can be changed."""
    visitor = signed_in(request)
    person = read_person(visitor, request.path_params["enrollment"])
    return _email_page(request, person, {"email": "", "again": ""}, [])


def change_email(request: Request) -> Response:
    """Asks for the change; the address was typed twice."""
    visitor = signed_in(request)
    form = read_form(request)
    person = read_person(visitor, request.path_params["enrollment"])
    typed = {name: form.text(name) for name in ("email", "again")}
    if faults := _email_faults(typed, person):
        return _email_page(request, person, typed, faults)
    try:
        job = visitor.portal.correct_email(person.enrollment_id, email=typed["email"], key=form.key)
    except InvalidRequest:
        return _email_page(request, person, typed, [FieldFault("email", "people.email.fault.invalid")])
    return follow(job, then=f"/participants/{person.enrollment_id}/email/fait?demande={job.id}")


def _email_page(request: Request, person: Participant, typed: dict[str, str], faults: list[FieldFault]) -> Response:
    how = person.can.correct.code
    values: dict[str, Any] = {"possible": how in CAN_BE_ASKED, "left": how in LEFT, "how": how}
    status = UNPROCESSABLE if faults else 200
    return page(request, "email.html", status=status, person=person, typed=typed, faults=faults, **values)


def _email_faults(typed: dict[str, str], person: Participant) -> list[FieldFault]:
    email, again = typed["email"], typed["again"]
    if not email:
        return [FieldFault("email", "people.email.fault.missing")]
    name, at, domain = email.rpartition("@")
    if not (at and name and "." in domain.strip(".")) or " " in email or len(email) > LONGEST_ADDRESS:
        return [FieldFault("email", "people.email.fault.invalid")]
    if email.casefold() == person.email.casefold():
        return [FieldFault("email", "people.email.fault.same")]
    if email.casefold() != again.casefold():
        return [FieldFault("again", "people.email.fault.differ" if again else "people.email.fault.again")]
    return []


def email_changed(request: Request) -> Response:
    """Shows what became of the change."""
    return _result(request, "correct_email", "email", EMAIL_TONES)


def ask_name(request: Request) -> Response:
    """Shows what a correction of the name will do to this account, and the form."""
    visitor = signed_in(request)
    person = read_person(visitor, request.path_params["enrollment"])
    return _name_page(request, person, {"first_name": person.first_name, "last_name": person.last_name}, [])


def correct_name(request: Request) -> Response:
    """Asks for the correction; a name that was left as it is is not sent."""
    visitor = signed_in(request)
    form = read_form(request)
    person = read_person(visitor, request.path_params["enrollment"])
    typed = {name: form.text(name) for name in ("first_name", "last_name")}
    changed = {name: value for name, value in typed.items() if value != getattr(person, name)}
    if faults := _name_faults(typed, changed):
        return _name_page(request, person, typed, faults)
    try:
        job = visitor.portal.correct_name(
            person.enrollment_id,
            key=form.key,
            first_name=changed.get("first_name"),
            last_name=changed.get("last_name"),
        )
    except InvalidRequest as refused:
        wrong = [one.field for one in refused.problems if one.field in changed] or list(changed)
        return _name_page(request, person, typed, [FieldFault(name, "people.name.fault.unusable") for name in wrong])
    return follow(job, then=f"/participants/{person.enrollment_id}/nom/fait?demande={job.id}")


def _name_page(request: Request, person: Participant, typed: dict[str, str], faults: list[FieldFault]) -> Response:
    how = person.can.correct.code
    values: dict[str, Any] = {"left": how in LEFT, "at_once": how == "at_once"}
    status = UNPROCESSABLE if faults else 200
    return page(request, "name.html", status=status, person=person, typed=typed, faults=faults, **values)


def _name_faults(typed: dict[str, str], changed: dict[str, str]) -> list[FieldFault]:
    missing = [name for name, value in typed.items() if not value]
    if missing:
        return [FieldFault(name, f"people.name.fault.{name}") for name in missing]
    return [] if changed else [FieldFault("first_name", "people.name.fault.same")]


def name_corrected(request: Request) -> Response:
    """Shows what became of the correction."""
    return _result(request, "correct_name", "name", NAME_TONES)


def _result(request: Request, kind: str, what: str, tones: dict[str, str]) -> Response:
    visitor = signed_in(request)
    enrollment: UUID = request.path_params["enrollment"]
    job = read_job(visitor, request.query_params.get("demande", ""), kind)
    if not job.finished:
        return follow(job, then=f"{request.url.path}?demande={job.id}")
    result = result_of(job, enrollment)
    person = read_person(visitor, enrollment)
    words = MailWords(site_of(request).texts, visitor.language, now())
    return page(
        request,
        "person_done.html",
        what=what,
        person=person,
        name=full_name(person),
        mail=words.of(person),
        code=result.code,
        detail=result.detail or {},
        tone=tones.get(result.code, "bad"),
    )


ROUTES: Final = [
    Route("/participants/{enrollment:uuid}/email", ask_email, methods=["GET"]),
    Route("/participants/{enrollment:uuid}/email", change_email, methods=["POST"]),
    Route("/participants/{enrollment:uuid}/email/fait", email_changed, methods=["GET"]),
    Route("/participants/{enrollment:uuid}/nom", ask_name, methods=["GET"]),
    Route("/participants/{enrollment:uuid}/nom", correct_name, methods=["POST"]),
    Route("/participants/{enrollment:uuid}/nom/fait", name_corrected, methods=["GET"]),
]
