"""Who is enrolled while some addresses are left alone."""

from datetime import UTC, datetime

import pytest

from models.enrollment import plan_enrollments
from models.words import Code, Policy
from tests.models.test_enrollment import ALL, FULL, SHORT, VALID, person, room, rows

KEPT_FROM = SHORT | {"x": Code.SUPPRESSED_ADDRESS}


@pytest.mark.parametrize(
    ("people", "seats_left", "known", "live", "policy", "expected"),
    [  # no mail is sent to b
        ("b", 3, "", "", FULL, "x"),
        ("b", 3, "b", "", FULL, "x"),
        ("ab", 2, "", "", ALL, "-x"),
        ("abc", 2, "", "", VALID, "ExE"),  # takes no seat from those after it
        ("abc", 2, "", "", FULL, "ExE"),
        ("b", 0, "", "", FULL, "x"),  # what can be cured comes before what cannot
        ("b", 0, "", "b", ALL, "="),  # already enrolled: nothing is sent
        ("bb", 3, "", "", FULL, "xx"),  # a refused row reserves no address
    ],
)
def test_nobody_is_enrolled_under_an_address_no_mail_is_sent_to(
    people: str, seats_left: int, known: str, live: str, policy: Policy, expected: str
) -> None:
    where = room(seats_left, known=known, live=live)
    where.suppressed = {person("b").email_norm: datetime(2026, 3, 2, tzinfo=UTC)}
    decided = plan_enrollments(rows(people), where, policy)
    assert [verdict.code for verdict in decided.verdicts] == [KEPT_FROM[letter] for letter in expected]
    assert {verdict.field for verdict in decided.verdicts if verdict.code is Code.SUPPRESSED_ADDRESS} <= {"email"}
    assert where.seats_left == seats_left - sum(letter in "EA" for letter in expected)
