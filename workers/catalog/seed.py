"""Seeding: companies, trainings and contracts given as one document, recorded together or not at all."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import TextClause, text

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

READ_COMPANY = text("""
    SELECT reference, name, colour, logo FROM company WHERE portal_id = :portal AND reference = :reference""")
READ_TRAINING = text("""
    SELECT reference, title, nature, objectives, modality, planned_minutes
    FROM training WHERE portal_id = :portal AND reference = :reference""")
READ_CONTRACT = text("""
    SELECT c.reference, o.reference AS company, t.reference AS training, c.planned_seats, c.starts_on, c.ends_on,
      c.manager_email, c.manager_locale, c.reminders, c.release_after_days
    FROM contract c JOIN company o ON o.id = c.company_id JOIN training t ON t.id = c.training_id
    WHERE c.portal_id = :portal AND c.reference = :reference""")

Record = PutCompany | PutTraining | PutContract


class Catalogue(BaseModel):
    """The document: three lists, each of the requests a portal would send one by one."""

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
    """What became of one record: `code` and `field` say why it was refused."""

    kind: str
    reference: str
    outcome: Literal["created", "changed", "unchanged", "refused"]
    code: str = ""
    field: str = ""


class SeedStep(NamedTuple):
    """How one kind of record is read and recorded."""

    read: TextClause
    put: Callable[[Session, UUID, UUID | None, Any], CatalogOutcome]


STEPS: dict[type[Record], SeedStep] = {
    PutCompany: SeedStep(READ_COMPANY, put_company),
    PutTraining: SeedStep(READ_TRAINING, put_training),
    PutContract: SeedStep(READ_CONTRACT, put_contract),
}


def seed(session: Session, portal_id: UUID, catalogue: Catalogue) -> list[SeedResult]:
    """Records a document; what is there already and the same is left alone, so that seeding twice changes nothing.

    Refusals are values: the caller undoes the transaction when there is one.
    """
    records: Sequence[Record] = (*catalogue.companies, *catalogue.trainings, *catalogue.contracts)
    return [_seed(session, portal_id, record) for record in records]


def _seed(session: Session, portal_id: UUID, record: Record) -> SeedResult:
    step = STEPS[type(record)]
    there = session.execute(step.read, {"portal": portal_id, "reference": record.reference}).mappings().one_or_none()
    if there is not None and dict(there) == dict(there) | _said(session, record):
        return SeedResult(record.kind, record.reference, "unchanged")
    put = step.put(session, portal_id, None, record)
    if put.state is JobState.REFUSED:
        return SeedResult(record.kind, record.reference, "refused", put.result["code"], put.result["field"])
    return SeedResult(record.kind, record.reference, "created" if there is None else "changed")


def _said(session: Session, record: Record) -> dict[str, Any]:
    """What a record says, as it would be kept: what it leaves out stays as it is."""
    if isinstance(record, PutContract):
        return record.model_dump(exclude={"requested_by", *kept_options(record)})
    said = record.model_dump(include=record.model_fields_set, exclude={"requested_by"})
    if "colour" in said:
        said["colour"] = checked_colour(said["colour"])
    if "logo" in said:
        said["logo"] = checked_logo(session, said["logo"])
    return said
