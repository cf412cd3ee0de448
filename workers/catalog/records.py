"""Records companies, trainings and contracts under the portal's own references."""

from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update

from models.base import new_id
from models.contract import (
    CONTRACT_OPTIONS,
    Company,
    Contract,
    ContractTerms,
    SeatUse,
    Training,
    changed_terms,
    seats_refused,
)
from models.enrollment import LIVE
from models.portal import Portal
from models.reminder import contract_reminds
from models.words import Code, JobState
from workers.audit import record
from workers.catalog.organisations import checked_colour, checked_logo
from workers.database import Session, wait_briefly_for_locks
from workers.enrollment.reminders import resume_reminders_of_contract
from workers.outbox.events import HeldSeats, watch_seats
from workers.requests.catalog import PutCompany, PutContract, PutPortal, PutTraining
from workers.sql import change, given_values, today_in_paris, upsert

# People warned under an earlier option are warned again, because the date they were told is no longer right.
FORGET_WARNINGS = text(f"""
    UPDATE enrollment SET release_warned_at = NULL FROM (
      SELECT e.id FROM enrollment e WHERE e.contract_id = :contract AND e.release_warned_at IS NOT NULL AND {LIVE}
      ORDER BY e.id FOR NO KEY UPDATE) warned
    WHERE enrollment.id = warned.id""")


class CatalogOutcome(NamedTuple):
    """The state of the job that recorded something, and its result."""

    state: JobState
    result: dict[str, Any]


def put_company(session: Session, portal_id: UUID, job_id: UUID | None, request: PutCompany) -> CatalogOutcome:
    """Records a company or changes it; refuses a colour or a picture that cannot be printed."""
    colour = checked_colour(request.colour)
    if isinstance(colour, Code):
        return _refused(colour, "colour")
    logo = checked_logo(session, request.logo)
    if isinstance(logo, Code):
        return _refused(logo, "logo")
    company = Company(
        id=new_id(), portal_id=portal_id, reference=request.reference, name=request.name, colour=colour, logo=logo
    )
    return _put(session, company, job_id, request)


def put_training(session: Session, portal_id: UUID, job_id: UUID | None, request: PutTraining) -> CatalogOutcome:
    """Records a training, or changes the fields that the request names."""
    training = Training(
        id=new_id(),
        portal_id=portal_id,
        reference=request.reference,
        title=request.title,
        nature=request.nature,
        objectives=request.objectives,
        modality=request.modality,
        planned_minutes=request.planned_minutes,
        access_url=request.access_url,
    )
    return _put(session, training, job_id, request)


def put_portal(session: Session, portal_id: UUID, job_id: UUID | None, request: PutPortal) -> CatalogOutcome:
    """Records where people reach the trainings of the portal that asks."""
    change(session, update(Portal).where(col(Portal.id) == portal_id).values(access_url=request.access_url))
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, job_id=job_id, subject_id=portal_id, requested_by=asker)
    return CatalogOutcome(JobState.SUCCEEDED, {"id": str(portal_id)})


def _put(
    session: Session, row: Company | Training, job_id: UUID | None, request: PutCompany | PutTraining
) -> CatalogOutcome:
    """Inserts the row, or changes the fields that the request names; the others stay as they are."""
    said = request.model_fields_set - {"reference", "requested_by"}
    row_id = upsert(session, row, key=("portal_id", "reference"), changing=said)
    record(
        session,
        request.kind,
        portal_id=row.portal_id,
        job_id=job_id,
        subject_id=row_id,
        requested_by=request.requested_by,
    )
    return CatalogOutcome(JobState.SUCCEEDED, {"id": str(row_id)})


