"""The list of participants as its address asks for it: searched, filtered, from a cursor on."""

from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request

from scripts.portal.forms import Form
from workers.portal_client import Page, Participant, Portal

PAGE_SIZE: Final = 50

MOST_CHOSEN: Final = 10_000
"""An action may be asked for everyone in the list up to this number of them."""

FILTERS: Final = ("", "todo", "not_started", "in_progress", "completed")
"""The words of the parameter `filtre`; the empty one shows all."""

LIST: Final = "/participants"


class Listing(NamedTuple):
    """The part of the list that a page shows.

    Parameters:
      q: what was searched for.
      filter: a word of ``FILTERS``.
      cursor: where the page begins; empty for the first one.
    """

    q: str = ""
    filter: str = ""
    cursor: str = ""

    @classmethod
    def of_query(cls, request: Request) -> "Listing":
        """Reads the address of the page."""
        query = request.query_params
        return cls._checked(query.get("q", ""), query.get("filtre", ""), query.get("apres", ""))

    @classmethod
    def of_form(cls, form: Form) -> "Listing":
        """Reads the page on which rows were ticked."""
        return cls._checked(form.text("q"), form.text("filtre"), form.text("apres"))

    @classmethod
    def _checked(cls, q: str, chosen: str, cursor: str) -> "Listing":
        typed = "".join(sign for sign in q if sign.isprintable()).strip()[:200]
        return cls(typed, chosen if chosen in FILTERS else "", cursor[:1000])

    def fields(self) -> list[tuple[str, str]]:
        """Returns the hidden fields that say which page was shown."""
        named = (("q", self.q), ("filtre", self.filter), ("apres", self.cursor))
        return [(name, value) for name, value in named if value]

    def url(self, **changed: str) -> str:
        """Returns the address of the list with some of it changed; it begins with the first page."""
        changed_to = self._replace(**{"cursor": "", **changed})
        fields = changed_to.fields()
        return f"{LIST}?{urlencode(fields)}" if fields else LIST

    def read(self, portal: Portal, contract: str, *, size: int = PAGE_SIZE) -> Page[Participant]:
        """Reads the page.

        Raises: PortalError.
        """
        return portal.participants_page(
            contract,
            q=self.q or None,
            progress=self.filter if self.filter not in ("", "todo") else None,
            to_do=self.filter == "todo",
            cursor=self.cursor or None,
            limit=size,
        )
