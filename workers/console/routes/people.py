"""The pages on people: from an address or an identifier to all that is kept of them, masked."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.address import normalise_email
from models.person import full_name
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, EmailState
from workers.audit import record
from workers.console.access.forms import posted
from workers.console.access.visitor import Reader, Support
from workers.console.acting import back_to
from workers.console.filters import as_id, query_of, said
from workers.console.masking import masked_text
from workers.console.shown import shown_moment
from workers.console.texts import TEXTS
from workers.console.told import row_words
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.ops.audit_search import find_account, search_audit
from workers.ops.job_people import find_typed_address
from workers.ops.job_search import PersonToFind, find_sought, search_jobs
from workers.ops.mail_list import ListedMail, list_mails, list_mails_of, read_mail
from workers.ops.person_story import (
    AccountFacts,
    SuppressionFacts,
    count_throttles,
    find_of_enrollment,
    list_enrollments_of,
    list_links_of,
    read_account,
    read_suppression,
)
from workers.ops.row_filter import RowFilter
from workers.outbox.suppression import lift

router = APIRouter()

MOST_JOBS: Final = 50

NOT_ARRIVED: Final = (EmailState.FAILED, EmailState.EXPIRED, EmailState.UNCERTAIN, EmailState.BOUNCED)
"""The states of a last mail that an operator is told of first."""

ENROLLMENT_COLUMNS: Final = (
    *("id", "contract", "portal", "company", "training", "progress", "enrolled_at", "started_at", "completed_at"),
    *("withdrawn_at", "detached_at", "certificate"),
)
JOB_COLUMNS: Final = ("id", "portal", "kind", "state", "why", "requested_by", "created_at", "finished_at")
MAIL_COLUMNS: Final = ("id", "kind", "state", "why", "created_at", "finished_at")
AUDIT_COLUMNS: Final = ("at", "portal", "requested_by", "action", "result", "subject_id", "job_id")


@router.api_route("/ops/people", methods=["GET", "HEAD"], response_model=None)
async def find_person(request: Request, visitor: Reader) -> Response:
    """Finds a person by an address, or by the identifier of an account or an enrollment."""
    words = said(query_of(request), "q")
    if not words:
        return await page(request, visitor, "people.html", wrong="")
    if (row_id := as_id(words)) is not None:
        return RedirectResponse(f"/ops/people/{row_id}", 303)
    email = normalise_email(words)
    if isinstance(email, Code):
        return await page(request, visitor, "people.html", wrong="no_address", status=400)
    account = await in_transaction(find_account, email)
    if account is not None:
        return RedirectResponse(f"/ops/people/{account}", 303)
    story = await in_transaction(_read_story, None, email)
    return await _show(request, visitor, story)


@router.api_route("/ops/people/{person_id}", methods=["GET", "HEAD"], response_model=None)
async def show_person(request: Request, visitor: Reader, person_id: UUID) -> Response:
    """Shows all that is kept of the person of an account or an enrollment."""
    account = await in_transaction(read_account, person_id)
    if account is None:
        of = await in_transaction(find_of_enrollment, person_id)
        if of is None:
            raise HTTPException(404)
        return RedirectResponse(f"/ops/people/{of}", 303)
    return await _show(request, visitor, await in_transaction(_read_story, account, account.email))


def _read_story(session: Session, account: AccountFacts | None, email: str) -> dict[str, Any]:
    erased = account is not None and account.erased_at is not None
    sought = PersonToFind(account.id, ()) if account and erased else find_sought(session, email)
    mails = list_mails_of(session, account.id) if account else []
    to_address = [] if erased else list_mails(session, RowFilter("email"), to=email).mails
    return {
        "account": account,
        "email": email,
        "jobs": search_jobs(session, RowFilter("job"), person=sought, limit=MOST_JOBS),
        "mails": sorted({one.id: one for one in (*mails, *to_address)}.values(), key=lambda one: one.id, reverse=True),
        "enrollments": list_enrollments_of(session, account.id) if account else [],
        "sent_links": list_links_of(session, account.id) if account else [],
        "suppression": read_suppression(session, email),
        "throttles": count_throttles(session, email, account.id if account else None),
        "audit": search_audit(session, account=account.id, limit=30) if account else [],
    }


async def _show(request: Request, visitor: Reader, story: Mapping[str, Any]) -> Response:
    if (answer := _as_table(request, visitor, story)) is not None:
        return answer
    given = query_of(request)
    account: AccountFacts | None = story["account"]
    return await page(
        request,
        visitor,
        "person.html",
        **story,
        name=full_name(account.first_name, account.last_name) if account else "",
        sentence=_sentence(visitor.locale, account, story["suppression"], story["mails"]),
        acted=said(given, "acted"),
        outcome=said(given, "outcome"),
        **row_words(visitor),
    )


def _as_table(request: Request, visitor: Reader, story: Mapping[str, Any]) -> Response | None:
    for name, columns, rows in (
        ("enrollments", ENROLLMENT_COLUMNS, story["enrollments"]),
        ("jobs", JOB_COLUMNS, story["jobs"]),
        ("mails", MAIL_COLUMNS, story["mails"]),
        ("audit", AUDIT_COLUMNS, story["audit"]),
    ):
        values = [tuple(masked_text(getattr(row, column)) for column in columns) for row in rows]
        if (answer := table(request, visitor, name, columns, values)) is not None:
            return answer
    return None


def _sentence(
    locale: str, account: AccountFacts | None, suppression: SuppressionFacts | None, mails: list[ListedMail]
) -> Markup:
    """Says in one sentence how it is with a person: the first of these that an operator must know."""
    if account is not None and account.erased_at:
        return TEXTS.text(locale, "people.is.erased", at=shown_moment(account.erased_at, locale))
    if suppression is not None:
        since = shown_moment(suppression.created_at, locale)
        return TEXTS.text(locale, "people.is.suppressed", at=since, why=suppression.reason)
    last = mails[0] if mails else None
    if last is not None and last.state in NOT_ARRIVED:
        return TEXTS.text(locale, "people.is.undelivered", kind=last.kind, state=last.state, why=last.why or "–")
    if last is not None and last.finished_at is None:
        return TEXTS.text(locale, "people.is.waiting", kind=last.kind, at=shown_moment(last.due_at, locale))
    return _quiet(locale, account, last)


def _quiet(locale: str, account: AccountFacts | None, last: ListedMail | None) -> Markup:
    """Says how it is with a person for whom nothing waits."""
    if account is None:
        return TEXTS.text(locale, "people.is.unknown")
    if account.activated_at is None:
        at = shown_moment(last.finished_at if last else None, locale)
        return TEXTS.text(locale, "people.is.not_activated", at=at)
    return TEXTS.text(locale, "people.is.well", at=shown_moment(account.activated_at, locale))


class MaskedValue(NamedTuple):
    """A value that a page masks.

    Parameters:
      what: `account`, `mail` or `job`, of which `id` is the identifier.
      field: `email` or `name`.
      place: of the person in a job, from 0.
    """

    what: str
    id: UUID
    field: str
    place: int


@router.post("/ops/people/show", response_model=None)
async def show_value(request: Request, visitor: Support) -> Response:
    """Shows one masked value, and records who looked at which."""
    form = dict(await posted(request))
    what, field = said(form, "what"), said(form, "field")
    row_id = as_id(said(form, "id"))
    place = said(form, "place") or "0"
    if row_id is None or field not in ("email", "name") or not (place.isascii() and place.isdecimal()):
        raise HTTPException(400)
    value = await in_transaction(_look_up, visitor.asker, MaskedValue(what, row_id, field, int(place[:9])))
    if value is None:
        raise HTTPException(404)
    of = {"account": "people", "mail": "mails"}.get(what, "jobs")
    back = f"/ops/{of}/{row_id}"
    return await page(request, visitor, "shown.html", value=value, field=field, back=back, path=back)


def _look_up(session: Session, asker: str, wanted: MaskedValue) -> str | None:
    """Reads one value, and records in the audit trail that it was shown."""
    account: UUID | None = None
    value: str | None = None
    if wanted.what == "account" and (found := read_account(session, wanted.id)) is not None:
        account = found.id
        value = found.email if wanted.field == "email" else full_name(found.first_name, found.last_name)
    elif wanted.what == "mail" and wanted.field == "email" and (mail := read_mail(session, wanted.id)) is not None:
        account, value = mail.account_id, mail.to_address
    elif wanted.what == "job" and wanted.field == "email":
        typed = find_typed_address(session, wanted.id, wanted.place)
        value, account = typed or (None, None)
    if not value:
        return None
    of_job = wanted.what == "job"
    record(
        session,
        "show_value",
        portal_id=LOCAL_PORTAL_ID,
        requested_by=asker,
        account_id=account,
        subject_id=wanted.id,
        job_id=wanted.id if of_job else None,
        detail={"field": wanted.field} | ({"place": wanted.place} if of_job else {}),
    )
    return value


@router.post("/ops/people/{person_id}/lift", response_model=None)
async def lift_suppression(request: Request, visitor: Support, person_id: UUID) -> Response:
    """Takes the address of an account off the list of those that get no mail."""
    await posted(request)
    account = await in_transaction(read_account, person_id)
    if account is None:
        raise HTTPException(404)
    answer = await in_transaction(lift, account.email, requested_by=visitor.asker)
    return back_to(f"/ops/people/{person_id}", acted="lift", outcome="done" if answer == "lifted" else "not_listed")
