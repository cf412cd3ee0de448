"""Duplicates are numbered and registered, for people who completed the training, at the request of
authorised people.
"""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.document import Document
from models.words import Code
from tests.kit.builders.certificates import (
    certificate,
    completed,
    did,
    graduates,
)
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    enrolled,
    query,
    someone,
)
from workers.certificates.duplicates.copies import read_copy
from workers.certificates.duplicates.job import begin
from workers.certificates.verification import as_json, verify
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import JOBS, ClaimedRow
from workers.reading.jobs import show_job
from workers.requests.base import Request
from workers.requests.certificates import (
    CorrectCertificate,
    DuplicateCertificates,
    DuplicateOwnCertificate,
    RevokeCertificate,
)
from workers.requests.enrollment import RecordProgress

REGISTER = """
    SELECT d.number, d.ordinal, d.document, d.locale, d.requested_by, k.number AS certificate
    FROM certificate_duplicate d JOIN certificate k ON k.id = d.certificate_id ORDER BY d.number"""


def claim(session: Session, request: Request, key: str = "") -> ClaimedRow:
    accepted(session, request, key or f"key-{new_id()}")
    [row] = ledger.claim(session, JOBS, request.queue, size=50, lease=30, worker=new_id())
    return row


def registered(session: Session, request: Request) -> list[dict[str, Any]]:
    """Registers a request; returns the people of the job as shown before rendering."""
    row = claim(session, request)
    begin(session, row)
    people = (show_job(session, row.id) or {})["result"]["people"]
    assert [person["position"] for person in people] == list(range(len(people)))
    return list(people)


def asking(*enrollments: UUID, contract: str = "C-1", **more: Any) -> DuplicateCertificates:
    return DuplicateCertificates(contract=contract, enrollment_ids=list(enrollments), **more)


def codes(people: list[dict[str, Any]]) -> list[str]:
    return [person["code"] for person in people]


def test_each_duplicate_has_a_number_of_its_own_and_keeps_the_originals(session: Session) -> None:
    a, b = graduates(session, *"ab")
    number = certificate(session, a)[1]
    people = registered(session, asking(a, b, requested_by="manager-7", document=Document.REALISATION, locale="en"))
    assert codes(people) == ["duplicated", "duplicated"]
    assert people[0]["detail"]["number"] == f"{number}-D1"
    assert people[0]["detail"]["certificate"] == number
    session.execute(text("UPDATE job SET leased_until = NULL, due_at = NULL WHERE kind = 'duplicate_certificates'"))
    [again] = registered(session, asking(a))
    assert again["detail"]["number"] == f"{number}-D2"
    assert query(session, REGISTER)[:2] == [
        (f"{number}-D1", 1, "realisation", "en", "manager-7", number),
        (f"{number}-D2", 2, "attestation", "fr", "", number),
    ]


def test_taken_up_again_nothing_is_numbered_twice(session: Session) -> None:
    a, b = graduates(session, *"ab")
    row = claim(session, asking(a, b))
    first = begin(session, row)
    second = begin(session, row)
    assert first.todo == second.todo
    assert len(query(session, REGISTER)) == 2


def test_an_unfinished_training_is_refused_with_its_progress(session: Session) -> None:
    [done] = graduates(session, "done")
    [new] = enrolled(session, "new")
    begun, unknown = enrolled(session, "begun")[0], new_id()
    session.execute(text("UPDATE enrollment SET progress = 'in_progress' WHERE id = :id"), {"id": begun})
    people = registered(session, asking(done, new, begun, unknown, done))
    assert codes(people) == ["duplicated", "not_completed", "not_completed", "not_found", "duplicate_in_file"]
    assert people[1]["detail"] == {"progress": "not_started"}
    assert people[2]["detail"] == {"progress": "in_progress"}


