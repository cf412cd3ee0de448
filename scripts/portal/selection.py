"""The participants that a manager has chosen: one row, the ticked rows, or everyone in the list."""

from typing import Final

from scripts.portal.forms import Form
from scripts.portal.listing import Listing
from scripts.portal.visitors import Visitor
from workers.portal_client import Participant

MOST_CHOSEN: Final = 10_000

READ_AT_ONCE: Final = 200


def chosen_people(visitor: Visitor, form: Form) -> list[Participant]:
    """Returns the chosen participants as they are now, in the order of the list.

    The button of a row sends `only`; ticked rows are `enrollment_id`; `everyone` stands for all in the list that was
    shown, with its search and its filter. Who is not on the page any more is read alone.

    Raises:
      NotFound: an identifier is not of this company.
      PortalError: the list cannot be read.
    """
    wanted = [form.text("only")] if form.text("only") else form.texts("enrollment_id")
    listing = Listing.of_form(form)
    if form.ticked("everyone") and not form.text("only"):
        return _everyone(visitor, listing)
    if not wanted:
        return []
    page = listing.read(visitor.portal, visitor.contract) if len(wanted) > 1 else None
    shown = {str(one.enrollment_id): one for one in page.items} if page else {}
    return [shown.get(one) or visitor.portal.participant(one) for one in dict.fromkeys(wanted)]


def _everyone(visitor: Visitor, listing: Listing) -> list[Participant]:
    found: list[Participant] = []
    cursor: str | None = ""
    while cursor is not None and len(found) < MOST_CHOSEN:
        page = listing._replace(cursor=cursor).read(visitor.portal, visitor.contract, size=READ_AT_ONCE)
        found += page.items
        cursor = page.next
    return found[:MOST_CHOSEN]
