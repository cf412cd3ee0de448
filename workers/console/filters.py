"""Reads the filter of a list from an address or a form, and writes the command that chooses the same rows."""

import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from starlette.requests import Request

from models.label import names_address
from models.ops_action import ActionVerb
from models.paris import PARIS
from workers.ops.row_filter import RowFilter

LONGEST: Final = 300
"""Characters of a parameter that are read."""

UNITS: Final = {"min": "minutes", "h": "hours", "d": "days", "j": "days"}

_AGO: Final = re.compile(r"(\d{1,5}) ?(min|h|d|j)")

_BEGINNING: Final = re.compile(r"(?=.*[0-9])[0-9a-f]{4,8}(?:-[0-9a-f]{0,4}){0,3}(?:-[0-9a-f]{0,12})?", re.IGNORECASE)

OPTIONS: Final = ("state", "kind", "queue", "portal", "contract", "trouble")


class WrongFilter(Exception):
    """A parameter cannot be read.

    Parameters:
      name: the parameter.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def said(given: Mapping[str, object], name: str) -> str:
    """Returns a parameter, cut to what is read; empty when it is not given."""
    value = given.get(name, "")
    return value.replace("\x00", "").strip()[:LONGEST] if isinstance(value, str) else ""


def read_filter(given: Mapping[str, object], ledger: str) -> RowFilter:
    """Reads the filter of a list of jobs or mails.

    Raises: WrongFilter for a moment that is none.
    """
    parts = {name: said(given, name) for name in OPTIONS}
    return RowFilter(ledger, **parts, since=_moment(given, "since"), until=_moment(given, "until"))


def _moment(given: Mapping[str, object], name: str) -> datetime | None:
    text = said(given, name)
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    if (read := read_at(text)) is None:
        raise WrongFilter(name)
    return read


def read_at(asked: str) -> datetime | None:
    """Reads a moment: in the time of Paris, as pages show it, unless it says otherwise; None when it is none."""
    try:
        read = datetime.fromisoformat(asked.strip())
        return (read if read.tzinfo else read.replace(tzinfo=PARIS)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_id(given: Mapping[str, object], name: str) -> UUID | None:
    """Returns a parameter as an identifier; None when it is not given.

    Raises: WrongFilter when it is none.
    """
    text = said(given, name)
    if not text:
        return None
    found = as_id(text)
    if found is None:
        raise WrongFilter(name)
    return found


def as_id(text: str) -> UUID | None:
    """Returns a text as an identifier, None when it is none; other spellings than the usual one are none."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def between(beginning: str) -> tuple[UUID, UUID] | None:
    """Returns the first and the last identifier that begin so; None for what begins none."""
    if not _BEGINNING.fullmatch(beginning):
        return None
    digits = beginning.replace("-", "")
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def command_of(verb: ActionVerb, wanted: RowFilter) -> str:
    """Writes the command that shows the rows of a filter before it changes them."""
    of = ["--of", wanted.ledger] if wanted.ledger else []
    options = [(name, str(getattr(wanted, name))) for name in OPTIONS if getattr(wanted, name)]
    moments = [(name, getattr(wanted, name)) for name in ("since", "until")]
    options += [(name, at.isoformat(timespec="seconds")) for name, at in moments if at]
    words = [word for name, value in options for word in (f"--{name}", value)]
    return shlex.join(["matricule", str(verb), *of, *words, "--dry-run"])


def may_freeze(wanted: RowFilter) -> bool:
    """Tells whether a filter may choose the rows of an action: it narrows something down, and names no address."""
    narrowing = {name: value for name, value in wanted.given.items() if name != "ledger"}
    return bool(narrowing) and not names_address(wanted.trouble)


def query_of(request: Request) -> Mapping[str, str]:
    """Returns the parameters of an address; of one that is given twice the last."""
    return dict(request.query_params)


__all__ = [
    "WrongFilter",
    "as_id",
    "between",
    "command_of",
    "may_freeze",
    "query_of",
    "read_at",
    "read_filter",
    "read_id",
    "said",
]
