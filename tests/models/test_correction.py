"""These rules decide who may correct an address and when a pending correction ends; none lets a stranger take an
account.
"""

from datetime import UTC, datetime, timedelta

import pytest

from models.correction import (
    LASTS,
    LISTENS_AGAIN,
    SILENCE,
    CorrectionGround,
    CorrectionVerdict,
    ParticipantFacts,
    PendingFacts,
    answer_correction,
    answer_operator,
    ending_of,
    judge_correction,
    mask_address,
)
from models.link import ResendVerdict
from models.throttle import DAY, LIMITS, Allowance, Asked, ThrottleScope, measure_allowance
from models.words import Code, CorrectionState

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
SINCE = NOW - timedelta(days=3)
NEVER = ParticipantFacts(None, None, activated=False, shared=False, same=False, taken=False, suppressed=None)
USED = NEVER._replace(activated=True)
GONE = NEVER._replace(withdrawn_at=SINCE)
NOT_ME = NEVER._replace(detached_at=SINCE)


def allowance(scope: ThrottleScope, *asked: Asked) -> Allowance:
    return measure_allowance(LIMITS[scope], asked, NOW)


@pytest.mark.parametrize(
    ("person", "answer"),
    [
        (None, ResendVerdict(Code.NOT_FOUND)),
        (NEVER, ResendVerdict(Code.CORRECTED)),
        (USED, ResendVerdict(Code.CONFIRMATION_SENT)),
        (GONE, ResendVerdict(Code.ALREADY_WITHDRAWN, SINCE)),
        (NOT_ME, ResendVerdict(Code.DETACHED, SINCE)),
        (NOT_ME._replace(withdrawn_at=NOW), ResendVerdict(Code.ALREADY_WITHDRAWN, NOW)),
        *((person._replace(same=True), ResendVerdict(Code.UNCHANGED)) for person in (NEVER, USED)),
        *((person._replace(shared=True), ResendVerdict(Code.SHARED_ACCOUNT)) for person in (NEVER, USED)),
        *((person._replace(taken=True), ResendVerdict(Code.ADDRESS_TAKEN)) for person in (NEVER, USED)),
        *(
            (person._replace(suppressed=SINCE), ResendVerdict(Code.SUPPRESSED_ADDRESS, SINCE))
            for person in (NEVER, USED)
        ),
        (USED._replace(shared=True, taken=True), ResendVerdict(Code.SHARED_ACCOUNT)),  # says nothing of the address
        (USED._replace(same=True, shared=True), ResendVerdict(Code.UNCHANGED)),
        (NOT_ME._replace(shared=True, taken=True), ResendVerdict(Code.DETACHED, SINCE)),
    ],
)
def test_the_answer_to_a_manager(person: ParticipantFacts | None, answer: ResendVerdict) -> None:
    assert answer_correction(person, [allowance(ThrottleScope.CORRECTION_ADDRESS)]).verdict == answer


@pytest.mark.parametrize(
    ("person", "open_answer", "closed_answer", "taken"),
    [
        (USED, Code.CONFIRMATION_SENT, Code.THROTTLED, 1),
        (NEVER, Code.CORRECTED, Code.THROTTLED, 1),
        (USED._replace(taken=True), Code.ADDRESS_TAKEN, Code.THROTTLED, 1),  # a manager cannot try a thousand addresses
        (USED._replace(same=True), Code.UNCHANGED, Code.UNCHANGED, 0),
        (USED._replace(shared=True), Code.SHARED_ACCOUNT, Code.SHARED_ACCOUNT, 0),
        (GONE, Code.ALREADY_WITHDRAWN, Code.ALREADY_WITHDRAWN, 0),
        (None, Code.NOT_FOUND, Code.NOT_FOUND, 0),
    ],
)
def test_the_attempts_that_count_and_the_limit(
    person: ParticipantFacts | None, open_answer: Code, closed_answer: Code, taken: int
) -> None:
    asked = [(NOW - age * DAY, 1) for age in (29, 20)]
    before = [allowance(ThrottleScope.CORRECTION_ENROLLMENT, *asked), allowance(ThrottleScope.CORRECTION_PORTAL)]
    answer, (enrollment, portal) = answer_correction(person, before)
    assert (answer.code, enrollment.taken, portal.taken) == (open_answer, taken, taken)
    full = allowance(ThrottleScope.CORRECTION_ENROLLMENT, *asked, (NOW - DAY, 1))
    closed, (enrollment, portal) = answer_correction(person, [full, portal])
    assert (closed.code, enrollment.taken, portal.taken) == (closed_answer, 0, taken)
    if closed.code is Code.THROTTLED:
        assert closed.moment == NOW + DAY  # the first of the three is thirty days old tomorrow


@pytest.mark.parametrize(
    ("same", "taken", "suppressed", "answer"),
    [
        (False, False, None, ResendVerdict(Code.CORRECTED)),
        (False, True, None, ResendVerdict(Code.ADDRESS_TAKEN)),
        (False, True, SINCE, ResendVerdict(Code.ADDRESS_TAKEN)),
        (True, False, None, ResendVerdict(Code.UNCHANGED)),
        (True, False, SINCE, ResendVerdict(Code.UNCHANGED)),
        (False, False, SINCE, ResendVerdict(Code.SUPPRESSED_ADDRESS, SINCE)),
    ],
)
def test_the_answer_to_operators(same: bool, taken: bool, suppressed: datetime | None, answer: ResendVerdict) -> None:
    assert answer_operator(same=same, taken=taken, suppressed=suppressed) == answer


