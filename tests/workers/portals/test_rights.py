"""The requests that a key may send: by its scopes, and by the companies of the records that they name."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

from models.account import Account
from models.base import new_id
from models.contract import Contract
from models.enrollment import Enrollment
from models.words import Code, Scope
from tests.kit.builders.portals import add_portal
from workers.catalog.records import put_company, put_contract, put_training
from workers.database import Session
from workers.engine.acceptance import accept
from workers.portals.keys import KnownKey
from workers.portals.rights import AskedRequest, refusal, refusals
from workers.requests.base import Request
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.imports import ImportRoster
from workers.requests.registry import KINDS, parse, scope_of

UNKNOWN = UUID("0198f0c2-0000-7000-8000-000000000000")
PERSON = {"email": "a@example.com", "first_name": "Zoé", "last_name": "Le Dû"}
REASON = "asked by the person"
REFUSED, ALLOWED = Code.INSUFFICIENT_SCOPE, None


def body_of(kind: str, *, company: str, contract: str, enrollment: UUID, job: UUID) -> dict[str, Any]:
    """Returns a request of this kind about these records."""
    ids = {"contract": contract, "enrollment_ids": [str(enrollment)]}
    one = {"enrollment_id": str(enrollment)}
    event = one | {"progress": "completed", "occurred_at": "2026-01-01T00:00:00Z"}
    bodies: dict[str, dict[str, Any]] = {
        "enroll": {"contract": contract, "people": [PERSON]},
        "withdraw": ids,
        "record_progress": {"events": [event]},
        "reset_passwords": ids,
        "resend_invitations": ids,
        "request_password_reset": {"email": "a@example.com"},
        "correct_email": one | {"email": "b@example.com"},
        "correct_name": one | {"first_name": "Zoë"},
        "export_person": {"email": "a@example.com"},
        "erase_person": {"email": "a@example.com", "reason": REASON},
        "put_company": {"reference": company, "name": "Acmé"},
        "put_training": {"reference": "T-1", "title": "Sécurité"},
        "put_portal": {"access_url": None},
        "put_contract": {"reference": contract, "company": company, "training": "T-1", "planned_seats": 3},
        "duplicate_certificates": ids,
        "duplicate_own_certificate": one | {"account_id": str(UNKNOWN)},
        "correct_certificate": one | {"reread": True, "reason": REASON},
        "revoke_certificate": one | {"reason": REASON},
        "import_roster": {"contract": contract, "file": "0" * 64, "file_name": "a.csv"},
        "cancel_import": {"job": str(job)},
        "undo_import": {"job": str(job)},
    }
    return bodies[kind]


ASKED = sorted(kind for kind, request in KINDS.items() if not request.internal)
WITHOUT_A_COMPANY = {
    "request_password_reset": REFUSED,  # but doors record it with the companies of its key: ``as_sent_by``
    **dict.fromkeys(("export_person", "erase_person", "put_training", "put_portal"), REFUSED),
}
"""The answers to requests that name no company, for a key that is limited to some."""


class TwoCompanies:
    """A portal with the companies ours and theirs, each with a contract, a participant and an import."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.portal = add_portal(session, "shop", companies=["ours"])
        self.key = self.portal.known(session)
        self.records = {company: self._company(company) for company in ("ours", "theirs")}

    def _company(self, company: str) -> dict[str, Any]:
        portal_id, contract = self.portal.portal_id, f"C-{company}"
        put_company(self.session, portal_id, new_id(), PutCompany(reference=company, name="Acmé"))
        put_training(self.session, portal_id, new_id(), PutTraining(reference="T-1", title="Sécurité"))
        asked = PutContract(reference=contract, company=company, training="T-1", planned_seats=3)
        put_contract(self.session, portal_id, new_id(), asked)
        file = ImportRoster(contract=contract, file="0" * 64, file_name="a.csv")
        job = accept(self.session, portal_id, file, file.model_dump_json(), key=f"import-{company}").job_id
        return {"company": company, "contract": contract, "enrollment": self._enrollment(contract), "job": job}

    def _enrollment(self, contract: str) -> UUID:
        account, enrollment = new_id(), new_id()
        address = f"{account}@example.com"
        self.session.add(Account(id=account, email_norm=address, first_name="Zoé", last_name="Dû", locale="fr"))
        self.session.flush()
        asked = select(Contract.id).where(Contract.reference == contract, Contract.portal_id == self.portal.portal_id)
        contract_id = self.session.exec(asked).one()
        self.session.add(Enrollment(id=enrollment, contract_id=contract_id, account_id=account, job_id=new_id()))
        self.session.flush()
        return enrollment

    def refused(self, kind: str, company: str, **changes: Any) -> Code | None:
        request = parse(kind, json.dumps(body_of(kind, **self.records[company] | changes)))
        return refusal(self.session, self.key, request)


