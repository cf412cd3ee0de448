"""These rules decide how long names on certificates are kept and which rows are old; docs/retention.md states them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from models.base import new_id
from models.password import FORGOTTEN_AFTER
from models.retention import CERTIFICATE_YEARS, RETENTION, RetentionClass, first_id, names_kept_until
from models.throttle import COUNTS_FOR, KEPT_LONGER, ThrottleScope
from tests.kit.processes.support import PROJECT


@pytest.mark.parametrize(
    ("completed", "until"),
    [
        ("2026-03-05T12:00:00+00:00", "2033-01-01T00:00:00+01:00"),
        ("2026-01-01T00:00:00+01:00", "2033-01-01T00:00:00+01:00"),
        ("2026-12-31T23:59:59+01:00", "2033-01-01T00:00:00+01:00"),
        # In Paris it is already the new year.
        ("2026-12-31T23:00:00+00:00", "2034-01-01T00:00:00+01:00"),
        ("2026-12-31T22:59:59+00:00", "2033-01-01T00:00:00+01:00"),
        ("2027-01-01T03:00:00+09:00", "2033-01-01T00:00:00+01:00"),
        ("2024-02-29T10:00:00+00:00", "2031-01-01T00:00:00+01:00"),
    ],
)
def test_names_are_kept_until_the_sixth_year_after_completion_has_ended(completed: str, until: str) -> None:
    assert names_kept_until(datetime.fromisoformat(completed)) == datetime.fromisoformat(until)


def test_the_first_identifier_of_a_moment_separates_earlier_from_later() -> None:
    earlier = [new_id() for _ in range(50)]
    while time.time_ns() // 1_000_000 <= earlier[-1].int >> 80:
        pass
    moment = datetime.now(UTC)
    later = [new_id() for _ in range(50)]
    assert max(earlier) < first_id(moment) <= min(later)


def test_every_kind_of_data_has_a_time_and_a_reason() -> None:
    assert set(RETENTION) == set(RetentionClass)
    assert all(all(kept) for kept in RETENTION.values())


def test_limits_sign_ins_and_holders_are_kept_while_they_count() -> None:
    day = timedelta(days=1)
    longest = max(kept for scope, kept in COUNTS_FOR.items() if scope not in KEPT_LONGER)
    assert (RETENTION[RetentionClass.THROTTLE].keeps, longest) == ("1 day", day)
    corrections = RETENTION[RetentionClass.CORRECTION_THROTTLE].keeps, COUNTS_FOR[ThrottleScope.CORRECTION_ENROLLMENT]
    assert corrections == ("30 days", 30 * day)
    assert (RETENTION[RetentionClass.SIGN_IN].keeps, FORGOTTEN_AFTER) == ("1 day", day)
    assert RETENTION[RetentionClass.HOLDER].keeps == f"{CERTIFICATE_YEARS} years"


def test_the_page_has_every_line_of_the_table_and_no_other() -> None:
    page = (PROJECT / "docs" / "retention.md").read_text(encoding="utf-8")
    _, _, ends_by_itself = page.partition("| what | how long |")
    lines = ends_by_itself.partition("\n\n")[0].splitlines()[2:]
    told = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    assert told == [tuple(kept) for kept in RETENTION.values()]
