"""Counts the lines of a file by what an import would do or has done with them; the figures add up to its lines."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from scripts.portal.persons import DONE
from workers.portal_client import Job

MOST_AT_ONCE: Final = 200_000
"""The most rows of a file that Matricule does in one piece; a larger one is done in parts, until no seat is left."""

CONTRACT_CODES: Final = frozenset(
    {"unknown_contract", "contract_expired", "contract_not_started", "throttled", "too_many_changes"}
)
"""Why Matricule refuses a whole import although its file could be read."""


ENCODINGS: Final = {"windows-1252": "Windows-1252", "iso8859-15": "ISO-8859-15"}
"""The names of encodings that are not written in capitals, as people know them."""

DELIMITERS: Final = {";": "semicolon", ",": "comma", "\t": "tab", "|": "bar"}


class ImportPlan(NamedTuple):
    """The lines of a file by what becomes of them.

    Parameters:
      new: with a new account; attached: with an account that exists; known: on the contract already.
      unseated: valid ones for which no seat is left.
      undone: valid ones that were left out because the import was not carried out.
      wrong: lines to correct.
      remaining: seats that were left on the contract before.
    """

    new: int
    attached: int
    known: int
    unseated: int
    undone: int
    wrong: int
    remaining: int

    @property
    def joining(self) -> int:
        """The people who get a seat."""
        return self.new + self.attached

    @property
    def lines(self) -> int:
        """The lines of the file."""
        return self.joining + self.known + self.unseated + self.undone + self.wrong

    @property
    def wanted(self) -> int:
        """The seats that all valid lines need."""
        return self.joining + self.unseated

    def is_stale(self, seen: int) -> bool:
        """Tells whether the seats that are left now would make another plan.

        Parameters:
          seen: the seats that were left when the file was tried.
        """
        return self.remaining < self.joining or (self.unseated > 0 and self.remaining != seen)

    @property
    def policy(self) -> str:
        """The policy under which the import does what its dry run has shown.

        Where there are seats for all valid lines, nothing is done if these are taken meanwhile by another manager.
        """
        return "until_full" if self.unseated or self.lines > MOST_AT_ONCE else "valid_rows"


def plan_of(report: Job, remaining: int) -> ImportPlan:
    """Counts the lines of an import.

    Parameters:
      remaining: the seats that are left on the contract now.
    """
    counts: Mapping[str, int] = report.result.counts or {}
    kinds = ("enrolled", "attached", "already_enrolled", "no_seat_left", "not_carried_out")
    new, attached, known, unseated, undone = (counts.get(code, 0) for code in kinds)
    wrong = sum(number for code, number in counts.items() if code not in (*DONE, *kinds))
    return ImportPlan(new, attached, known, unseated, undone, wrong, remaining)


def whole_refusal(report: Job) -> str | None:
    """Returns why the file as a whole was refused; None when each of its lines has a result."""
    result: Any = report.result
    code = report.result.code
    if code is None:
        return None
    if getattr(result, "field", None) == "file" or code in CONTRACT_CODES:
        return code
    return None


class FileReading(NamedTuple):
    """How a file was understood.

    Parameters:
      columns: the columns in their order, each with the field it was recognised as; None for one that is ignored.
    """

    kind: str
    encoding: str | None
    delimiter: str | None
    sheet: str | None
    header_line: int
    columns: tuple[tuple[str, str | None], ...]
    has_accents: bool

    @property
    def encoding_name(self) -> str:
        """The name of the encoding as people know it."""
        name = (self.encoding or "").removesuffix("-sig").removesuffix("-le").removesuffix("-be")
        return ENCODINGS.get(name, name.upper())

    @property
    def encoding_kind(self) -> str:
        """The key of what is said about the encoding."""
        known = ("windows-1252", "utf-8", "utf-16")
        return next((one for one in known if self.encoding_name.lower().startswith(one)), "other")

    @property
    def delimiter_name(self) -> str:
        """The key of the name of the sign between cells."""
        return DELIMITERS.get(self.delimiter or "", "bar")


def reading_of(report: Job) -> FileReading | None:
    """Returns how the file of an import was understood; None before it was read, or when it could not be."""
    told = (report.file or {}).get("reading")
    if not told:
        return None
    known = [(one["column"], one["header"], field) for field, one in told["header"].items()]
    ignored = [(one["column"], one["header"], None) for one in told["ignored_columns"]]
    columns = sorted([*known, *ignored], key=lambda one: int(one[0]))
    return FileReading(
        told["kind"],
        told["encoding"],
        told["delimiter"],
        told["sheet"],
        told["header_line"],
        tuple((str(header), field) for _, header, field in columns),
        bool(told["accented"]),
    )
