"""The list of participants: counters, search, filters, rows with their next step, and the actions on ticked rows."""

from collections.abc import Iterator
from datetime import date
from tempfile import TemporaryFile
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from scripts.portal.listing import FILTERS, MOST_CHOSEN, Listing
from scripts.portal.mail_shown import MailShown, MailWords
from scripts.portal.moments import now
from scripts.portal.site import site_of
from scripts.portal.texts import shown_number
from scripts.portal.view import page
from scripts.portal.visitors import signed_in
from workers.portal_client import BoundedCount, Contract, Page, Participant, ParticipantCounts

PIECE: Final = 1 << 16


class ShownRow(NamedTuple):
    """A row of the list."""

    person: Participant
    mail: MailShown


class Chip(NamedTuple):
    """A filter of the list.

    Parameters:
      number: how many participants it shows, such as « 2 000+ ».
    """

    name: str
    url: str
    number: str


def show(request: Request) -> Response:
    """Shows a page of the list."""
    visitor = signed_in(request)
    if not visitor.contract:
        return page(request, "trainings.html", found=[])
    shown, contract = Listing.of_query(request), visitor.counters()
    found = shown.read(visitor.portal, visitor.contract)
    counts = _counts(contract, visitor.portal.participant_counts(visitor.contract))
    words = MailWords(site_of(request).texts, visitor.language, now())
    closed, closed_day = _closed(contract)
    rows, whole = [ShownRow(person, words.of(person)) for person in found.items], not shown.cursor and not found.next
    if whole:  # those to act on come first; of a longer list the filter shows them
        rows.sort(key=lambda row: row.mail.urgency)
    return page(
        request,
        "participants.html",
        shown=shown,
        rows=rows,
        whole=whole,
        following=found.next,
        chips=[Chip(name, shown.url(filter=name), _number(counts[name], visitor.language)) for name in FILTERS],
        total=None if shown.q else counts[shown.filter],
        everyone=_everyone(shown, counts, found),
        closed=closed,
        closed_day=closed_day,
    )


def _counts(contract: Contract, counts: ParticipantCounts) -> dict[str, BoundedCount]:
    """Returns the numbers of participants by the words of ``FILTERS``."""
    return {
        "": BoundedCount(number=contract.enrolled_count, more=False),
        "todo": counts.to_do,
        "not_started": counts.not_started,
        "in_progress": counts.in_progress,
        "completed": counts.completed,
    }


def _number(count: BoundedCount, language: str) -> str:
    return f"{shown_number(count.number, language)}{'+' if count.more else ''}"


def _everyone(shown: Listing, counts: dict[str, BoundedCount], found: Page[Participant]) -> int | None:
    """Returns how many participants the list has beyond this page; None when all of them are on it, or in a search."""
    count = counts[shown.filter]
    many = shown.cursor or found.next is not None
    return count.number if many and not shown.q and not count.more and count.number <= MOST_CHOSEN else None


def _closed(contract: Contract) -> tuple[str, date | None]:
    """Returns why additions are closed today, `ended` or `not_begun`, and the day; an empty text when they are open."""
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
