"""A mail that this process has claimed, with its columns as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from models.mails import MAILS, MailSpec
from models.words import EmailKind
from workers.engine.ledger import ClaimedRow, MailColumns


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """One claimed row of the outbox.

    Parameters:
      row: the claim, by which the ledger knows it.
      context: the plain facts it was owed with.
      message_id, date: fixed when it was owed, so that a repeat is recognised as one.
      expired: it is later than its kind allows.
      losses: how often the connection broke inside DATA; each time the mail may have arrived.
    """

    row: ClaimedRow[MailColumns]
    kind: EmailKind
    to_address: str
    locale: str
    context: Mapping[str, Any]
    message_id: str
    date: datetime
    expired: bool
    contract_id: UUID | None
    job_id: UUID | None
    losses: int

    @classmethod
    def of(cls, row: ClaimedRow[MailColumns]) -> Self:
        columns = row.columns
        return cls(
            row=row,
            kind=EmailKind(columns.kind),
            to_address=columns.to_address,
            locale=columns.locale,
            context=columns.context or {},
            message_id=columns.message_id,
            date=columns.date,
            expired=columns.expired,
            contract_id=columns.contract_id,
            job_id=columns.job_id,
            losses=columns.losses,
        )

    @property
    def id(self) -> UUID:
        return self.row.id

    @property
    def spec(self) -> MailSpec:
        return MAILS[self.kind]

    @property
    def name(self) -> str:
        """The name of the mail in logs: identifier and attempt."""
        return f"{self.row.id}#{self.row.claim}"
