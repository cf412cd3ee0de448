"""Turns rows of a roster into people, or into the reasons a row is refused, by the rules of every request."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from models.domain_typo import did_you_mean
from models.person import Person, Refusal, check_person, clean_locale
from models.words import Code
from workers.rosters.reader import RosterRow


class CheckedRow(NamedTuple):
    """A row with the person it names, or with the reasons it is refused.

    Parameters:
      earlier_line: the line of the earlier row with the same address.
    """

    row: RosterRow
    person: Person | Refusal
    earlier_line: int | None = None

    @property
    def detail(self) -> dict[str, Any]:
        """The facts that explain the answer, as results of imports have them."""
        faults = self.person.faults if isinstance(self.person, Refusal) else ()
        found: dict[str, Any] = {"faults": [fault._asdict() for fault in faults]} if faults else {}
        if self.earlier_line is not None:
            found["earlier_line"] = self.earlier_line
        if meant := did_you_mean(self.person.email_norm or ""):
            found["did_you_mean"] = meant
        return found


def check_row(row: RosterRow) -> Person | Refusal:
    """Returns the person of a row. An unknown language is no reason to refuse it: the mails are then in French."""
    locale = clean_locale(row.locale)
    known = None if isinstance(locale, Code) else locale
    return check_person(row.email, row.first_name, row.last_name, known, row.external_id)


def check_rows(rows: Iterable[RosterRow]) -> Iterator[CheckedRow]:
    """Checks each row by itself and against the rows above it: of two good rows with one address the first wins.

    A refused row reserves no address.
    """
    taken: dict[str, int] = {}
    for row in rows:
        person = check_row(row)
        earlier = taken.get(person.email_norm or "")
        if isinstance(person, Refusal):
            yield CheckedRow(row, person if earlier is None else person.repeating(), earlier)
        elif earlier is not None:
            yield CheckedRow(row, Refusal(Code.DUPLICATE_IN_FILE, "email", email_norm=person.email_norm), earlier)
        else:
            taken[person.email_norm] = row.line
            yield CheckedRow(row, person)
