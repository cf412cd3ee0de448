"""The rules of certificates: which day, which number, to whom."""

from datetime import UTC, date, datetime

import pytest

from models.certificate import (
    CertificateStatus,
    IssuingFacts,
    certificate_number,
    day_in_paris,
    done_minutes,
    duplicate_number,
    freeze,
    no_duplicate_because,
    not_issued_because,
    status,
)
from models.snapshot import CertificateIssuer
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
def test_time_spent_is_told_in_whole_minutes(seconds: int, minutes: int | None) -> None:
    assert done_minutes(seconds) == minutes


@pytest.mark.parametrize(
    ("ordinal", "number"), [(1, "2026-000001"), (999_999, "2026-999999"), (1_000_000, "2026-1000000")]
)
def test_numbers(ordinal: int, number: str) -> None:
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
def test_what_is_in_the_way_of_a_certificate(
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
def test_what_is_in_the_way_of_a_duplicate(
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
def test_where_a_certificate_stands(
    replaced_at: datetime | None, revoked_at: datetime | None, expected: CertificateStatus
) -> None:
    assert status(replaced_at=replaced_at, revoked_at=revoked_at) == expected


@pytest.mark.parametrize(
    ("started_at", "starts_on"),
    [
        (datetime(2026, 3, 2, 8, tzinfo=UTC), date(2026, 3, 2)),
        (datetime(2026, 3, 8, 23, 30, tzinfo=UTC), date(2026, 3, 9)),  # after midnight in France
        (datetime(2026, 4, 1, tzinfo=UTC), date(2026, 3, 9)),  # a start told after the end is not believed
    ],
)
def test_a_training_never_begins_after_it_ends(started_at: datetime, starts_on: date) -> None:
    issuer = CertificateIssuer(legal_name="OF", signatory_name="A", signatory_quality="B", place="C")
    facts = IssuingFacts("Zoé", "Le Dû", "Acmé", None, None, "Sécurité", "training", (), None, None, started_at,
                  datetime(2026, 3, 9, 12, tzinfo=UTC), 0, None)  # fmt: skip
    frozen = freeze(issuer, facts, "https://formation.example/certificates/X")
    assert (frozen.starts_on, frozen.ends_on) == (starts_on, date(2026, 3, 9))
    assert (frozen.modality, frozen.done_minutes, frozen.score) == (None, None, None)