@pytest.fixture
def companies(session: Session) -> TwoCompanies:
    return TwoCompanies(session)


def test_every_kind_a_portal_may_send_has_a_scope_and_no_other() -> None:
    assert [kind for kind in ASKED if not isinstance(scope_of(kind), Scope)] == []
    internal = KINDS.keys() - ASKED
    assert [kind for kind in internal if scope_of(kind) is not None or KINDS[kind].scope is not None] == []
    assert scope_of("drop_tables") is None


@pytest.mark.parametrize("kind", ASKED)
def test_a_request_needs_the_scope_of_its_kind(session: Session, kind: str) -> None:
    request = parse(kind, json.dumps(body_of(kind, company="A", contract="C", enrollment=UNKNOWN, job=UNKNOWN)))
    needed = KINDS[kind].scope
    right = add_portal(session, "one", scopes=[scope for scope in Scope if scope is needed]).known(session)
    wrong = add_portal(session, "two", scopes=[scope for scope in Scope if scope is not needed]).known(session)
    assert refusals(session, [AskedRequest(right, request), AskedRequest(wrong, request)]) == [ALLOWED, REFUSED]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - ASKED))
def test_no_key_may_send_an_internal_request(session: Session, kind: str) -> None:
    key = add_portal(session).known(session)
    assert refusal(session, key, KINDS[kind].model_construct()) is REFUSED


@pytest.mark.parametrize("kind", ASKED)
def test_a_limited_key_may_name_its_own_companies_alone(companies: TwoCompanies, kind: str) -> None:
    own, others = companies.refused(kind, "ours"), companies.refused(kind, "theirs")
    if kind in WITHOUT_A_COMPANY:
        assert (own, others) == (WITHOUT_A_COMPANY[kind],) * 2
    else:
        assert (own, others) == (ALLOWED, REFUSED)


def test_one_foreign_enrollment_among_many_refuses_the_request(companies: TwoCompanies) -> None:
    events = [
        body_of("record_progress", **companies.records[company])["events"][0] for company in ("ours", "theirs", "ours")
    ]
    request = parse("record_progress", json.dumps({"events": events}))
    assert refusal(companies.session, companies.key, request) is REFUSED


def test_a_contract_that_is_not_recorded_belongs_to_no_company(companies: TwoCompanies) -> None:
    assert companies.refused("enroll", "ours", contract="C-new") is REFUSED


@pytest.mark.parametrize("kind", ["correct_name", "record_progress", "cancel_import"])
def test_an_unknown_identifier_is_left_to_be_answered_as_not_found(companies: TwoCompanies, kind: str) -> None:
    assert companies.refused(kind, "ours", enrollment=UNKNOWN, job=UNKNOWN) is ALLOWED


def test_a_job_that_is_no_import_is_refused(companies: TwoCompanies) -> None:
    hostile = {"contract": "C-ours", "people": [PERSON | {"first_name": "a\x00"}]}
    job = accepted(companies, "enroll", hostile)
    assert companies.refused("undo_import", "ours", job=job) is REFUSED


def test_records_of_another_portal_are_not_looked_at(companies: TwoCompanies) -> None:
    other = add_portal(companies.session, "other", companies=["ours"]).known(companies.session)
    enrollment = companies.records["theirs"]["enrollment"]
    request = parse("correct_name", json.dumps({"enrollment_id": str(enrollment), "first_name": "Zoë"}))
    assert refusal(companies.session, other, request) is ALLOWED  # answered as not found, like any it does not have


def test_each_request_of_a_bundle_is_judged_by_its_own_key(companies: TwoCompanies) -> None:
    everything = add_portal(companies.session, "shop").known(companies.session)
    requests = {
        company: parse("enroll", json.dumps(body_of("enroll", **companies.records[company])))
        for company in ("ours", "theirs")
    }
    asked: list[tuple[KnownKey, Request]] = [
        (companies.key, requests["theirs"]),
        (everything, requests["theirs"]),
        (companies.key, requests["ours"]),
        (everything, requests["ours"]),
    ]
    found = refusals(companies.session, [AskedRequest(*one) for one in asked])
    assert found == [REFUSED, ALLOWED, ALLOWED, ALLOWED]


def accepted(companies: TwoCompanies, kind: str, body: dict[str, Any]) -> UUID:
    text = json.dumps(body)
    return accept(companies.session, companies.portal.portal_id, parse(kind, text), text, key="k").job_id
