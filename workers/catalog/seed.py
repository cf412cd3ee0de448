"""Records companies, trainings and contracts from one document, all of them or none."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from sqlmodel import col, select

from models.contract import Company, Contract, ContractTerms, Training
from models.words import Code, JobState
from workers.catalog.organisations import checked_colour, checked_logo
from workers.catalog.records import (
    CatalogOutcome,
    kept_options,
    put_company,
    put_contract,
    put_training,
)
from workers.database import Session
from workers.requests.catalog import PutCompany, PutContract, PutTraining

Record = PutCompany | PutTraining | PutContract


class Catalogue(BaseModel):
    """The document: three lists of the requests that a portal would otherwise send one by one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    companies: list[PutCompany] = []
    trainings: list[PutTraining] = []
    contracts: list[PutContract] = []

    @model_validator(mode="after")
    def _each_reference_once(self) -> Self:
        for name in ("companies", "trainings", "contracts"):
            times = Counter(record.reference for record in getattr(self, name))
            twice = [reference for reference in times if times[reference] > 1]
            if twice:
                raise PydanticCustomError(
                    Code.INVALID_REQUEST.value,
                    "{list}: {count} references come twice",
                    {"list": name, "count": len(twice)},
                )
        return self


class SeedResult(NamedTuple):
    """The outcome of one record; `code` and `field` tell why it was refused."""

    kind: str
    reference: str
    outcome: Literal["created", "changed", "unchanged", "refused"]
    code: str = ""
    field: str = ""


class SeedStep(NamedTuple):
    """The functions that read one kind of record, in the form of its request, and record it."""

    read: Callable[[Session, UUID, str], dict[str, Any] | None]
    put: Callable[[Session, UUID, UUID | None, Any], CatalogOutcome]


def _read_company(session: Session, portal_id: UUID, reference: str) -> dict[str, Any] | None:
    company = session.exec(
        select(Company).where(Company.portal_id == portal_id, Company.reference == reference)
    ).one_or_none()
    return None if company is None else company.model_dump(include={"reference", "name", "colour", "logo"})


def _read_training(session: Session, portal_id: UUID, reference: str) -> dict[str, Any] | None:
    training = session.exec(
        select(Training).where(Training.portal_id == portal_id, Training.reference == reference)
    ).one_or_none()
    said = {"reference", "title", "nature", "objectives", "modality", "planned_minutes"}
    return None if training is None else training.model_dump(include=said)


def _read_contract(session: Session, portal_id: UUID, reference: str) -> dict[str, Any] | None:
    found = session.exec(
        select(Contract, Company.reference, Training.reference)
        .join(Company, col(Company.id) == Contract.company_id)
        .join(Training, col(Training.id) == Contract.training_id)
        .where(Contract.portal_id == portal_id, Contract.reference == reference)
    ).one_or_none()
    if found is None:
        return None
    contract, company, training = found
    said = contract.model_dump(include={"reference", *ContractTerms._fields})
    return said | {"company": company, "training": training}


STEPS: dict[type[Record], SeedStep] = {
    PutCompany: SeedStep(_read_company, put_company),
    PutTraining: SeedStep(_read_training, put_training),
    PutContract: SeedStep(_read_contract, put_contract),
}


def seed(session: Session, portal_id: UUID, catalogue: Catalogue) -> list[SeedResult]:
    """Records a document; records that are equal already are not touched, so that seeding twice changes nothing.

    Refusals are returned as values, and the caller must roll the transaction back when there is one.
    """
    records: Sequence[Record] = (*catalogue.companies, *catalogue.trainings, *catalogue.contracts)
    return [_seed(session, portal_id, record) for record in records]


def _seed(session: Session, portal_id: UUID, record: Record) -> SeedResult:
    step = STEPS[type(record)]
    there = step.read(session, portal_id, record.reference)
    if there is not None and there == there | _said(session, record):
        return SeedResult(record.kind, record.reference, "unchanged")
    put = step.put(session, portal_id, None, record)
    if put.state is JobState.REFUSED:
        return SeedResult(record.kind, record.reference, "refused", put.result["code"], put.result["field"])
    return SeedResult(record.kind, record.reference, "created" if there is None else "changed")


def _said(session: Session, record: Record) -> dict[str, Any]:
    """Returns the fields of a record as they would be stored, without those it leaves out."""
    if isinstance(record, PutContract):
        return record.model_dump(exclude={"requested_by", *kept_options(record)})
    said = record.model_dump(include=record.model_fields_set, exclude={"requested_by"})
    if "colour" in said:
        said["colour"] = checked_colour(said["colour"])
    if "logo" in said:
        said["logo"] = checked_logo(session, said["logo"])
    return said
