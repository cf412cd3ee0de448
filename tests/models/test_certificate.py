"""These rules decide the facts on a certificate, its holder, and the codes that people type by hand."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.certificate import (
    CODE_ALPHABET,
    CertificateStatus,
    IssuingFacts,
    certificate_number,
    certificate_status,
    done_minutes,
    duplicate_number,
    freeze_certificate,
    group_code,
    new_verification_code,
    no_duplicate_because,
    not_issued_because,
    read_verification_code,
)
from models.document import CertificateIssuer, CertificateSnapshot, TrainingModality, TrainingNature
from models.paris import day_in_paris
from models.words import Code, Progress

BEFORE, AFTER = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2025, 12, 31, 22, 59, tzinfo=UTC), date(2025, 12, 31)),
        (datetime(2025, 12, 31, 23, 0, tzinfo=UTC), date(2026, 1, 1)),
        (datetime(2026, 6, 30, 21, 59, tzinfo=UTC), date(2026, 6, 30)),
        (datetime(2026, 6, 30, 22, 0, tzinfo=UTC), date(2026, 7, 1)),
    ],
)
def test_the_day_is_that_of_france(moment: datetime, day: date) -> None:
    assert day_in_paris(moment) == day


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(0, None), (-5, None), (1, 1), (29, 1), (89, 1), (91, 2), (3_600, 60), (24_000, 400)]
)
def test_time_spent_is_printed_in_whole_minutes(seconds: int, minutes: int | None) -> None:
    assert done_minutes(seconds) == minutes


@pytest.mark.parametrize(
    ("ordinal", "number"), [(1, "2026-000001"), (999_999, "2026-999999"), (1_000_000, "2026-1000000")]
)
def test_numbers_of_certificates_and_duplicates(ordinal: int, number: str) -> None:
    assert certificate_number(2026, ordinal) == number
    assert duplicate_number(number, 12) == f"{number}-D12"


@pytest.mark.parametrize(
    ("progress", "organisation", "names", "code"),
    [
        (Progress.COMPLETED, True, True, None),
        (Progress.COMPLETED, True, False, Code.NAMES_NOT_KEPT),
        (Progress.COMPLETED, False, False, Code.UNKNOWN_ORGANISATION),
        (Progress.IN_PROGRESS, False, False, Code.NOT_COMPLETED),
        (Progress.NOT_STARTED, True, True, Code.NOT_COMPLETED),
    ],
)
def test_the_reasons_against_a_certificate(
    progress: Progress, organisation: bool, names: bool, code: Code | None
) -> None:
    assert not_issued_because(progress, organisation=organisation, names=names) == code


@pytest.mark.parametrize(
    ("progress", "detached", "revoked", "kept", "code"),
    [
        (Progress.COMPLETED, False, False, True, None),
        (Progress.COMPLETED, False, False, False, Code.NAMES_NOT_KEPT),
        (Progress.COMPLETED, False, True, False, Code.CERTIFICATE_REVOKED),
        (Progress.COMPLETED, True, True, True, Code.DETACHED),
        (Progress.IN_PROGRESS, False, True, True, Code.NOT_COMPLETED),
        (Progress.NOT_STARTED, True, False, True, Code.DETACHED),
    ],
)
def test_the_reasons_against_a_duplicate(
    progress: Progress, detached: bool, revoked: bool, kept: bool, code: Code | None
) -> None:
    assert no_duplicate_because(progress, detached=detached, revoked=revoked, kept=kept) == code


@pytest.mark.parametrize(
    ("replaced_at", "revoked_at", "expected"),
    [
        (None, None, CertificateStatus("valid", None)),
        (BEFORE, None, CertificateStatus("replaced", BEFORE)),
        (None, AFTER, CertificateStatus("revoked", AFTER)),
        (AFTER, BEFORE, CertificateStatus("revoked", BEFORE)),
        (BEFORE, AFTER, CertificateStatus("revoked", AFTER)),
    ],
)
def test_the_status_of_a_certificate(
    replaced_at: datetime | None, revoked_at: datetime | None, expected: CertificateStatus
) -> None:
    assert certificate_status(replaced_at=replaced_at, revoked_at=revoked_at) == expected


@pytest.mark.parametrize(
    ("started_at", "starts_on"),
    [
        (datetime(2026, 3, 2, 8, tzinfo=UTC), date(2026, 3, 2)),
        (datetime(2026, 3, 8, 23, 30, tzinfo=UTC), date(2026, 3, 9)),  # after midnight in France
        (datetime(2026, 4, 1, tzinfo=UTC), date(2026, 3, 9)),  # a start reported after the end is ignored
    ],
)
def test_a_training_never_begins_after_it_ends(started_at: datetime, starts_on: date) -> None:
    issuer = CertificateIssuer(legal_name="OF", signatory_name="A", signatory_quality="B", place="C")
    facts = IssuingFacts("Zoé", "Le Dû", "Acmé", None, None, "Sécurité", "training", (), None, None, started_at,
                  datetime(2026, 3, 9, 12, tzinfo=UTC), 0, None)  # fmt: skip
    frozen = freeze_certificate(issuer, facts, "https://formation.example/certificates/X")
    assert (frozen.starts_on, frozen.ends_on) == (starts_on, date(2026, 3, 9))
    assert (frozen.modality, frozen.done_minutes, frozen.score) == (None, None, None)


def test_every_fact_of_a_certificate_is_frozen() -> None:
    issuer = CertificateIssuer(legal_name="OF", signatory_name="A", signatory_quality="B", place="C")
    began, ended = datetime(2026, 3, 2, 8, tzinfo=UTC), datetime(2026, 3, 9, 12, tzinfo=UTC)
    facts = IssuingFacts("Zoé", "Le Dû", "Acmé", "#1b3a5f", "5a" * 32, "Sécurité", "skills_assessment", ["Trier"],
                         "blended", 420, began, ended, 3_600, 82.5)  # fmt: skip
    assert freeze_certificate(issuer, facts, "https://formation.example/certificates/X") == CertificateSnapshot(
        issuer=issuer,
        first_name="Zoé",
        last_name="Le Dû",
        employer="Acmé",
        colour="#1b3a5f",
        logo="5a" * 32,
        title="Sécurité",
        nature=TrainingNature.SKILLS_ASSESSMENT,
        objectives=("Trier",),
        modality=TrainingModality.BLENDED,
        starts_on=date(2026, 3, 2),
        ends_on=date(2026, 3, 9),
        planned_minutes=420,
        done_minutes=60,
        score=82.5,
        verify_url="https://formation.example/certificates/X",
    )


def test_a_new_code_is_read_back_as_it_is_printed() -> None:
    for _ in range(200):
        code = new_verification_code()
        assert read_verification_code(group_code(code)) == code
        assert len(code) == 16


def test_two_codes_are_never_the_same() -> None:
    assert len({new_verification_code() for _ in range(1_000)}) == 1_000


def test_the_check_character_is_crockfords() -> None:
    # 1234 in base 32 is 16J; 1234 mod 37 is 13, which is D.
    assert read_verification_code("0000-0000-0000-16JD") == "00000000000016JD"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("0000-0000-0000-16jd", "00000000000016JD"),
        (" OOOO oooo 0000-I6JD ", "00000000000016JD"),
        ("OOOOoooo0000l6jd", "00000000000016JD"),
        ("0000-0000-0000-16JE", None),
        ("0000-0000-0000-16J", None),
        ("0000-0000-0000-16J*", None),
        ("0000-0000-0000-16JU", None),
        ("", None),
        ("../../etc/passwd", None),
        ("0" * 100_000, None),
        ("\x00" * 16, None),
    ],
)
def test_a_typed_code_is_read_in_any_spelling(typed: str, read: str | None) -> None:
    assert read_verification_code(typed) == read


@given(st.integers(0, 15), st.sampled_from(CODE_ALPHABET))
def test_one_wrong_character_is_always_detected(place: int, other: str) -> None:
    code = new_verification_code()
    typed = code[:place] + other + code[place + 1 :]
    assert read_verification_code(typed) == (code if typed == code else None)


@given(st.integers(0, 14))
def test_two_swapped_characters_are_detected(place: int) -> None:
    code = new_verification_code()
    swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert read_verification_code(swapped) == (code if swapped == code else None)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    code = read_verification_code(text)
    assert code is None or len(code) == 16
