"""Turns rows of a roster into people, or into the one reason a row is refused, by the rules of every request."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from models.person import Person, Refusal, check_person, clean_locale
from models.words import Code
from workers.rosters.reader import RosterRow


class CheckedRow(NamedTuple):
    """A row with the person it names, or with the reason it is refused."""

    row: RosterRow
    person: Person | Refusal


def check_row(row: RosterRow) -> Person | Refusal:
    """Returns the person of a row. An unknown language is no reason to refuse it: the mails are then in French."""
    locale = clean_locale(row.locale)
    known = None if isinstance(locale, Code) else locale
    return check_person(row.email, row.first_name, row.last_name, known, row.external_id)


def check_rows(rows: Iterable[RosterRow]) -> Iterator[CheckedRow]:
    """Checks each row by itself and against the rows above it: of two good rows with one address the first wins.

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
