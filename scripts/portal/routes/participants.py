"""The list of participants: counters, search, filters, rows with their next step, and the actions on ticked rows."""

from collections.abc import Iterator
from datetime import date
from tempfile import TemporaryFile
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from scripts.portal.listing import FILTERS, Listing
from scripts.portal.mail_shown import MailShown, MailWords
from scripts.portal.moments import now
from scripts.portal.site import site_of
from scripts.portal.view import page, shown_number
from scripts.portal.visitors import Visitor, signed_in
from workers.portal_client import Contract, Participant

PIECE: Final = 1 << 16


class ShownRow(NamedTuple):
    """A row of the list."""

    person: Participant
    mail: MailShown


class Chip(NamedTuple):
    """A filter of the list.

    Parameters:
      number: how many participants it shows; None when that is not known.
    """

    name: str
    url: str
    number: str | None


def show(request: Request) -> Response:
    """Shows a page of the list."""
    visitor = signed_in(request)
    if not visitor.contract:
        return page(request, "trainings.html", found=[])
    shown = Listing.of_query(request)
    found = shown.read(visitor.portal, visitor.contract)
    words = MailWords(site_of(request).texts, visitor.language, now())
    closed, closed_day = _closed(visitor.counters())
    return page(
        request,
        "participants.html",
        shown=shown,
        rows=[ShownRow(person, words.of(person)) for person in found.items],
        following=found.next,
        chips=[Chip(name, shown.url(filter=name), None) for name in FILTERS if name != "todo"],
        counted=_counted(request, visitor, shown, len(found.items)),
        everyone=None,
        closed=closed,
        closed_day=closed_day,
    )


def _counted(request: Request, visitor: Visitor, shown: Listing, number: int) -> str:
    texts, language = site_of(request).texts, visitor.language
    if shown.q or shown.filter:
        return texts.text(language, "participants.shown", n=number)
    total = shown_number(visitor.counters().enrolled_count, language)
    return texts.text(language, "participants.shown_of", n=number, total=total)


def _closed(contract: Contract) -> tuple[str, date | None]:
    """Returns why nobody can be added today, `ended` or `not_begun`, and the day; an empty text when they can."""
    today = now().date()
    if contract.ends_on is not None and contract.ends_on < today:
        return "ended", contract.ends_on
    if contract.starts_on is not None and contract.starts_on > today:
        return "not_begun", contract.starts_on
    return "", None


def download(request: Request) -> Response:
    """Gives the whole list as a file."""
    visitor = signed_in(request)
    file = TemporaryFile()  # noqa: SIM115 - it is closed when it was sent
    size = visitor.portal.save_participants(visitor.contract, file, locale=visitor.language, delimiter=";")
    file.seek(0)

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE):
                yield piece

    headers = {
        "Content-Disposition": 'attachment; filename="participants.csv"',
        "Content-Length": str(size),
        "Cache-Control": "no-store",
    }
    return StreamingResponse(pieces(), media_type="text/csv; charset=utf-8", headers=headers)


ROUTES: Final = [
    Route("/participants", show, methods=["GET"]),
    Route("/participants/liste.csv", download, methods=["GET"]),
]
