"""The rows of an imported file as pages show them: what the file says, what is wrong with it, what came of it."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from scripts.portal.persons import DONE, PersonFault, faults_of, wrong_part
from workers.portal_client import Job, Participant, Portal, RosterRow

ROWS_SHOWN: Final = 50
"""The rows of a page."""

MOST_LOOKS: Final = 10
"""The most pages of Matricule that one page of ours looks at for rows of one kind: they may be far apart."""

NAMES_SHOWN: Final = 3


class Marked(NamedTuple):
    """A part of a text, and whether it is the part to look at."""

    text: str
    marked: bool


class ShownRow(NamedTuple):
    """A row of a file.

    Parameters:
      name, email: of the account, if it is enrolled; else as the file says them, in parts; empty when it is kept no
        longer.
      keeps_name: the account has another name than the file says.
      file_name: the name that the file says.
      faults: everything that is wrong; empty for a row that was done.
      meant: the mail domain that was probably meant.
    """

    line: int | None
    name: Sequence[Marked]
    email: Sequence[Marked]
    code: str
    keeps_name: bool
    file_name: str
    faults: Sequence[PersonFault]
    participant: Participant | None
    meant: str | None


class RowsPage(NamedTuple):
    """Rows, and the cursor of those that follow; None after the last."""

    rows: Sequence[ShownRow]
    next: str | None


def read_rows(
    portal: Portal, job: Job, *, only: str | None = None, cursor: str | None = None, most: int = ROWS_SHOWN
) -> RowsPage:
    """Reads the next rows of an import.

    Parameters:
      only: `accepted`, `refused`, `to_correct` or `accented` rows.
    """
    for _ in range(MOST_LOOKS):
        found = portal.roster_page(job, only=only, cursor=cursor, limit=most)
        cursor = found.next
        if found.items or cursor is None:
            return RowsPage([shown_row(one) for one in found.items], cursor)
    return RowsPage((), cursor)


def shown_row(row: RosterRow) -> ShownRow:
    """Returns a row as it is shown."""
    detail = row.detail or {}
    faults = () if row.code in DONE else faults_of(row.code, row.field, detail, row.email)
    written = f"{row.first_name or ''} {row.last_name or ''}".strip()
    found = row.participant
    known = f"{found.first_name} {found.last_name}".strip() if found else ""
    wrong = {fault.field: fault for fault in faults}
    meant = detail.get("did_you_mean")
    return ShownRow(
        row.line,
        _name(row, wrong, known),
        _email(found.email if found else row.email or "", wrong),
        row.code,
        bool(detail.get("names_differ")) or bool(known and written and known.casefold() != written.casefold()),
        written,
        faults,
        found,
        meant if isinstance(meant, str) else None,
    )


def _name(row: RosterRow, wrong: Mapping[str, PersonFault], known: str) -> list[Marked]:
    if known:
        return [Marked(known, marked=False)]
    parts = [
        Marked(text, marked=field in wrong)
        for field, text in (("first_name", row.first_name), ("last_name", row.last_name))
        if text
    ]
    return [part if place == 0 else part._replace(text=f" {part.text}") for place, part in enumerate(parts)]


def _email(email: str, wrong: Mapping[str, PersonFault]) -> list[Marked]:
    if "email" not in wrong:
        return [Marked(email, marked=False)] if email else []
    right, rest = wrong_part(wrong["email"], email)
    return [one for one in (Marked(right, marked=False), Marked(rest, marked=True)) if one.text]


def accented_names(rows: Iterable[ShownRow]) -> list[list[Marked]]:
    """Returns the first names of these rows that have accents, with the accented letters marked."""
    names = dict.fromkeys(row.file_name for row in rows if not row.file_name.isascii())
    return [mark_accents(name) for name in list(names)[:NAMES_SHOWN]]


def mark_accents(name: str) -> list[Marked]:
    """Splits a name so that its letters with accents, or with forms that ASCII has not, are parts of their own."""
    parts: list[Marked] = []
    for letter in unicodedata.normalize("NFC", name):
        marked = letter.isalpha() and not letter.isascii()
        if parts and parts[-1].marked == marked and not marked:
            parts[-1] = Marked(parts[-1].text + letter, marked=False)
        else:
            parts.append(Marked(letter, marked))
    return parts