ASKED = NOW - timedelta(days=5)
FRESH = PendingFacts(ASKED)
CONFIRMED = FRESH._replace(confirmed_at=NOW)
WAITS = CorrectionVerdict(CorrectionState.PENDING)
OVER = CorrectionVerdict(CorrectionState.EXPIRED)


def applied(ground: CorrectionGround) -> CorrectionVerdict:
    return CorrectionVerdict(CorrectionState.APPLIED, ground)


def cancelled(ground: CorrectionGround) -> CorrectionVerdict:
    return CorrectionVerdict(CorrectionState.CANCELLED, ground)


@pytest.mark.parametrize(
    ("what", "unconfirmed", "confirmed"),
    [
        ({}, WAITS, WAITS),
        ({"password_given_at": NOW}, WAITS, applied(CorrectionGround.PASSWORD)),
        ({"agreed_at": NOW}, WAITS, applied(CorrectionGround.AGREEMENT)),
        ({"bounced": True}, WAITS, applied(CorrectionGround.HARD_BOUNCE)),
        ({"notice_sent_at": NOW - SILENCE}, WAITS, applied(CorrectionGround.SILENCE)),
        ({"notice_sent_at": NOW - SILENCE + timedelta(seconds=1)}, WAITS, WAITS),
        ({"notice_sent_at": NOW - SILENCE, "refused_at": ASKED - timedelta(days=1)}, WAITS, WAITS),
        (
            {"notice_sent_at": NOW - SILENCE, "refused_at": ASKED - LISTENS_AGAIN},
            WAITS,
            applied(CorrectionGround.SILENCE),
        ),
        ({"bounced": True, "refused_at": ASKED - timedelta(days=1)}, WAITS, WAITS),
        ({"bounced": True, "refused_at": ASKED - LISTENS_AGAIN}, WAITS, applied(CorrectionGround.HARD_BOUNCE)),
        ({"agreed_at": NOW, "refused_at": ASKED}, WAITS, applied(CorrectionGround.AGREEMENT)),
        ({"password_given_at": NOW, "refused_at": ASKED}, WAITS, applied(CorrectionGround.PASSWORD)),
        *(
            (
                {field: value, "agreed_at": NOW, "password_given_at": NOW, "notice_sent_at": ASKED, "bounced": True},
                cancelled(ground),
                cancelled(ground),
            )
            for field, value, ground in (
                ("shared", True, CorrectionGround.SHARED),
                ("taken", True, CorrectionGround.TAKEN),
                ("theirs", False, CorrectionGround.NOT_THEIRS),
                ("links_voided", True, CorrectionGround.LINKS_VOIDED),
            )
        ),
    ],
)
def test_when_a_correction_may_be_applied(
    what: dict[str, object], unconfirmed: CorrectionVerdict, confirmed: CorrectionVerdict
) -> None:
    assert judge_correction(FRESH._replace(**what), NOW) == unconfirmed  # type: ignore[arg-type]
    assert judge_correction(CONFIRMED._replace(**what), NOW) == confirmed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pending", "verdict"),
    [
        (PendingFacts(NOW - LASTS), OVER),
        (PendingFacts(NOW - LASTS, agreed_at=NOW, notice_sent_at=ASKED, bounced=True), OVER),  # never confirmed
        (PendingFacts(NOW - LASTS, confirmed_at=ASKED), OVER),  # confirmed, but the notice was never sent
        (PendingFacts(NOW - LASTS, confirmed_at=ASKED, notice_sent_at=NOW - timedelta(days=1)), OVER),
        (
            PendingFacts(NOW - LASTS, confirmed_at=ASKED, notice_sent_at=ASKED),
            applied(CorrectionGround.SILENCE),
        ),  # the schedule did not run
        (PendingFacts(NOW - LASTS + timedelta(seconds=1)), WAITS),
    ],
)
def test_when_a_correction_expires(pending: PendingFacts, verdict: CorrectionVerdict) -> None:
    assert judge_correction(pending, NOW) == verdict


def test_silence_counts_from_the_moment_the_notice_was_sent() -> None:
    assert FRESH.silent_until is None
    told = FRESH._replace(notice_sent_at=ASKED + DAY)
    assert told.silent_until == ASKED + DAY + timedelta(hours=72)
    assert told._replace(refused_at=ASKED - DAY).silent_until is None
    assert FRESH.ends_at == ASKED + timedelta(days=14)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("jean.dupont@example.com", "j***@example.com"),
        ("j@example.com", "j***@example.com"),
        ("=?utf-8?q?x?=@example.com", "=***@example.com"),
    ],
)
def test_a_masked_address_shows_one_character_and_the_domain(address: str, shown: str) -> None:
    assert mask_address(address) == shown


@pytest.mark.parametrize(
    ("state", "ground", "confirmed", "ending"),
    [
        (CorrectionState.PENDING, None, True, None),
        (CorrectionState.APPLIED, "agreement", True, None),
        (CorrectionState.EXPIRED, None, True, "expired"),
        (CorrectionState.EXPIRED, None, False, "unconfirmed"),
        (CorrectionState.CANCELLED, "refusal", True, "refusal"),
        (CorrectionState.SUPERSEDED, "replaced", False, "replaced"),
    ],
)
def test_why_a_correction_was_not_made(
    state: CorrectionState, ground: str | None, confirmed: bool, ending: str | None
) -> None:
    assert ending_of(state, ground, confirmed=confirmed) == ending
