"""The trouble of failed work: its error without what differs from row to row, so that equal failures are found as one.

Two thousand failures are mostly a few faults; their messages differ by numbers, identifiers and quoted values alone.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

LONGEST_TROUBLE: Final = 200
"""Characters of a trouble that are kept."""

READ_OF_MESSAGE: Final = 1_000
"""Characters of a message that are looked at."""

QUOTED: Final = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`|«[^»]*»")
ADDRESS: Final = re.compile(r"[^\s<>@\[\](),;:]+@[^\s<>@\[\](),;:]+")
IDENTIFIER: Final = re.compile(r"\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,}){0,4}\b")
NUMBER: Final = re.compile(r"\d+")


def trouble_of(error: Mapping[str, Any] | None) -> str | None:
    """Returns `class|reason|message` of an error, with `#` for each quoted value, address, identifier and number.

    Parameters:
      error: as ``job.error`` and ``email.error`` hold it; None when there is none.
    """
    if error is None:
        return None
    message = str(error.get("message") or "")[:READ_OF_MESSAGE]
    for pattern in (QUOTED, ADDRESS, IDENTIFIER, NUMBER):
        message = pattern.sub("#", message)
    parts = (str(error.get("class") or ""), str(error.get("reason") or ""), " ".join(message.split()))
    return _storable("|".join(parts)[:LONGEST_TROUBLE])


def _storable(text: str) -> str:
    """Leaves out what a text of PostgreSQL cannot hold: U+0000, and half a surrogate pair."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
