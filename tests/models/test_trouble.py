"""The trouble of a failure: equal for the same fault, also when messages name other rows, people or numbers."""

from typing import Any

import pytest

from models.trouble import LONGEST_TROUBLE, trouble_of


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, None),
        ({}, "||"),
        ({"class": "KeyError", "message": "'Zoé D’Arc'"}, "KeyError||#"),
        (
            {
                "class": "ValueError",
                "message": 'no row 018f4c3a-9d1e-7c11-b2aa-0123456789ab in "contract" after 3 tries',
            },
            "ValueError||no row # in # after # tries",
        ),
        (
            {"class": "failed", "reason": "policy", "message": "rcpt 550 5.7.1 <anne@x.fr>: Sender  address\nrejected"},
            "failed|policy|rcpt # #.#.# <#>: Sender address rejected",
        ),
        ({"class": "E", "message": "it can't be that it isn't"}, "E||it can't be that it isn't"),
        ({"class": "E", "message": "deadbeef00 and cafe and decade"}, "E||# and cafe and decade"),
        ({"class": "E", "message": "le nom « Zoé » est long"}, "E||le nom # est long"),
        ({"class": "E", "reason": None, "message": None}, "E||"),
        ({"class": "E", "message": "a\x00b\ud800"}, "E||ab?"),
    ],
)
def test_what_differs_from_row_to_row_is_left_out(error: dict[str, Any] | None, expected: str | None) -> None:
    assert trouble_of(error) == expected


def test_a_long_message_is_cut() -> None:
    assert len(trouble_of({"class": "E", "message": "x " * 5_000}) or "") == LONGEST_TROUBLE


def test_hostile_messages_are_read_at_once() -> None:
    for message in ("'" * 100_000, "@" * 100_000, "a" * 100_000 + "@", "0-" * 50_000, "«" * 100_000):
        assert trouble_of({"class": "E", "message": message}) is not None
