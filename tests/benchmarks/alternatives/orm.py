"""The enrollment of one person as a project without Matricule writes it: SQLAlchemy's ORM, a transaction per person.

Celery and dramatiq run this same function. Nothing of Matricule is imported, for they run in an environment of
their own.
"""

import os
from functools import cache

from sqlalchemy import Engine, ForeignKey, UniqueConstraint, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

LOCK = os.environ.get("WITHOUT_LOCK") is None
"""The contract is locked while its seats are counted, which a careful project does and many forget."""


class Base(DeclarativeBase):
    """The tables of the project."""


class PlainContract(Base):
    __tablename__ = "plain_contract"

    id: Mapped[int] = mapped_column(primary_key=True)
    seats: Mapped[int]
    enrolled_count: Mapped[int] = mapped_column(default=0)


class PlainAccount(Base):
    __tablename__ = "plain_account"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    first_name: Mapped[str]
    last_name: Mapped[str]


class PlainEnrollment(Base):
    __tablename__ = "plain_enrollment"
    __table_args__ = (UniqueConstraint("contract_id", "account_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    contract_id: Mapped[int] = mapped_column(ForeignKey(PlainContract.id))
    account_id: Mapped[int] = mapped_column(ForeignKey(PlainAccount.id))


@cache
def engine() -> Engine:
    """Returns the connections of this process, opened at their first use: a forked process has its own."""
    return create_engine(os.environ["DATABASE_URL"])


def enroll(contract_id: int, email: str, first_name: str, last_name: str) -> int | None:
    """Enrolls a person where a seat is left; returns the enrollment, which may be there from an earlier try."""
    with Session(engine()) as session, session.begin():
        contract = session.get_one(PlainContract, contract_id, with_for_update=LOCK)
        account = session.scalar(select(PlainAccount).where(PlainAccount.email == email))
        if account is None:
            account = PlainAccount(email=email, first_name=first_name, last_name=last_name)
            session.add(account)
            session.flush()
        wanted = select(PlainEnrollment).filter_by(contract_id=contract_id, account_id=account.id)
        enrollment = session.scalar(wanted)
        if enrollment is None:
            if contract.enrolled_count >= contract.seats:
                return None
            enrollment = PlainEnrollment(contract_id=contract_id, account_id=account.id)
            session.add(enrollment)
            contract.enrolled_count += 1
            session.flush()
        return enrollment.id