def test_only_the_company_that_paid_is_given_one(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    add_contract(session, "C-2", company="autre")
    assert codes(registered(session, asking(zoe, contract="C-2"))) == ["not_found"]
    assert codes(registered(session, asking(zoe, contract="C-9"))) == ["not_found"]


def test_another_portal_is_given_none(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    row = claim(session, asking(zoe))
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'autre')"), {"id": (other := new_id())})
    stranger = ClaimedRow(row.id, row.claim, 0, 0, row.lane, row.columns._replace(portal_id=other), row.asked_at)
    begin(session, stranger)
    assert codes((show_job(session, row.id) or {})["result"]["people"]) == ["not_found"]


def test_the_learner_is_given_their_own(session: Session) -> None:
    a, b = graduates(session, *"ab")
    [(account,)] = query(session, "SELECT account_id FROM enrollment WHERE id = :id", id=a)
    own = [DuplicateOwnCertificate(enrollment_id=one, account_id=account) for one in (a, b)]
    assert [codes(registered(session, one)) for one in own] == [["duplicated"], ["not_found"]]


def test_a_corrected_certificate_is_duplicated_in_its_new_version(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    did(session, CorrectCertificate(enrollment_id=zoe, last_name="Le Dû", reason="faute"))
    current = certificate(session, zoe)
    row = claim(session, asking(zoe))
    [copy] = begin(session, row).todo
    assert (copy.printed.number, copy.printed.snapshot.last_name) == (current[1], "Le Dû")
    assert copy.printed.replaces is not None
    assert copy.printed.replaces != current[1]


def test_the_days_on_a_duplicate_and_in_the_register_are_those_of_france(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    row = claim(session, asking(zoe))
    [made] = begin(session, row).todo
    session.execute(text("UPDATE certificate SET issued_at = '2026-06-30T22:00Z'"))
    session.execute(text("UPDATE certificate_duplicate SET issued_at = '2026-12-31T23:00Z'"))
    copy = read_copy(session, made.duplicate_id)
    assert copy is not None
    assert copy.printed.duplicate is not None
    assert (copy.printed.issued_on, copy.printed.duplicate.issued_on) == (date(2026, 7, 1), date(2027, 1, 1))
    shown = verify(session, certificate(session, zoe)[2])
    assert shown is not None
    assert as_json(shown)["issued_on"] == "2026-07-01"
    assert [one["issued_on"] for one in as_json(shown)["duplicates"]] == ["2027-01-01"]


def test_a_revoked_certificate_has_no_duplicate(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    did(session, RevokeCertificate(enrollment_id=zoe, reason="fraude"))
    assert codes(registered(session, asking(zoe))) == ["certificate_revoked"]


def test_a_person_who_said_not_me_gets_none(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    session.execute(text("UPDATE enrollment SET detached_at = now()"))
    assert codes(registered(session, asking(zoe))) == ["detached"]


def test_without_a_signatory_there_is_none(session: Session) -> None:
    add_contract(session)
    [zoe] = enrolled(session, "zoe")
    did(session, RecordProgress(events=[completed(zoe)]))
    assert codes(registered(session, asking(zoe))) == ["unknown_organisation"]


def test_a_certificate_still_owed_is_issued_with_its_duplicate(session: Session) -> None:
    graduates(session, "a")
    [late] = enrolled(session, "late")
    session.execute(text("UPDATE enrollment SET progress = 'completed' WHERE id = :id"), {"id": late})
    [person] = registered(session, asking(late))
    assert person["code"] == Code.DUPLICATED
    assert certificate(session, late)[1] == person["detail"]["certificate"]


def test_a_certificate_kept_no_longer_is_refused_with_its_reason(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    session.execute(text("UPDATE certificate SET snapshot = NULL"))
    assert codes(registered(session, asking(zoe))) == ["names_not_kept"]


def test_the_requester_is_in_the_audit_trail(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    registered(session, asking(zoe, requested_by="manager-7"))
    audit = query(
        session,
        "SELECT requested_by, result, subject_id, detail FROM audit WHERE action = 'duplicate_certificates'",
    )
    assert audit == [("manager-7", "done", zoe, {"counts": {"duplicated": 1}, "document": "attestation"})]


@pytest.mark.parametrize(("people", "queue"), [(1, "certificates"), (10, "certificates"), (11, "certificates_bulk")])
def test_a_request_for_a_few_waits_behind_no_zip(people: int, queue: str) -> None:
    assert asking(*(new_id() for _ in range(people))).queue == queue


def test_the_contract_may_have_ended(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    session.execute(text("UPDATE contract SET starts_on = '2020-01-01', ends_on = '2020-12-31'"))
    assert codes(registered(session, asking(zoe))) == ["duplicated"]
