"""From rows of a roster to people, or the one reason a row is refused; the rules are those of every door."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from models.person import Person, Refusal, check_person, clean_locale
from models.words import Code
from workers.rosters.reader import RosterRow


class CheckedRow(NamedTuple):
    """A row and whom it names, or why it is refused."""

    row: RosterRow
    person: Person | Refusal


def check_row(row: RosterRow) -> Person | Refusal:
    """The person of a row. A language mails do not exist in is no reason to refuse: they are written in French."""
    locale = clean_locale(row.locale)
    known = None if isinstance(locale, Code) else locale
    return check_person(row.email, row.first_name, row.last_name, known, row.external_id)


def check_rows(rows: Iterable[RosterRow]) -> Iterator[CheckedRow]:
    """Each row by itself and against those above it: of two good rows with one address the first wins.

    A refused row reserves no address.
    """
    taken: set[str] = set()
    for row in rows:
        person = check_row(row)
        if isinstance(person, Person):
            if person.email_norm in taken:
                person = Refusal(Code.DUPLICATE_IN_FILE, "email")
            else:
                taken.add(person.email_norm)
        yield CheckedRow(row, person)
