"""The people of the list for whom something is asked: ticked rows, or all that a filter finds.

The page that asks for a confirmation freezes the selection in its form, so that people who are enrolled meanwhile are
not concerned. Ten thousand identifiers are 213 kB there, as text of their bytes.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from starlette.requests import Request

from scripts.portal.forms import BadForm, read_form
from scripts.portal.listing import Listing
from scripts.portal.people import by_name
from scripts.portal.visitors import Visitor
from workers.portal_client import JudgedSelection, Participant

SHOWN: Final = 50
"""The most people of each group on a page; the others are named on the next ones."""

MOST_CHOSEN: Final = 10_000
"""The most people whom one request concerns."""

BYTES: Final = 16
"""The bytes of an identifier."""


class SelectedPeople(NamedTuple):
    """A selection.

    Parameters:
      ids: the enrollments; None for all that `listing` finds.
      allowed_from, refused_from: the place of the first one to show of each group.
    """

    ids: tuple[str, ...] | None
    listing: Listing = Listing()
    allowed_from: int = 0
    refused_from: int = 0


class ShownPart(NamedTuple):
    """The part of a group that a page shows.

    Parameters:
      number: how many the whole group has.
      start: the place of the first one that is shown, from 0.
    """

    people: Sequence[Participant]
    number: int
    start: int

    @property
    def following(self) -> int | None:
        """The place of the next part; None after the last one."""
        after = self.start + SHOWN
        return after if after < self.number else None


class ShownSelection(NamedTuple):
    """A selection as the page of confirmation shows it.

    Parameters:
      codes: how many have each code.
      unknown: how many rows are of no participant of the contract.
      complete: False when there are more than can be asked for at once.
      packed_allowed: those for whom it would be done; packed: the whole selection, to show its other parts.
    """

    allowed: ShownPart
    refused: ShownPart
    codes: dict[str, int]
    unknown: int
    complete: bool
    packed_allowed: str
    packed_refused: str
    packed: str

    @property
    def total(self) -> int:
        """How many people were selected."""
        return self.allowed.number + self.refused.number + self.unknown


def read_selection(request: Request) -> SelectedPeople:
    """Reads the selection that the list or a page of confirmation has sent, as an address or as a form.

    Raises: Forbidden, BadForm.
    """
    if request.method == "GET":
        return SelectedPeople(_identifiers(request.query_params.getlist("enrollment_id")))
    form = read_form(request)
    places = [_place(form.text(name)) for name in ("allowed_from", "refused_from")]
    if packed := form.text("selection"):
        return SelectedPeople(unpack(packed), Listing(), *places)
    if only := form.text("only"):
        return SelectedPeople(_identifiers([only]))
    if form.ticked("everyone"):
        return SelectedPeople(None, Listing.of_form(form))
    return SelectedPeople(_identifiers(form.texts("enrollment_id")))


def judge(visitor: Visitor, action: str, selected: SelectedPeople) -> ShownSelection:
    """Asks about whom an action may be taken.

    Raises: PortalError.
    """
    wanted = selected.listing
    found = visitor.portal.selection(
        visitor.contract,
        action,
        selected.ids,
        q=wanted.q,
        progress=wanted.filter if wanted.filter not in ("", "todo") else None,
        to_do=wanted.filter == "todo",
        limit=SHOWN,
        allowed_from=selected.allowed_from,
        refused_from=selected.refused_from,
    )
    return _shown(found, selected)


def _shown(found: JudgedSelection, selected: SelectedPeople) -> ShownSelection:
    allowed, refused = found.allowed.enrollment_ids, found.refused.enrollment_ids
    return ShownSelection(
        ShownPart(sorted(found.allowed.participants, key=by_name), len(allowed), selected.allowed_from),
        ShownPart(sorted(found.refused.participants, key=by_name), len(refused), selected.refused_from),
        dict(found.codes),
        len(found.unknown),
        found.complete,
        pack(allowed),
        pack(refused),
        pack((*allowed, *refused, *found.unknown)) if max(len(allowed), len(refused)) > SHOWN else "",
    )


def _identifiers(values: Sequence[str]) -> tuple[str, ...]:
    """Returns the identifiers among these values; another value is of no participant, and is left out."""
    found: dict[str, None] = {}
    for value in values:
        try:
            found[str(UUID(value))] = None
        except ValueError:
            continue
    return tuple(found)


def _place(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def pack(ids: Sequence[UUID | str]) -> str:
    """Writes identifiers as one text of visible ASCII characters."""
    return base64.urlsafe_b64encode(b"".join(UUID(str(one)).bytes for one in ids)).rstrip(b"=").decode()


def unpack(text: str) -> tuple[str, ...]:
    """Reads what ``pack`` has written.

    Raises: BadForm for another text.
    """
    try:
        content = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise BadForm("no selection of ours") from None
    if len(content) % BYTES:
        raise BadForm("no selection of ours")
    return tuple(str(UUID(bytes=content[start : start + BYTES])) for start in range(0, len(content), BYTES))
