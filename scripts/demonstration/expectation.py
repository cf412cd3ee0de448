"""Computes the expected results of the demonstration from its file, and compares them with the real ones."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workers.rosters.reader import RosterRow

# These rules are independent of models/, and precise enough for the file of the demonstration.
ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")


@dataclass(frozen=True)
class Expectation:
    """The results that the file must give.

    Parameters:
      codes: a code for each row, in file order.
      joined: the addresses that get a seat, in file order.
      remaining: the number of seats left.
    """

    codes: tuple[str, ...]
    joined: tuple[str, ...]
    remaining: int


@dataclass(frozen=True)
class ExpectedOutcome:
    """The real results.

    Parameters:
      codes: a code for each row, from the job.
      contract: its three counters.
      mails: the mails of the job (kind, to_address, state, message_id).
      deliveries: how often each of their Message-IDs is in the mailbox, by recipient.
      names: the names that are now stored for the person who had an account before.
    """

    codes: tuple[str, ...]
    contract: Mapping[str, int]
    mails: Sequence[Mapping[str, Any]]
    deliveries: Counter[tuple[str, str]]
    names: tuple[str, str]


def expect(rows: Sequence[RosterRow], *, seats: int, known: set[str]) -> Expectation:
    """Computes the results for a contract with this many free seats and these known addresses."""
    codes: list[str] = []
    joined: list[str] = []
    for row in rows:
        address = row.email.strip().lower()
        if not ADDRESS.fullmatch(address):
            codes.append("invalid_email")
        elif address in joined:
            codes.append("duplicate_in_file")
        elif len(joined) == seats:
            codes.append("no_seat_left")
        else:
            codes.append("attached" if address in known else "enrolled")
            joined.append(address)
    return Expectation(tuple(codes), tuple(joined), seats - len(joined))


def differences(
    expected: Expectation,
    found: ExpectedOutcome,
    *,
    rows: Sequence[RosterRow],
    seats: int,
    report_to: str,
    names: Sequence[str],
) -> list[str]:
    """Returns one line for each difference from the expectation; the list is empty when all results are right."""
    enrolled = seats - expected.remaining
    return [
        *_codes(expected, found, rows),
        *_number("Inscriptions prévues", found.contract["planned_seats"], seats),
        *_number("Participants inscrits", found.contract["enrolled_count"], enrolled),
        *_number("Places restantes", found.contract["remaining"], expected.remaining),
        *_number("mails to people", len(_to_people(found)), enrolled),
        *_number("confirmations", len(found.mails) - len(_to_people(found)), 1),
        *_mails(expected, found, report_to),
        *_number("names of the account registered before", " ".join(found.names), " ".join(names)),
    ]


def _number(name: str, found: object, expected: object) -> list[str]:
    return [] if found == expected else [f"{name}: {found}, expected {expected}"]


def _codes(expected: Expectation, found: ExpectedOutcome, rows: Sequence[RosterRow]) -> list[str]:
    wanted, got = Counter(expected.codes), Counter(found.codes)
    totals = [line for code in sorted(wanted | got) for line in _number(code, got[code], wanted[code])]
    lines = _number("results", len(found.codes), len(rows))
    for row, want, have in zip(rows, expected.codes, found.codes, strict=False):
        lines += _number(f"line {row.line}", have, want)
    return totals + lines


def _mails(expected: Expectation, found: ExpectedOutcome, report_to: str) -> list[str]:
    to_people = Counter(mail["to_address"] for mail in _to_people(found))
    delivered = Counter(to for to, _ in found.deliveries.elements())
    lines = []
    for address in dict.fromkeys((*expected.joined, *sorted(to_people), report_to)):
        wanted = int(address in expected.joined) + int(address == report_to)
        owed = to_people[address] + int(address == report_to)
        lines += _number(f"mails owed to {address}", owed, wanted)
        lines += _number(f"mails delivered to {address}", delivered[address], wanted)
    unsent = [mail for mail in found.mails if mail["state"] != "sent"]
    return lines + _number("mails not sent", len(unsent), 0)


def _to_people(found: ExpectedOutcome) -> list[Mapping[str, Any]]:
    return [mail for mail in found.mails if mail["kind"] != "enrollment_report"]
