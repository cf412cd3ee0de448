"""Companies, trainings and contracts, recorded under the portal's own references."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text

from models.base import new_id
from models.contract import CONTRACT_OPTIONS, changed_terms, seats_refused
from models.reminder import reminds
from models.words import Code, JobState
from workers.audit import record
from workers.catalog.organisations import checked_colour, checked_logo
from workers.database import Session, wait_briefly_for_locks
from workers.enrollment.reminder_resuming import resume_contract
from workers.requests.catalog import PutCompany, PutContract, PutTraining

# What a request does not say stays as it is: a portal that knows nothing of a field does not reset it.
PUT_COMPANY = text("""
    INSERT INTO company (id, portal_id, reference, name, colour, logo)
    VALUES (:id, :portal, :reference, :name, :colour, :logo)
    ON CONFLICT (portal_id, reference) DO UPDATE SET name = excluded.name,
      colour = CASE WHEN 'colour' = ANY(CAST(:said AS text[])) THEN excluded.colour ELSE company.colour END,
      logo = CASE WHEN 'logo' = ANY(CAST(:said AS text[])) THEN excluded.logo ELSE company.logo END
    RETURNING id""")

PUT_TRAINING = text("""
    INSERT INTO training (id, portal_id, reference, title, nature, objectives, modality, planned_minutes)
    VALUES (:id, :portal, :reference, :title, :nature, to_json(CAST(:objectives AS text[])), :modality,
      :planned_minutes)
    ON CONFLICT (portal_id, reference) DO UPDATE SET title = excluded.title,
      nature = CASE WHEN 'nature' = ANY(CAST(:said AS text[])) THEN excluded.nature ELSE training.nature END,
      objectives = CASE WHEN 'objectives' = ANY(CAST(:said AS text[])) THEN excluded.objectives
        ELSE training.objectives END,
      modality = CASE WHEN 'modality' = ANY(CAST(:said AS text[])) THEN excluded.modality ELSE training.modality END,
      planned_minutes = CASE WHEN 'planned_minutes' = ANY(CAST(:said AS text[])) THEN excluded.planned_minutes
        ELSE training.planned_minutes END
    RETURNING id""")

FIND_COMPANY = text("SELECT id FROM company WHERE portal_id = :portal AND reference = :reference")
FIND_TRAINING = text("SELECT id FROM training WHERE portal_id = :portal AND reference = :reference")

LOCK_CONTRACT = text("""
    SELECT id, company_id, training_id, enrolled_count, planned_seats, starts_on, ends_on, manager_email,
      manager_locale, reminders, release_after_days, CAST(now() AT TIME ZONE 'Europe/Paris' AS date) AS today
    FROM contract WHERE portal_id = :portal AND reference = :reference FOR NO KEY UPDATE""")

INSERT_CONTRACT = text("""
    INSERT INTO contract (id, portal_id, reference, company_id, training_id, planned_seats, starts_on, ends_on,
      manager_email, manager_locale, reminders, release_after_days)
    VALUES (:id, :portal, :reference, :company, :training, :planned_seats, :starts_on, :ends_on,
      :manager_email, :manager_locale, :reminders, :release_after_days)
    ON CONFLICT (portal_id, reference) DO NOTHING RETURNING id""")

CHANGE_CONTRACT = text("""
    UPDATE contract SET planned_seats = :planned_seats, starts_on = :starts_on, ends_on = :ends_on,
      manager_email = :manager_email, manager_locale = :manager_locale, reminders = :reminders,
      release_after_days = :release_after_days
    WHERE id = :id""")

# Whoever was warned under another option is warned afresh: what they were told is no longer so.
FORGET_WARNINGS = text("""
    UPDATE enrollment SET release_warned_at = NULL FROM (
      SELECT id FROM enrollment WHERE contract_id = :id AND release_warned_at IS NOT NULL AND withdrawn_at IS NULL
      ORDER BY id FOR NO KEY UPDATE) warned
    WHERE enrollment.id = warned.id""")


class CatalogOutcome(NamedTuple):
    """What recording came to: the state of the job and its result."""

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
    return _upsert(session, PUT_COMPANY, portal_id, job_id, request, colour=colour, logo=logo)


def put_training(session: Session, portal_id: UUID, job_id: UUID | None, request: PutTraining) -> CatalogOutcome:
    """Records a training or changes it."""
    return _upsert(session, PUT_TRAINING, portal_id, job_id, request)


def _upsert(
    session: Session,
    statement: TextClause,
    portal_id: UUID,
    job_id: UUID | None,
    request: PutCompany | PutTraining,
    **checked: str | None,
) -> CatalogOutcome:
    values = request.model_dump() | checked
    asked = {"id": new_id(), "portal": portal_id, "said": sorted(request.model_fields_set)}
    row_id: UUID = session.execute(statement, values | asked).scalar_one()
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, job_id=job_id, subject_id=row_id, requested_by=asker)
    return CatalogOutcome(JobState.SUCCEEDED, {"id": str(row_id)})


def put_contract(session: Session, portal_id: UUID, job_id: UUID | None, request: PutContract) -> CatalogOutcome:
    """Records a contract or changes its seats, dates and options; an option the request does not name stays as it is.

    Refuses an unknown company or training, fewer seats than are used, and a change of company or training.

    Raises: a transient error of the database when the contract is held for over 250 ms: the job may be done again.
    """
    wait_briefly_for_locks(session)
    company_id = session.execute(FIND_COMPANY, {"portal": portal_id, "reference": request.company}).scalar()
    training_id = session.execute(FIND_TRAINING, {"portal": portal_id, "reference": request.training}).scalar()
    if company_id is None:
        return _refused(Code.UNKNOWN_COMPANY, "company")
    if training_id is None:
        return _refused(Code.UNKNOWN_TRAINING, "training")
    values = _values(request) | {"id": new_id(), "portal": portal_id, "company": company_id, "training": training_id}
    changed: Mapping[str, Any] = {}
    if session.execute(INSERT_CONTRACT, values).scalar() is None:
        contract: Any = session.execute(LOCK_CONTRACT, values).one()
        refused = _contract_refused(request, contract, values)
        if refused is not None:
            return refused
        values |= {"id": contract.id} | {name: getattr(contract, name) for name in kept_options(request)}
        changed = changed_terms(contract._asdict(), values)
        _change(session, contract, values)
    record(
        session,
        request.kind,
        portal_id=portal_id,
        job_id=job_id,
        company_id=company_id,
        subject_id=values["id"],
        requested_by=request.requested_by,
        detail={"planned_seats": request.planned_seats} | ({"changed": changed} if changed else {}),
    )
    return CatalogOutcome(JobState.SUCCEEDED, {"id": str(values["id"]), "planned_seats": request.planned_seats})


def kept_options(request: PutContract) -> list[str]:
    """Options of a contract of which this request says nothing: they stay as they are."""
    return [name for name in CONTRACT_OPTIONS if name not in request.model_fields_set]


def _values(request: PutContract) -> dict[str, Any]:
    names = ("reference", "planned_seats", "starts_on", "ends_on", *CONTRACT_OPTIONS)
    return {name: getattr(request, name) for name in names}


def _contract_refused(request: PutContract, contract: Any, values: Mapping[str, Any]) -> CatalogOutcome | None:
    for part in ("company", "training"):
        if getattr(contract, f"{part}_id") != values[part]:
            return _refused(Code.CONTRACT_MOVED, part)
    refusal = seats_refused(request.planned_seats, contract.enrolled_count)
    return _refused(refusal, "planned_seats", enrolled_count=contract.enrolled_count) if refusal else None


def _change(session: Session, contract: Any, values: Mapping[str, Any]) -> None:
    session.execute(CHANGE_CONTRACT, values)
    if contract.release_after_days != values["release_after_days"]:
        session.execute(FORGET_WARNINGS, values)
    reminded = reminds(contract.reminders, contract.ends_on, contract.today)
    if not reminded and reminds(values["reminders"], values["ends_on"], contract.today):
        resume_contract(session, contract.id)


def _refused(code: Code, field: str, **facts: int) -> CatalogOutcome:
    return CatalogOutcome(JobState.REFUSED, {"code": code, "field": field, **facts})
