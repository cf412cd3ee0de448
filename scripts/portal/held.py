"""Forms that could not be taken are kept on the page: nothing is lost when a session ends or Matricule is away."""

import json
from contextlib import suppress
from typing import Final, NamedTuple

from starlette.datastructures import FormData
from starlette.requests import Request

from scripts.portal.answers import within
from scripts.portal.forms import BadForm, Forbidden, check_origin, parse

NOT_HELD: Final = frozenset({"csrf", "password"})

MOST_CHARACTERS: Final = 500_000


class HeldForm(NamedTuple):
    """A form that is to be sent again.

    Parameters:
      action: where it was sent to.
      fields: with its key, so that it is done once, and its contract.
      lost_file: whether it had a file, which must be chosen again.
    """

    action: str
    fields: list[tuple[str, str]]
    lost_file: bool

    def as_text(self) -> str:
        """Returns it as the text of a hidden field."""
        return json.dumps([self.action, self.fields, self.lost_file])

    @classmethod
    def of_text(cls, text: str) -> "HeldForm | None":
        """Reads such a text; returns None for any other."""
        try:
            action, fields, lost_file = json.loads(text)
            held = cls(within(str(action)), [(str(name), str(value)) for name, value in fields], bool(lost_file))
            json.dumps(held, ensure_ascii=False).encode()  # JSON can have half of a character, which no page can show
        except (ValueError, TypeError, RecursionError):
            return None
        return held

    def value(self, name: str) -> str:
        """Returns the first value of a field; empty when it has none."""
        return next((value for field, value in self.fields if field == name), "")


def held_form(request: Request) -> HeldForm | None:
    """Returns the form of this request; None when there is none, or when it is not from a page of ours.

    A form of another site is never held: a person would send it themselves.
    """
    if request.method != "POST":
        return None
    with suppress(Forbidden, BadForm):
        check_origin(request)
        data = getattr(request.state, "form", None)
        return _held(request, data if isinstance(data, FormData) else parse(request))
    return None


def _held(request: Request, data: FormData) -> HeldForm | None:
    items = data.multi_items()
    fields = [(name, value) for name, value in items if isinstance(value, str) and name not in NOT_HELD]
    if sum(len(value) for _, value in fields) > MOST_CHARACTERS:
        return None
    lost_file = any(not isinstance(value, str) for _, value in items)
    return HeldForm(within(request.url.path), fields, lost_file)
