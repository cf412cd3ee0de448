"""« Ajout unique » and « Ajout multiple »: a form, its job, and a page for the result that is found again."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import follow
from scripts.portal.forms import Form, read_form
from scripts.portal.mail_shown import MailWords
from scripts.portal.moments import now
from scripts.portal.persons import (
    DONE,
    FIELDS,
    NOBODY,
    PersonFault,
    TypedPerson,
    closed_because,
    faults_of_person,
)
from scripts.portal.site import site_of
from scripts.portal.view import page
from scripts.portal.visitors import Visitor, signed_in
from workers.portal_client import InvalidRequest, Job, JobPerson, Participant

MOST_ROWS: Final = 200
"""The most people of one form; a file takes more."""

ALONE: Final = 10
"""The most participants that are asked for one by one, when the list has them no longer among the latest."""

ENROLL: Final = "enroll"

UNIQUE: Final = "/participants/ajout"
SEVERAL: Final = "/participants/ajout-multiple"


class AddedPerson(NamedTuple):
    """A person of a form and the result.

    Parameters:
      row: their place among the people of the form, from 1.
      participant: as they are on the contract now; None for a person who was refused, or has left.
    """

    row: int
    typed: TypedPerson
    result: JobPerson
    participant: Participant | None
    faults: Sequence[PersonFault]

    @property
    def name(self) -> str:
        """The name of the account, or else the name that was typed."""
        found = self.participant
        return self.typed.name if found is None else f"{found.first_name} {found.last_name}".strip()

    @property
    def email(self) -> str:
        """The address of the account, or else the one that was typed."""
        return self.typed.email if self.participant is None else self.participant.email

    @property
    def keeps_name(self) -> bool:
        """Whether the account has another name than the one that was typed."""
        told = (self.result.detail or {}).get("names_differ")
        return bool(told) or not (self.typed.blank or self.typed.name.casefold() == self.name.casefold())

    @property
    def meant(self) -> str | None:
        """The mail domain that was probably meant."""
        found = (self.result.detail or {}).get("did_you_mean")
        return found if isinstance(found, str) else None


def ask_one(request: Request) -> Response:
    """Shows the form for one person."""
    return _one(request, signed_in(request))


def _one(request: Request, visitor: Visitor, status: int = 200, **more: Any) -> Response:
    values: dict[str, Any] = {"typed": NOBODY, "notify": True, "faults": (), "closed": _closed(visitor)}
    return page(request, "add.html", status=status, **(values | more))


def _closed(visitor: Visitor) -> str | None:
    return closed_because(visitor.counters(), now().date())


def add_one(request: Request) -> Response:
    """Enrols one person; with or without an invitation, as the manager has ticked."""
    visitor = signed_in(request)
    form = read_form(request)
    [typed] = typed_people(form)[:1] or [NOBODY]
    notify = form.ticked("notify")
    key = content_key(form, typed, notify)
    try:
        job = visitor.portal.enroll(visitor.contract, [typed.fields()], key=key, notify=notify)  # type: ignore[list-item]
    except InvalidRequest as refused:
        faults = [PersonFault(one.field.rpartition(".")[2], str(one.code)) for one in refused.problems]
        return _one(request, visitor, 422, typed=typed, notify=notify, faults=faults)
    site_of(request).drafts.keep(job.id, visitor.contract, [typed])
    return follow(job, then=f"{UNIQUE}/{job.id}{'' if notify else '?invitation=non'}")


def show_one(request: Request) -> Response:
    """Shows the result: the person in the list, or the form as it was typed with what is to be corrected."""
    visitor = signed_in(request)
    job = _enrolling(request, visitor)
    notify = request.query_params.get("invitation") != "non"
    if not job.finished or not job.result.people:
        return follow(job, then=_this(request))
    [typed] = site_of(request).drafts.read(job.id, 1)
    result = job.result.people[0]
    if result.code not in DONE or result.enrollment_id is None:
        faults = faults_of_person(result, typed, ())
        return _one(request, visitor, typed=typed, notify=notify, faults=faults)
    participant = visitor.portal.participant(result.enrollment_id)
    added = AddedPerson(1, typed, result, participant, ())
    mail = mail_words(request, visitor).of(participant)
    return page(
        request, "added.html", added=added, mail=mail, notify=notify, closed=_closed(visitor), typed=NOBODY, faults=()
    )


def mail_words(request: Request, visitor: Visitor) -> MailWords:
    """Returns what writes the state of mails in the language of the page."""
    return MailWords(site_of(request).texts, visitor.language, now())


def _this(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _enrolling(request: Request, visitor: Visitor) -> Job:
    """Finds the job that enrols people; the page then has the counters and the forms of its contract.

    Raises: HTTPException with 404 for another job; NotFound for one of another company.
    """
    job = visitor.portal.job(request.path_params["job"])
    if job.kind != ENROLL:
        raise HTTPException(404)
    visitor.contract = site_of(request).drafts.contract_of(job.id) or visitor.contract
    return job


def typed_people(form: Form) -> list[TypedPerson]:
    """Returns the people of a form, one for each of its rows; rows without all three fields are left out."""
    columns = (form.texts(name) for name in FIELDS)
    return [TypedPerson(*row) for row in zip(*columns, strict=False)]


def content_key(form: Form, *content: object) -> str:
    """Returns the key of a form with what was typed in it.

    Sent twice, it is one job. Sent again after a step back and a correction, it is another one.
    """
    return f"{form.key}-{hashlib.blake2b(repr(content).encode(), digest_size=8).hexdigest()}"


def ask_several(request: Request) -> Response:
    """Shows as many rows as there are seats left, two hundred at most."""
    visitor = signed_in(request)
    return _several(request, visitor, [NOBODY] * rows_offered(visitor.counters().remaining))


def rows_offered(remaining: int) -> int:
    """Returns the number of rows of the form."""
    return max(0, min(remaining, MOST_ROWS))


def _several(
    request: Request, visitor: Visitor, rows: Sequence[TypedPerson], status: int = 200, **more: Any
) -> Response:
    values: dict[str, Any] = {
        "rows": rows,
        "faults": {},
        "done": (),
        "refused": (),
        "blank": False,
        "closed": _closed(visitor),
    }
    values |= {"most": MOST_ROWS, "mails": mail_words(request, visitor)}
    return page(request, "add_several.html", status=status, **(values | more))


def add_several(request: Request) -> Response:
    """Enrols the people of the rows that are filled in; an invitation is sent to each."""
    visitor = signed_in(request)
    form = read_form(request)
    rows = typed_people(form)[:MOST_ROWS]
    people = [one for one in rows if not one.blank]
    if not people:
        return _several(request, visitor, rows or [NOBODY], 422, blank=True)
    key = content_key(form, *people)
    given = [one.fields() for one in people]
    try:
        job = visitor.portal.enroll(visitor.contract, given, key=key, policy="until_full", notify=True)  # type: ignore[arg-type]
    except InvalidRequest as refused:
        return _several(request, visitor, people, 422, faults=_unsent(refused))
    site_of(request).drafts.keep(job.id, visitor.contract, people)
    return follow(job, then=f"{SEVERAL}/{job.id}")


def _unsent(refused: InvalidRequest) -> dict[int, list[PersonFault]]:
    """Returns what is wrong with rows that cannot even be sent, by their places."""
    found: dict[int, list[PersonFault]] = {}
    for one in refused.problems:
        _, _, place = one.field.partition("people.")
        number, _, field = place.partition(".")
        found.setdefault(int(number) if number.isdecimal() else 0, []).append(PersonFault(field, str(one.code)))
    return found


def show_several(request: Request) -> Response:
    """Shows the result of each person, and the refused ones in a form to correct them in place."""
    visitor = signed_in(request)
    job = _enrolling(request, visitor)
    if not job.finished or not job.result.people:
        return follow(job, then=_this(request))
    added = _added(request, visitor, job)
    refused = [one for one in added if one.result.code not in DONE]
    faults = {place: one.faults for place, one in enumerate(refused)}
    done = [one for one in added if one.result.code in DONE]
    return _several(request, visitor, [one.typed for one in refused], faults=faults, done=done, refused=refused)


def _participants(visitor: Visitor, wanted: Sequence[UUID]) -> dict[UUID, Participant]:
    """Returns participants by their enrollments: most are the latest of the list, and a few others are asked for."""
    if not wanted:
        return {}
    latest = visitor.portal.participants_page(visitor.contract, limit=min(MOST_ROWS, len(wanted) + ALONE))
    known = {one.enrollment_id: one for one in latest.items}
    for one in [one for one in wanted if one not in known][:ALONE]:
        known[one] = visitor.portal.participant(one)
    return known


def _added(request: Request, visitor: Visitor, job: Job) -> list[AddedPerson]:
    people = job.result.people
    typed = site_of(request).drafts.read(job.id, len(people))
    known = _participants(visitor, [one.enrollment_id for one in people if one.enrollment_id])
    return [
        AddedPerson(
            place + 1,
            one,
            result,
            known.get(result.enrollment_id) if result.enrollment_id else None,
            () if result.code in DONE else faults_of_person(result, one, typed),
        )
        for place, (one, result) in enumerate(zip(typed, people, strict=True))
    ]


ROUTES: Final = [
    Route(UNIQUE, ask_one, methods=["GET"]),
    Route(UNIQUE, add_one, methods=["POST"]),
    Route(f"{UNIQUE}/{{job:uuid}}", show_one, methods=["GET"]),
    Route(SEVERAL, ask_several, methods=["GET"]),
    Route(SEVERAL, add_several, methods=["POST"]),
    Route(f"{SEVERAL}/{{job:uuid}}", show_several, methods=["GET"]),
]
