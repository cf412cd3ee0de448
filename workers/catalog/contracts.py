"""Reads contracts: their seats, and the participants as a manager sees them."""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, true
from sqlmodel import col, select

from models.account import Account
from models.contract import Company, Contract, Training
from models.email import Email
from models.enrollment import Enrollment
from models.portal import Portal
from workers.database import Session
from workers.sql import fetch, fetch_one, select_record


class ContractSeats(NamedTuple):
    """A contract with its three counters.

    Parameters:
      reference: the portal's own reference; unique within the portal only.
      company, training: the name of one and the title of the other.
      planned_seats, enrolled_count, remaining: Inscriptions prévues, Participants inscrits, Places restantes.
    """

    id: UUID
    portal: str
    reference: str
    company: str
    training: str
    planned_seats: int
    enrolled_count: int
    remaining: int
    starts_on: date | None
    ends_on: date | None


class Participant(NamedTuple):
    """A person who is enrolled on a contract.

    Parameters:
      mail, mail_state: the latest mail about this enrollment, and what became of it; None when there was none, or when
        it is no longer kept.
    """

    enrollment_id: UUID
    account_id: UUID
    first_name: str
    last_name: str
    email: str
    progress: str
    enrolled_at: datetime
    completed_at: datetime | None
    mail: str | None
    mail_state: str | None


CONTRACTS = (
    select_record(
        ContractSeats,
        Contract,
        portal=col(Portal.name),
        company=col(Company.name),
        training=col(Training.title),
        remaining=col(Contract.planned_seats) - col(Contract.enrolled_count),
    )
    .join_from(Contract, Portal, col(Portal.id) == col(Contract.portal_id))
    .join(Company, col(Company.id) == col(Contract.company_id))
    .join(Training, col(Training.id) == col(Contract.training_id))
)

LATEST_MAIL = (
    select(col(Email.kind), col(Email.state))
    .where(col(Email.account_id) == col(Enrollment.account_id), col(Email.enrollment_id) == col(Enrollment.id))
    .order_by(col(Email.id).desc())
    .limit(1)
    .lateral("latest_mail")
)

PARTICIPANTS = (
    select_record(
        Participant,
        Enrollment,
        Account,
        enrollment_id=col(Enrollment.id),
        email=col(Account.email_norm),
        first_name=col(Account.first_name),
        last_name=col(Account.last_name),
        mail=LATEST_MAIL.c.kind,
        mail_state=LATEST_MAIL.c.state,
    )
    .join_from(Enrollment, Account, col(Account.id) == col(Enrollment.account_id))
    .outerjoin(LATEST_MAIL, true())
    .where(col(Enrollment.withdrawn_at).is_(None))
    .order_by(col(Enrollment.enrolled_at), col(Enrollment.id))
)


def list_contracts(session: Session, *, portal: str = "", limit: int = 100) -> list[ContractSeats]:
    """Lists the contracts of a portal, or of all, the latest first."""
    statement = CONTRACTS.order_by(col(Contract.id).desc()).limit(limit)
    if portal:
        statement = statement.where(col(Portal.name) == portal)
    return fetch(session, ContractSeats, statement)


def count_contracts(session: Session, *, portal: str = "") -> int:
    """Counts the contracts of a portal, or of all."""
    statement = select(func.count()).join_from(Contract, Portal, col(Portal.id) == col(Contract.portal_id))
    if portal:
        statement = statement.where(col(Portal.name) == portal)
    return session.exec(statement).one()


def find_contract(session: Session, portal: str, reference: str) -> ContractSeats | None:
    """Returns the contract a portal knows by this reference."""
    known = (col(Portal.name) == portal, col(Contract.reference) == reference)
    return fetch_one(session, ContractSeats, CONTRACTS.where(*known))


def list_participants(session: Session, contract_id: UUID) -> list[Participant]:
    """Lists the people enrolled on a contract, in the order they came."""
    return fetch(session, Participant, PARTICIPANTS.where(col(Enrollment.contract_id) == contract_id))
