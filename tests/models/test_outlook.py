"""The outlook of a queue at the rate of the last fifteen minutes."""

import pytest

from models.outlook import Outlook, OutlookCode, QueueFacts, judge_outlook

C = OutlookCode


def facts(waiting: int, oldest: float | None, arrived: int, ended: int, **others: bool) -> QueueFacts:
    return QueueFacts(waiting, oldest, 60.0, arrived, ended, **others)


@pytest.mark.parametrize(
    ("of", "outlook"),
    [
        (facts(0, None, 0, 0), Outlook(C.EMPTY)),
        (facts(0, None, 9, 9, served=False), Outlook(C.EMPTY)),
        (facts(10, 5.0, 150, 150), Outlook(C.KEEPS_UP)),
        (facts(10, 60.0, 150, 150), Outlook(C.KEEPS_UP)),
        (facts(11, 60.0, 150, 150), Outlook(C.KEEPS_UP)),
        (facts(3, 1.0, 3, 0), Outlook(C.KEEPS_UP)),
        (facts(3, None, 3, 0), Outlook(C.KEEPS_UP)),
        (facts(100, 5.0, 0, 150), Outlook(C.CLEARS, 600.0)),
        (facts(1, 61.0, 0, 15), Outlook(C.CLEARS, 60.0)),
        (facts(1_842, 190.0, 1_440, 3_735), Outlook(C.CLEARS, 900 * 1_842 / 2_295)),
        (facts(100, 61.0, 150, 150), Outlook(C.GROWS)),
        (facts(100, 61.0, 151, 150), Outlook(C.GROWS)),
        (facts(100, 61.0, 0, 0), Outlook(C.STALLED)),
        (facts(100, 61.0, 9, 0), Outlook(C.STALLED)),
        (facts(1, 1.0, 0, 15, served=False), Outlook(C.UNSERVED)),
        (facts(1, 1.0, 0, 15, relay_rests=True), Outlook(C.RELAY_RESTS)),
        (facts(1, 1.0, 0, 15, relay_rests=True, served=False), Outlook(C.UNSERVED)),
        (facts(0, None, 0, 0, paused=True), Outlook(C.PAUSED)),
        (facts(1, 99.0, 0, 0, paused=True, served=False), Outlook(C.PAUSED)),
    ],
)
def test_the_outlook_follows_from_what_comes_and_what_ends(of: QueueFacts, outlook: Outlook) -> None:
    assert judge_outlook(of) == outlook


def test_a_person_is_needed_only_where_nothing_goes_on_by_itself() -> None:
    assert {code for code in C if code.needs_person} == {C.STALLED, C.UNSERVED, C.RELAY_RESTS}
