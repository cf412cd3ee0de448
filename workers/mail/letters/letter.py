"""A letter: one mail with the values its templates need; and the values that every kind of mail shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.words import EmailKind, EmailState
from workers.database import Session
from workers.engine.ledger import ClaimedRow, MailColumns
from workers.imports.reports import StoredRows
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.rosters.kept_rows import KeptRows
from workers.settings import get_settings


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail ready to be rendered, or the state in which it ends without being sent.

    Parameters:
      kind: the templates to render; may differ from the kind that was owed (an invitation to a person who has
        activated meanwhile only announces the training).
      context: values for the templates; empty when the mail is not to be sent.
      unsent: the state in which it ends without being sent, or None.
      file_id: the file of duplicates it brings, attached when its context says so.
      rows: the rows of a roster file it speaks of, read later: a file takes seconds, in which no lock is held.
      from_rows: turns those rows, once the file is open, into more values for the templates.
    """

    mail: ClaimedMail
    kind: EmailKind
    context: Mapping[str, Any]
    unsent: EmailState | None = None
    file_id: UUID | None = None
    rows: StoredRows | None = None
    from_rows: Callable[[KeptRows], Mapping[str, Any]] = lambda _: {}

    @property
    def row(self) -> ClaimedRow[MailColumns]:
        return self.mail.row

    @property
    def has_file(self) -> bool:
        """Tells whether a file must be read before the letter can be rendered."""
        return self.rows is not None or bool(self.file_id and self.context.get("attached"))


Writer = Callable[[Session, ClaimedMail, MailFacts], Letter]
"""Writes the letter of a claimed mail from the facts it speaks of."""


def not_wanted(mail: ClaimedMail, state: EmailState = EmailState.CANCELLED) -> Letter:
    """Makes the letter of a mail that is not to be sent."""
    return Letter(mail, mail.kind, {}, state)


def names(facts: MailFacts) -> dict[str, Any]:
    """Returns the names of the company and the training that a mail is about."""
    return {"company_name": facts.company_name, "training_title": facts.training_title}


def to_a_person(facts: MailFacts) -> dict[str, Any]:
    """Returns the values that every mail to a person shows."""
    return {"first_name": facts.first_name} | signature()


def access(facts: MailFacts) -> dict[str, Any]:
    """Returns where the training is reached, if anything says so: itself, its portal or the settings."""
    return {"access_url": facts.access_url or get_settings().lms_url or None}


def signature() -> dict[str, Any]:
    """Returns the name of the platform, and the address where people ask for help."""
    settings = get_settings()
    return {"platform_name": settings.platform_name, "support_address": settings.support_address}
