"""The demonstration computes the right results from its file, and names every number that differs."""

from collections import Counter
from dataclasses import replace

import pytest

from scripts.demonstration.expectation import Expectation, ExpectedOutcome, differences, expect
from scripts.demonstration.main_job import REGISTERED_BEFORE, SEATS, enrollment, key_of, read_file
from workers.rosters.reader import RosterRow

ROWS = [RosterRow(2, "A@x.fr", "A", "A"), RosterRow(3, "b@x.fr", "B", "B"), RosterRow(4, "c@x", "C", "C")]
EXPECTED = Expectation(("attached", "enrolled", "invalid_email"), ("a@x.fr", "b@x.fr"), 0)
MAILS = [
    {"kind": "attachment", "to_address": "a@x.fr", "state": "sent", "message_id": "<1>"},
    {"kind": "invitation", "to_address": "b@x.fr", "state": "sent", "message_id": "<2>"},
    {"kind": "enrollment_report", "to_address": "chef@x.fr", "state": "sent", "message_id": "<3>"},
]
FOUND = ExpectedOutcome(
    codes=EXPECTED.codes,
    contract={"planned_seats": 2, "enrolled_count": 2, "remaining": 0},
    mails=MAILS,
    deliveries=Counter([("a@x.fr", "<1>"), ("b@x.fr", "<2>"), ("chef@x.fr", "<3>")]),
    names=("A", "A"),
)


def found_different(found: ExpectedOutcome) -> list[str]:
    return differences(EXPECTED, found, rows=ROWS, seats=2, report_to="chef@x.fr", names=("A", "A"))


def test_the_file_says_what_the_documentation_says() -> None:
    expected = expect(read_file().rows, seats=SEATS, known={REGISTERED_BEFORE})
    assert Counter(expected.codes) == Counter(
        enrolled=24, attached=1, duplicate_in_file=1, invalid_email=1, no_seat_left=6
    )
    assert (len(expected.joined), expected.remaining) == (25, 0)


def test_the_fold_takes_rows_in_order_until_no_seat_is_left() -> None:
    rows = [*ROWS, RosterRow(5, " b@X.fr\u00a0", "B", "B"), RosterRow(6, "d@x.fr", "D", "D")]
    assert expect(rows, seats=2, known={"a@x.fr"}).codes == (*EXPECTED.codes, "duplicate_in_file", "no_seat_left")


def test_when_all_is_well_nothing_differs() -> None:
    assert found_different(FOUND) == []


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (replace(FOUND, codes=("enrolled", "enrolled", "invalid_email")), "line 2: enrolled, expected attached"),
        (replace(FOUND, codes=("attached", "enrolled")), "results: 2, expected 3"),
        (replace(FOUND, contract={"planned_seats": 2, "enrolled_count": 1, "remaining": 1}),
         "Places restantes: 1, expected 0"),
        (replace(FOUND, mails=MAILS[:2]), "confirmations: 0, expected 1"),
        (replace(FOUND, mails=[*MAILS, MAILS[0]]), "mails owed to a@x.fr: 2, expected 1"),
        (replace(FOUND, deliveries=FOUND.deliveries + Counter([("b@x.fr", "<2>")])),
         "mails delivered to b@x.fr: 2, expected 1"),
        (replace(FOUND, mails=[MAILS[0] | {"state": "owed"}, *MAILS[1:]]), "mails not sent: 1, expected 0"),
        (replace(FOUND, names=("B", "A")), "names of the account registered before: B A, expected A A"),
    ],
)  # fmt: skip
def test_each_difference_is_named(found: ExpectedOutcome, named: str) -> None:
    assert named in found_different(found)


def test_the_same_file_is_asked_for_under_the_same_key() -> None:
    assert key_of(enrollment(read_file())) == key_of(enrollment(read_file()))