def put_contract(session: Session, portal_id: UUID, job_id: UUID | None, request: PutContract) -> CatalogOutcome:
    """Records a contract or changes its seats, dates and options; an option the request does not name stays as it is.

    Refuses an unknown company or training, fewer seats than are used, and a change of company or training.

    Raises: a transient error of the database when the contract is locked for over 250 ms: the job may be done again.
    """
    wait_briefly_for_locks(session)
    company_id = session.exec(
        select(Company.id).where(Company.portal_id == portal_id, Company.reference == request.company)
    ).one_or_none()
    training_id = session.exec(
        select(Training.id).where(Training.portal_id == portal_id, Training.reference == request.training)
    ).one_or_none()
    if company_id is None:
        return _refused(Code.UNKNOWN_COMPANY, "company")
    if training_id is None:
        return _refused(Code.UNKNOWN_TRAINING, "training")
    contract = _new_contract(portal_id, company_id, training_id, request)
    inserted = insert(Contract).values(given_values(contract))
    changed: dict[str, Any] = {}
    if not change(session, inserted.on_conflict_do_nothing(index_elements=["portal_id", "reference"])):
        known, today = _lock_contract(session, portal_id, request.reference)
        watch_seats(session, [HeldSeats(known.id, portal_id, SeatUse(known.planned_seats, known.enrolled_count))])
        refused = _contract_refused(request, known, contract)
        if refused is not None:
            return refused
        contract, changed = known, _change_terms(session, known, request, today)
    record(
        session,
        request.kind,
        portal_id=portal_id,
        job_id=job_id,
        company_id=company_id,
        subject_id=contract.id,
        requested_by=request.requested_by,
        detail={"planned_seats": request.planned_seats} | ({"changed": changed} if changed else {}),
    )
    return CatalogOutcome(JobState.SUCCEEDED, {"id": str(contract.id), "planned_seats": request.planned_seats})


def kept_options(request: PutContract) -> list[str]:
    """Lists the options of a contract that this request does not name, which stay as they are."""
    return [name for name in CONTRACT_OPTIONS if name not in request.model_fields_set]


def _new_contract(portal_id: UUID, company_id: UUID, training_id: UUID, request: PutContract) -> Contract:
    return Contract(
        id=new_id(),
        portal_id=portal_id,
        reference=request.reference,
        company_id=company_id,
        training_id=training_id,
        planned_seats=request.planned_seats,
        starts_on=request.starts_on,
        ends_on=request.ends_on,
        manager_email=request.manager_email,
        manager_locale=request.manager_locale,
        reminders=request.reminders,
        release_after_days=request.release_after_days,
    )


def _lock_contract(session: Session, portal_id: UUID, reference: str) -> tuple[Contract, date]:
    """Locks the contract and reads it again; returns it with the date in Paris."""
    known = select(Contract, today_in_paris()).where(Contract.portal_id == portal_id, Contract.reference == reference)
    return session.exec(known.with_for_update(key_share=True).execution_options(populate_existing=True)).one()


def _contract_refused(request: PutContract, known: Contract, asked: Contract) -> CatalogOutcome | None:
    if known.company_id != asked.company_id:
        return _refused(Code.CONTRACT_MOVED, "company")
    if known.training_id != asked.training_id:
        return _refused(Code.CONTRACT_MOVED, "training")
    refusal = seats_refused(request.planned_seats, known.enrolled_count)
    return _refused(refusal, "planned_seats", enrolled_count=known.enrolled_count) if refusal else None


def _change_terms(session: Session, contract: Contract, request: PutContract, today: date) -> dict[str, Any]:
    """Changes the terms that the request names; returns the changes for the audit trail."""
    before = ContractTerms(*(getattr(contract, term) for term in ContractTerms._fields))
    after = before._replace(**request.model_dump(include=set(ContractTerms._fields) - set(kept_options(request))))
    change(session, update(Contract).where(col(Contract.id) == contract.id).values(after._asdict()))
    if before.release_after_days != after.release_after_days:
        session.execute(FORGET_WARNINGS, {"contract": contract.id})
    reminded = contract_reminds(before.reminders, before.ends_on, today)
    if not reminded and contract_reminds(after.reminders, after.ends_on, today):
        resume_reminders_of_contract(session, contract.id)
    return changed_terms(before, after)


def _refused(code: Code, field: str, **facts: int) -> CatalogOutcome:
    return CatalogOutcome(JobState.REFUSED, {"code": code, "field": field, **facts})
