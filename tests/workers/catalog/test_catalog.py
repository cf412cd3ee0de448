"""Companies, trainings and contracts are recorded or changed, or refused with nothing changed."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, JobState
from tests.kit.builders.contracts import (
    add_contract,
    enrol_people,
    everything,
    query,
    seats,
)
from workers.catalog.records import (
    CatalogOutcome,
    put_company,
    put_contract,
    put_training,
)
from workers.database import Session
from workers.requests.catalog import PutCompany, PutContract, PutTraining

CONTRACTS = "SELECT reference, planned_seats, enrolled_count, starts_on, ends_on FROM contract ORDER BY reference"


def company(session: Session, reference: str, name: str = "Acmé", portal: UUID = LOCAL_PORTAL_ID) -> CatalogOutcome:
    return put_company(session, portal, new_id(), PutCompany(reference=reference, name=name))


def training(session: Session, reference: str, title: str = "Sécurité") -> CatalogOutcome:
    return put_training(session, LOCAL_PORTAL_ID, new_id(), PutTraining(reference=reference, title=title))


def contract(session: Session, portal: UUID = LOCAL_PORTAL_ID, **change: Any) -> CatalogOutcome:
    asked: dict[str, Any] = {"reference": "C-1", "company": "acme", "training": "T-1", "planned_seats": 3} | change
    return put_contract(session, portal, new_id(), PutContract(**asked))


def other_portal(session: Session) -> UUID:
    portal_id = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": portal_id})
    return portal_id


def test_a_company_is_recorded_and_renamed_under_its_reference(session: Session) -> None:
    first = company(session, "acme", "Acmé")
    again = company(session, "acme", "Société Acmé & Fils")
    assert first == again == CatalogOutcome(JobState.SUCCEEDED, {"id": first.result["id"]})
    assert query(session, "SELECT CAST(id AS text), reference, name FROM company") == [
        (first.result["id"], "acme", "Société Acmé & Fils")
    ]


def test_a_training_is_recorded_and_renamed_under_its_reference(session: Session) -> None:
    first = training(session, "T-1", "Sécurité")
    again = training(session, "T-1", "Sécurité incendie")
    assert first == again
    assert query(session, "SELECT CAST(id AS text), title FROM training") == [(first.result["id"], "Sécurité incendie")]


def test_references_are_compared_to_the_letter(session: Session) -> None:
    company(session, "acme")
    company(session, "ACME")
    assert query(session, "SELECT count(*) FROM company") == [(2,)]


def test_two_portals_may_use_the_same_reference(session: Session) -> None:
    portal_id = other_portal(session)
    company(session, "acme", "Acmé")
    company(session, "acme", "Autre", portal_id)
    assert query(session, "SELECT name FROM company ORDER BY name") == [("Acmé",), ("Autre",)]


def test_a_portal_cannot_use_the_company_of_another(session: Session) -> None:
    portal_id = other_portal(session)
    company(session, "acme")
    training(session, "T-1")
    assert contract(session, portal_id).result == {"code": Code.UNKNOWN_COMPANY, "field": "company"}


@pytest.mark.parametrize("planned_seats", [0, 1, 1_000_000])
def test_a_contract_is_recorded(session: Session, planned_seats: int) -> None:
    company(session, "acme")
    training(session, "T-1")
    first, last = date(2026, 3, 1), date(2026, 3, 31)
    done = contract(session, planned_seats=planned_seats, starts_on=first, ends_on=last)
    assert (done.state, done.result["planned_seats"]) == (JobState.SUCCEEDED, planned_seats)
    assert query(session, CONTRACTS) == [("C-1", planned_seats, 0, first, last)]


def test_a_contract_without_a_seat_enrols_no_one(session: Session) -> None:
    add_contract(session, seats=0)
    assert (enrol_people(session, "a"), seats(session)) == (["no_seat_left"], 0)


def test_seats_and_dates_change_and_a_date_left_out_is_taken_away(session: Session) -> None:
    add_contract(session, ends_on=date(2026, 3, 31))
    first = contract(session, planned_seats=5, starts_on=date(2026, 1, 1))
    assert contract(session, planned_seats=5, starts_on=date(2026, 1, 1)) == first
    assert query(session, CONTRACTS) == [("C-1", 5, 0, date(2026, 1, 1), None)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"company": "unknown"}, {"code": "unknown_company", "field": "company"}),
        ({"training": "unknown"}, {"code": "unknown_training", "field": "training"}),
        ({"company": "x", "training": "x"}, {"code": "unknown_company", "field": "company"}),
        ({"reference": "C-2", "company": "unknown"}, {"code": "unknown_company", "field": "company"}),
        ({"company": "other"}, {"code": "contract_moved", "field": "company"}),
        ({"training": "T-2"}, {"code": "contract_moved", "field": "training"}),
        ({"company": "other", "training": "T-2"}, {"code": "contract_moved", "field": "company"}),
        ({"planned_seats": 1}, {"code": "seats_below_enrolled", "field": "planned_seats", "enrolled_count": 2}),
        ({"planned_seats": 0}, {"code": "seats_below_enrolled", "field": "planned_seats", "enrolled_count": 2}),
    ],
)
def test_a_refused_request_changes_nothing(session: Session, change: dict[str, Any], expected: dict[str, Any]) -> None:
    add_contract(session, seats=3)
    company(session, "other")
    training(session, "T-2")
    enrol_people(session, "a", "b")
    before = everything(session)
    assert contract(session, ends_on=date(2030, 1, 1), **change) == CatalogOutcome(JobState.REFUSED, expected)
    assert everything(session) == before


def test_seats_can_be_lowered_to_what_is_used(session: Session) -> None:
    add_contract(session, seats=3)
    enrol_people(session, "a", "b")
    assert contract(session, planned_seats=2).state is JobState.SUCCEEDED
    assert enrol_people(session, "c") == ["no_seat_left"]
    assert contract(session, planned_seats=3).state is JobState.SUCCEEDED
    assert enrol_people(session, "c") == ["enrolled"]


OPTIONS = "SELECT manager_email, manager_locale, reminders, release_after_days FROM contract"


def test_an_option_left_out_stays_as_it_is_and_null_takes_it_away(session: Session) -> None:
    add_contract(session)
    options: dict[str, Any] = {
        "manager_email": "chef@example.com",
        "manager_locale": "en",
        "reminders": False,
        "release_after_days": 30,
    }
    contract(session, **options)
    contract(session, planned_seats=5)
    assert query(session, OPTIONS) == [("chef@example.com", "en", False, 30)]
    contract(session, manager_email=None, release_after_days=None)
    assert query(session, OPTIONS) == [(None, "en", False, None)]
    contract(session, manager_locale="fr", reminders=True)
    assert query(session, OPTIONS) == [(None, "fr", True, None)]


def test_changes_are_audited_without_an_address(session: Session) -> None:
    add_contract(session, seats=3, starts_on=date(2026, 1, 1))
    contract(session, starts_on=date(2026, 1, 1), manager_email="chef@example.com", release_after_days=30)
    contract(session, starts_on=date(2026, 1, 1))
    contract(session, ends_on=date(2036, 1, 1), planned_seats=4, manager_email=None, reminders=False)
    audited = query(session, "SELECT detail FROM audit WHERE action = 'put_contract' ORDER BY id")
    assert [detail for (detail,) in audited] == [
        {"planned_seats": 3},
        {"planned_seats": 3, "changed": {"manager_email": "changed", "release_after_days": 30}},
        {"planned_seats": 3},
        {"planned_seats": 4, "changed": {"planned_seats": 4, "starts_on": None, "ends_on": "2036-01-01",
                                         "manager_email": "removed", "reminders": False}},
    ]  # fmt: skip


def test_each_change_is_audited_once_with_its_cause(session: Session) -> None:
    job_ids = [new_id() for _ in range(4)]
    asker: dict[str, Any] = {"requested_by": "u-7"}
    put_company(session, LOCAL_PORTAL_ID, job_ids[0], PutCompany(reference="acme", name="Acmé", **asker))
    put_training(session, LOCAL_PORTAL_ID, job_ids[1], PutTraining(reference="T-1", title="Sécurité", **asker))
    asked = PutContract(reference="C-1", company="acme", training="T-1", planned_seats=3, **asker)
    put_contract(session, LOCAL_PORTAL_ID, job_ids[2], asked)
    refused = PutContract(reference="C-1", company="x", training="T-1", planned_seats=3, **asker)
    put_contract(session, LOCAL_PORTAL_ID, job_ids[3], refused)
    audited = query(
        session, "SELECT action, job_id, portal_id, requested_by, subject_id IS NOT NULL FROM audit ORDER BY id"
    )
    assert audited == [
        ("put_company", job_ids[0], LOCAL_PORTAL_ID, "u-7", True),
        ("put_training", job_ids[1], LOCAL_PORTAL_ID, "u-7", True),
        ("put_contract", job_ids[2], LOCAL_PORTAL_ID, "u-7", True),
    ]
