"""The table of corrections of names: at once, by the person, or refused; and the name a certificate is printed with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.name_correction import (
    NameFacts,
    NameGround,
    PrintedName,
    answer_name_correction,
    name_ending,
    name_to_reprint,
)
from models.throttle import RateLimit, measure_allowance
from models.words import Code, CorrectionState

NOW = datetime(2026, 3, 14, 8, 30, tzinfo=UTC)
EARLIER = NOW - timedelta(days=3)
PLAIN: dict[str, Any] = {
    "withdrawn_at": None, "detached_at": None, "activated": False, "shared": False, "same": False, "suppressed": None,
}  # fmt: skip
OPEN = measure_allowance([RateLimit(1, timedelta(days=1))], [], NOW)
CLOSED = measure_allowance([RateLimit(1, timedelta(days=1))], [(NOW - timedelta(hours=1), 1)], NOW)


@pytest.mark.parametrize(
    ("facts", "code", "moment", "counted"),
    [
        ({}, Code.NAME_CORRECTED, None, 1),
        ({"activated": True}, Code.NAME_CONFIRMATION_SENT, None, 1),
        ({"shared": True}, Code.NAME_CONFIRMATION_SENT, None, 1),
        ({"activated": True, "shared": True}, Code.NAME_CONFIRMATION_SENT, None, 1),
        ({"suppressed": EARLIER}, Code.NAME_CORRECTED, None, 1),  # no mail is needed
        ({"suppressed": EARLIER, "activated": True}, Code.SUPPRESSED_ADDRESS, EARLIER, 0),
        ({"suppressed": EARLIER, "shared": True}, Code.SUPPRESSED_ADDRESS, EARLIER, 0),
        ({"same": True}, Code.UNCHANGED, None, 0),
        ({"same": True, "activated": True}, Code.UNCHANGED, None, 0),
        ({"withdrawn_at": EARLIER}, Code.ALREADY_WITHDRAWN, EARLIER, 0),
        ({"detached_at": EARLIER}, Code.DETACHED, EARLIER, 0),
    ],
)
def test_who_may_ask_and_who_confirms(facts: dict[str, Any], code: Code, moment: datetime | None, counted: int) -> None:
    answer = answer_name_correction(NameFacts(**(PLAIN | facts)), [OPEN])
    assert (answer.verdict.code, answer.verdict.moment) == (code, moment)
    assert [one.taken for one in answer.allowances] == [counted]


def test_too_many_corrections_wait_and_an_unknown_person_is_not_found() -> None:
    throttled = answer_name_correction(NameFacts(**PLAIN), [CLOSED])
    assert throttled.verdict == (Code.THROTTLED, NOW + timedelta(hours=23))
    assert answer_name_correction(None, [CLOSED]).verdict.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("state", "ground", "told"),
    [
        (CorrectionState.APPLIED, NameGround.CONFIRMED, "confirmed"),
        (CorrectionState.CANCELLED, NameGround.REFUSAL, "refusal"),
        (CorrectionState.CANCELLED, NameGround.LINKS_VOIDED, "links_voided"),
        (CorrectionState.EXPIRED, None, "expired"),
        (CorrectionState.SUPERSEDED, NameGround.TAKEN_BACK, None),
        (CorrectionState.APPLIED, NameGround.NEVER_ACTIVATED, None),
        (CorrectionState.APPLIED, NameGround.OPS, None),
        (CorrectionState.PENDING, None, None),
        (CorrectionState.CANCELLED, None, None),  # the person was erased
    ],
)
def test_what_the_manager_is_told(state: CorrectionState, ground: NameGround | None, told: str | None) -> None:
    assert name_ending(state, ground) == told


@pytest.mark.parametrize(
    ("corrected_at", "last_name"),
    [(None, "Martin"), (NOW - timedelta(seconds=1), "Martin"), (NOW, "Martin"), (NOW + timedelta(seconds=1), "Durand")],
)
def test_only_a_later_correction_of_the_account_is_printed(corrected_at: datetime | None, last_name: str) -> None:
    printed, account = PrintedName("Anne", "Martin"), PrintedName("Anne", "Durand")
    assert name_to_reprint(printed, account, issued_at=NOW, corrected_at=corrected_at) == ("Anne", last_name)
